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
  call('HDEL', HELD, unpack(keys))
  call('ZREM', DEAD, unpack(keys))
  held_changed()
end

local function seen()
  local last = tonumber(call('HGET', META, 'tick') or '-inf')
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

local function begin(ids)
  local id = args.id
  change({
    id = id, tick = text(args.tick), generation = args.generation, hash = args.hash, mode = args.mode,
    state = 'Planning', reason = '', message = '', started = text(now), planned = 0, applied = 0, skipped = 0,
    unconfirmed = 0, held = 0, dead = 0, open = 1,
  })
  add(header(id, 'p', 0, 0, now), args.body)
  table.insert(ids, 1, id)
  for i = #ids, args.remember + 1, -1 do
    call('HDEL', SWEEPS, ids[i])
    changed[ids[i]] = nil
    ids[i] = nil
  end
  call('HSET', META, 'ids', table.concat(ids, ' '))
  return id
end

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
  id = begin(ids)
end
save_sweeps()
refresh()
return {said, id}
