-- needs: sweeps birth
-- A worker's name is fresh with each start: without this the group would keep all that ever were. Those with pending
-- entries stay, deleting them would lose the entries.
local function prune_consumers()
  for _, consumer in ipairs(call('XINFO', 'CONSUMERS', WORK, GROUP)) do
    local fields = {}
    for i = 1, #consumer, 2 do fields[consumer[i]] = consumer[i + 1] end
    if fields.pending == 0 then call('XGROUP', 'DELCONSUMER', WORK, GROUP, fields.name) end
  end
end

local function purge_older(before)
  local keys = call('ZRANGEBYSCORE', DEAD, '(' .. text(-before), '+inf', 'LIMIT', 0, CHUNK)
  if #keys == 0 then return end
  call('HDEL', EXCLUDED, unpack(keys))
  call('ZREM', DEAD, unpack(keys))
  excluded_changed()
end

local function seen()
  local last = tonumber(call('HGET', META, 'tick') or '-inf')
  if last > now + args.ahead then last = -math.huge end
  if not args.behind then return args.tick <= last end
  if args.tick <= last then args.tick = last + args.behind end
  return find_sweep(args.id) ~= nil
end

local function answer(latest)
  if seen() then return 'duplicate' end
  if args.deadline and args.tick + args.deadline < now then return 'late' end
  if latest and is_open(latest) then
    local newer = latest.hash ~= args.hash and args.generation >= latest.generation
    if not newer then return 'forbidden' end
  end
  return 'enqueued'
end

local tokens, given_up = {}, {}

local function row_name(origin, key) return (origin or '') .. '\0' .. table.concat(key, '\0') end

-- The retry is of another plan: its rows are for the new sweep to find. A replay has no plan and stays.
local function give_up(h, body)
  local id, kind, _, rows, _, token = parse(h)
  if kind ~= 'h' then return false end
  local job = cjson.decode(body)
  local plan = job.plan
  if not plan or plan == cjson.null or plan.hash == args.hash then return false end
  tokens[token] = true
  -- A retry may share its token with jobs that were taken out of it: only its own rows are given up.
  for _, key in ipairs(job.keys) do given_up[row_name(job.origin, key)] = true end
  local sweep = find_sweep(id)
  if sweep then
    sweep.retrying, sweep.skipped = sweep.retrying - rows, sweep.skipped + rows
    change(sweep)
  end
  return true
end

local function give_up_waiting()
  local from, gone = call('HGET', META, 'cur') or '0-0', {}
  repeat
    local page = call('XRANGE', WORK, '(' .. from, '+', 'COUNT', CHUNK)
    for _, entry in ipairs(page) do
      from = entry[1]
      local leased = call('ZSCORE', LEASES, from)
      if not leased and give_up(entry[2][2], entry[2][4]) then gone[#gone + 1] = from end
    end
  until #page < CHUNK
  in_chunks(gone, function(...) call('XDEL', WORK, ...) end)
end

-- After an edit of the plan no retry waits out its delay, unless a worker has it: its rows leave the excluded set.
local function free_retries()
  for _, member in ipairs(call('ZRANGE', DELAYED, 0, -1)) do
    local h, body = string.match(member, '^([^\n]*)\n(.*)$')
    if give_up(h, body) then undelay(member) end
  end
  give_up_waiting()
  if not next(given_up) then return end
  local cursor, freed = '0', {}
  repeat
    local page = call('HSCAN', EXCLUDED, cursor, 'COUNT', CHUNK)
    cursor = page[1]
    for i = 1, #page[2], 2 do
      -- Inside a text of the record every quote is escaped.
      if tokens[string.match(page[2][i + 1], '"j":"([^"]*)"')] then
        local origin, key = parse_row(page[2][i])
        if given_up[row_name(origin, cjson.decode(key))] then freed[#freed + 1] = page[2][i] end
      end
    end
  until cursor == '0'
  in_chunks(freed, function(...) call('HDEL', EXCLUDED, ...) end)
  excluded_changed()
end

local function begin(ids)
  local id = args.id
  change({
    id = id, tick = text(args.tick), generation = args.generation, hash = args.hash, mode = args.mode,
    state = 'Planning', reason = '', message = '', started = text(now), planned = 0, applied = 0, skipped = 0,
    unconfirmed = 0, retrying = 0, dead = 0, open = 1,
  })
  local due, h = leased_until(), header(id, 'p', 0, 0, now)
  if due then
    h = header(id, 'p', 0, 0, due)
    call('HSET', META, 'behind', h .. '\n' .. args.body)
    delay(due, h, args.body)
  else
    add(h, args.body)
  end
  table.insert(ids, 1, id)
  for i = #ids, args.remember + 1, -1 do
    call('HDEL', SWEEPS, ids[i])
    changed[ids[i]] = nil
    ids[i] = nil
  end
  call('HSET', META, 'ids', table.concat(ids, ' '))
  return id
end

args.tick = args.tick or now
local ahead = args.tick - now
if ahead > args.ahead then args.tick = now else ahead = 0 end
ensure()
call('HSET', META, 'ttl', args.ttl)
ttl = args.ttl
prune_consumers()
purge_older(now - args.retention)
local ids = remembered()
local latest = ids[1] and find_sweep(ids[1]) or nil
local said, id = answer(latest), ''
call('HINCRBY', META, said, 1)
if said ~= 'duplicate' then call('HSET', META, 'tick', text(args.tick)) end
if said == 'forbidden' then id = latest.id end
if said == 'duplicate' and args.behind then id = args.id end
if said == 'enqueued' then
  if latest and is_open(latest) then
    close_sweep(latest, 'Superseded', 'PlanChanged', 'the spec changed while it ran, and a sweep by the new one took over')
  end
  if latest and latest.hash ~= args.hash then free_retries() end
  id = begin(ids)
end
save_sweeps()
refresh()
return {said, id, text(ahead)}
