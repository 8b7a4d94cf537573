-- Ownership. The fence is the pending list of the consumer group: the owner and the delivery count of an entry.
local entries = {}

local function pending(...)
  local found = redis.pcall('XPENDING', WORK, GROUP, ...)
  if not found.err then return found end
  if string.find(found.err, 'NOGROUP', 1, true) or string.find(found.err, 'Invalid stream ID', 1, true) then
    return {}
  end
  error(found)
end

-- Reads the owners of a whole batch in one call. `owns` reads the others one by one.
local function prefetch_owners(claims)
  if #claims < 8 then return end
  for _, entry in ipairs(pending('-', '+', 2 * #claims, claims[1][2])) do entries[entry[1]] = entry end
end

local function owns(claim)
  local entry = entries[claim[1]] or pending(claim[1], claim[1], 1)[1]
  return entry ~= nil and entry[2] == claim[2] and entry[4] == claim[3]
end

local function header_of(id)
  local entry = call('XRANGE', WORK, id, id)[1]
  return entry and entry[2][2]
end

-- Acknowledge and delete in one script. Only the former would leave XLEN above zero for ever, only the latter would lose the entry.
local function remove(ids)
  if #ids == 0 then return end
  removed = true
  local rest = call('EXISTS', REST) == 1
  local early = call('EXISTS', EARLY) == 1
  in_chunks(ids, function(...)
    call('XACK', WORK, GROUP, ...)
    call('XDEL', WORK, ...)
    call('ZREM', LEASES, ...)
    if rest then call('HDEL', REST, ...) end
    if early then call('SREM', EARLY, ...) end
  end)
end

local function ids_of(claims)
  local ids = {}
  for i, claim in ipairs(claims) do ids[i] = claim[1] end
  return ids
end

-- The row budget. A claim debits the rows of its jobs, and settle and release credit the rows that were not tried. At most `burst`
-- rows are saved up. Rows that a crashed worker left debited need no correction, because the budget fills with time.
local function budget(tokens, at, rate, burst)
  if not tokens then return burst end
  -- The clock was set back: a debt would last until the clock reaches the same time again.
  if now < tonumber(at) then return math.min(burst, math.max(0, tonumber(tokens))) end
  return math.min(burst, tonumber(tokens) + (now - tonumber(at)) * rate)
end

local control
local function read_control()
  control = control or call('HMGET', CONTROL, 'paused', 'pace')
  return control[1] or '0', control[2] or ''
end

-- The lower of the caller's rate and of the one in `pace`, which no worker can write. Rate 0 is enforced by `paused`.
local function bound(rate, burst)
  local _, pace = read_control()
  local most = tonumber(string.match(pace, '"rate":([%d.eE+-]+)'))
  if not most or most == 0 or (rate and rate <= most) then return rate, burst end
  return most, burst > 0 and math.min(burst, most) or most
end

local function set_budget(left, rate)
  call('HSET', META, 'tokens', text(left), 'tokens_at', text(now), 'rate', text(rate))
end

-- Negative rows are a debit: no claim had counted them. Workers that wait for the end of a debt are woken, because it ends sooner.
local function refund(rows, rate, burst)
  if rows == 0 then return end
  local was = call('HMGET', META, 'tokens', 'tokens_at')
  local left = budget(was[1], was[2], rate, burst)
  set_budget(math.min(burst, left + rows), rate)
  if left < 0 and rows > 0 then wake() end
end
