-- needs: sweeps create_schedule
-- Every start of a worker has a new name, so the group would keep all names for ever. Consumers with pending entries are kept:
-- deleting them would lose the entries.
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

local function known_tick()
  local last = tonumber(call('HGET', META, 'tick') or '-inf')
  if last > now + args.ahead then last = -math.huge end
  if not args.behind then return args.tick <= last end
  if args.tick <= last then args.tick = last + args.behind end
  return find_sweep(args.id) ~= nil
end

local function answer(latest)
  if known_tick() then return 'duplicate' end
  if args.deadline and args.tick + args.deadline < now then return 'late' end
  if latest and is_open(latest) then
    local newer = latest.hash ~= args.hash and args.generation >= latest.generation
    if not newer then return 'forbidden' end
  end
  return 'enqueued'
end

local tokens, cancelled_rows = {}, {}

local function row_name(origin, key) return (origin or '') .. '\0' .. table.concat(key, '\0') end

-- Cancels a retry of another plan: the new sweep finds its rows. A replay has no plan and is kept.
local function cancel_retry(h, body)
  local id, kind, _, rows, _, token = parse(h)
  if kind ~= 'h' then return false end
  local job = cjson.decode(body)
  local plan = job.plan
  if not plan or plan == cjson.null or plan.hash == args.hash then return false end
  tokens[token] = true
  -- A retry may share its token with jobs that were taken out of it, so only its own rows are cancelled.
  for _, key in ipairs(job.keys) do cancelled_rows[row_name(job.origin, key)] = true end
  local sweep = find_sweep(id)
  if sweep then
    sweep.retrying, sweep.skipped = sweep.retrying - rows, sweep.skipped + rows
    change(sweep)
  end
  return true
end

local function cancel_waiting_retries()
  local from, gone = call('HGET', META, 'cur') or '0-0', {}
  repeat
    local page = call('XRANGE', WORK, '(' .. from, '+', 'COUNT', CHUNK)
    for _, entry in ipairs(page) do
      from = entry[1]
      local leased = call('ZSCORE', LEASES, from)
      if not leased and cancel_retry(entry[2][2], entry[2][4]) then gone[#gone + 1] = from end
    end
  until #page < CHUNK
  in_chunks(gone, function(...) call('XDEL', WORK, ...) end)
end

-- After an edit of the plan, unclaimed retries are cancelled and their rows leave the excluded set.
local function cancel_retries()
  for _, member in ipairs(call('ZRANGE', DELAYED, 0, -1)) do
    local h, body = string.match(member, '^([^\n]*)\n(.*)$')
    if cancel_retry(h, body) then undelay(member) end
  end
  cancel_waiting_retries()
  if not next(cancelled_rows) then return end
  local cursor, freed = '0', {}
  repeat
    local page = call('HSCAN', EXCLUDED, cursor, 'COUNT', CHUNK)
    cursor = page[1]
    for i = 1, #page[2], 2 do
      -- Texts in the record cannot match: their quotes are escaped.
      if tokens[string.match(page[2][i + 1], '"j":"([^"]*)"')] then
        local origin, key = parse_row(page[2][i])
        if cancelled_rows[row_name(origin, cjson.decode(key))] then freed[#freed + 1] = page[2][i] end
      end
    end
  until cursor == '0'
  in_chunks(freed, function(...) call('HDEL', EXCLUDED, ...) end)
  excluded_changed()
end

local function create_sweep(ids)
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
    enqueue(h, args.body)
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
local ids = sweep_ids()
local latest = ids[1] and find_sweep(ids[1]) or nil
local result, id = answer(latest), ''
call('HINCRBY', META, result, 1)
if result ~= 'duplicate' then call('HSET', META, 'tick', text(args.tick)) end
if result == 'forbidden' then id = latest.id end
if result == 'duplicate' and args.behind then id = args.id end
if result == 'enqueued' then
  if latest and is_open(latest) then
    close_sweep(latest, 'Superseded', 'PlanChanged', 'the spec changed while it ran, and a sweep by the new one took over')
  end
  if latest and latest.hash ~= args.hash then cancel_retries() end
  id = create_sweep(ids)
end
save_sweeps()
refresh()
return {result, id, text(ahead)}
