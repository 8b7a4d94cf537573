-- Sweeps are read at most once and written at most once a move. `open` counts planned jobs that are not settled.
local sweeps, changed = {}, {}
local LONGEST_SWEEP = 262144  -- bytes: a longer one was written by somebody else, and read as a table it takes a multiple of that

local function find_sweep(id)
  if sweeps[id] == nil then
    local raw = id ~= '' and call('HGET', SWEEPS, id)
    if raw and #raw > LONGEST_SWEEP then error('a sweep that is longer than any') end
    sweeps[id] = raw and cjson.decode(raw) or false
  end
  return sweeps[id] or nil
end

local function is_open(sweep)
  return sweep ~= nil and (sweep.state == 'Planning' or sweep.state == 'Running' or sweep.state == 'AwaitingApproval')
end

-- Planned jobs of a settled or forgotten sweep are handed to nobody.
local function doomed(id, kind) return kind == 'p' and not is_open(find_sweep(id)) end

local function change(sweep) changed[sweep.id] = sweep end

-- The end of the longest lease on a planned job of a sweep that ended; nil where nobody works on one.
local function leased_until()
  local latest
  local leases = call('ZRANGEBYSCORE', LEASES, '(' .. text(now), '+inf', 'WITHSCORES')
  for i = 1, #leases, 2 do
    local entry = call('XRANGE', WORK, leases[i], leases[i])[1]
    if entry and doomed(parse_start(entry[2][2])) then latest = tonumber(leases[i + 1]) end
  end
  return latest
end

-- The first plan job of a sweep waits among the retries for the leases of the sweeps before it: the rows that their jobs
-- hold would be planned, and their effects called, a second time. META remembers its member of DELAYED. It is due when the
-- last such lease ends, at once where its owner settled; a crash delays it by one lease.
local function admit()
  local member = call('HGET', META, 'behind')
  local due = member and tonumber(call('ZSCORE', DELAYED, member))
  if not due then return end
  local latest = leased_until() or math.min(due, now)
  if latest == due then return end
  call('ZADD', DELAYED, 'XX', latest, member)
  if latest < due then wake() end
end

local function save_sweeps()
  local any = false
  for id, sweep in pairs(changed) do
    call('HSET', SWEEPS, id, cjson.encode(sweep))
    any = true
  end
  if any then keep(SWEEPS) end
  if removed then admit() end
end

local function remembered()
  local ids = {}
  for id in string.gmatch(call('HGET', META, 'ids') or '', '%S+') do ids[#ids + 1] = id end
  return ids
end

-- Remove the sweep's planned jobs that nobody works on; how many rows they had.
local function drop_waiting(sweep)
  local from, rows, gone = call('HGET', META, 'cur') or '0-0', 0, {}
  local early = call('EXISTS', EARLY) == 1 -- then somebody may work on an entry that the cursor has not passed
  while true do
    local page = call('XRANGE', WORK, '(' .. from, '+', 'COUNT', CHUNK)
    for _, entry in ipairs(page) do
      local id, kind, _, planned = parse(entry[2][2])
      if id == sweep.id and kind == 'p' and not (early and call('ZSCORE', LEASES, entry[1])) then
        gone[#gone + 1] = entry[1]
        rows = rows + planned
      end
    end
    if #page < CHUNK then break end
    from = page[#page][1]
  end
  in_chunks(gone, function(...) call('XDEL', WORK, ...) end)
  local member = call('HGET', META, 'behind')
  if member and parse_start(member) == sweep.id and undelay(member) then sweep.open = sweep.open - 1 end
  sweep.open = sweep.open - #gone
  change(sweep)
  return rows
end

local function close_sweep(sweep, state, reason, message)
  sweep.state, sweep.reason, sweep.message = state, reason, message
  if state ~= 'AwaitingApproval' then sweep.finished = text(now) end
  -- The rows in retry of a Completed sweep may die yet, all of one error.
  if state ~= 'AwaitingApproval' and state ~= 'Completed' then sweep.errors = nil end
  return drop_waiting(sweep)
end

-- True for the one move that took the last job. A sweep that runs with a reason Halts or Fails for it, if it still holds:
-- none but TooManyFailedRows does where a row was applied.
local function finish(sweep)
  if sweep.open > 0 or (sweep.state ~= 'Planning' and sweep.state ~= 'Running') then return false end
  local reason = sweep.reason
  if reason == '' or (reason ~= 'TooManyFailedRows' and sweep.applied > 0) then close_sweep(sweep, 'Completed', '', '')
  else close_sweep(sweep, (reason == 'TooManyFailedRows' or reason == 'Flood') and 'Halted' or 'Failed', reason, sweep.message) end
  return true
end
