-- Each script reads and writes a sweep at most once. `open` counts the planned jobs that are not settled.
local sweeps, changed = {}, {}
local LONGEST_SWEEP = 262144  -- bytes; Kubesweep writes no longer one, and a decoded one takes a multiple of that

local function find_sweep(id)
  if sweeps[id] == nil then
    local raw = id ~= '' and call('HGET', SWEEPS, id)
    if raw and #raw > LONGEST_SWEEP then error('a sweep is too long') end
    sweeps[id] = raw and cjson.decode(raw) or false
  end
  return sweeps[id] or nil
end

local function is_open(sweep)
  return sweep ~= nil and (sweep.state == 'Planning' or sweep.state == 'Running' or sweep.state == 'AwaitingApproval')
end

-- True for a planned job of a settled or forgotten sweep, which is never claimed.
local function is_obsolete(id, kind) return kind == 'p' and not is_open(find_sweep(id)) end

local function change(sweep) changed[sweep.id] = sweep end

-- The end of the longest lease on a planned job of a sweep that ended; nil where there is none.
local function leased_until()
  local latest
  local leases = call('ZRANGEBYSCORE', LEASES, '(' .. text(now), '+inf', 'WITHSCORES')
  for i = 1, #leases, 2 do
    local entry = call('XRANGE', WORK, leases[i], leases[i])[1]
    if entry and is_obsolete(parse_start(entry[2][2])) then latest = tonumber(leases[i + 1]) end
  end
  return latest
end

-- Decides when the first plan job of a sweep is due. It waits in DELAYED for the claimed jobs of earlier sweeps, whose rows would
-- otherwise be planned, and their effects called, a second time. META has its member of DELAYED as `behind`. It is due when the last
-- such lease ends, or at once when that job is settled. A crash delays it by one lease.
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

local function sweep_ids()
  local ids = {}
  for id in string.gmatch(call('HGET', META, 'ids') or '', '%S+') do ids[#ids + 1] = id end
  return ids
end

-- Removes the sweep's unclaimed planned jobs. Returns how many rows they had.
local function drop_waiting(sweep)
  local from, rows, gone = call('HGET', META, 'cur') or '0-0', 0, {}
  local early = call('EXISTS', EARLY) == 1 -- then an entry after the cursor may be claimed
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
  -- Keep the error counts of a Completed sweep: its rows in retry may still die.
  if state ~= 'AwaitingApproval' and state ~= 'Completed' then sweep.errors = nil end
  return drop_waiting(sweep)
end

-- Ends a sweep without open jobs. True for the one script that took the last job. A sweep with a reason Halts or Fails for it; if a
-- row was applied, only TooManyFailedRows counts.
local function finish(sweep)
  if sweep.open > 0 or (sweep.state ~= 'Planning' and sweep.state ~= 'Running') then return false end
  local reason = sweep.reason
  if reason == '' or (reason ~= 'TooManyFailedRows' and sweep.applied > 0) then close_sweep(sweep, 'Completed', '', '')
  else close_sweep(sweep, (reason == 'TooManyFailedRows' or reason == 'Flood') and 'Halted' or 'Failed', reason, sweep.message) end
  return true
end
