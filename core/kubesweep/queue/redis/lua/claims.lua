-- Ownership. The fence is the group's own pending list: owner and delivery count of an entry.
local seen = {}

local function pending(...)
  local found = redis.pcall('XPENDING', WORK, GROUP, ...)
  if not found.err then return found end
  if string.find(found.err, 'NOGROUP', 1, true) or string.find(found.err, 'Invalid stream ID', 1, true) then
    return {}
  end
  error(found)
end

-- One look for a whole batch; what it does not show is looked up alone.
local function foresee(claims)
  if #claims < 8 then return end
  for _, entry in ipairs(pending('-', '+', 2 * #claims, claims[1][2])) do seen[entry[1]] = entry end
end

local function owns(claim)
  local entry = seen[claim[1]] or pending(claim[1], claim[1], 1)[1]
  return entry ~= nil and entry[2] == claim[2] and entry[4] == claim[3]
end

local function header_of(id)
  local entry = call('XRANGE', WORK, id, id)[1]
  return entry and entry[2][2]
end

-- Acknowledge and delete in one step: either alone would leave XLEN above zero, or lose the entry, for ever.
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

-- The row budget: a claim debits the rows that it hands out, and whoever settles or gives back credits what was not tried.
-- At most `burst` rows are saved up. What a crash leaves debited needs no move: time fills the budget.
local function budget(tokens, at, rate, burst)
  if not tokens then return burst end
  -- The clock was set back: a debt of then would last until it comes there again.
  if now < tonumber(at) then return math.min(burst, math.max(0, tonumber(tokens))) end
  return math.min(burst, tonumber(tokens) + (now - tonumber(at)) * rate)
end

local function set_budget(left, rate)
  call('HSET', META, 'tokens', text(left), 'tokens_at', text(now), 'rate', text(rate))
end

-- Below zero it is a debit: rows that no claim had counted. Those who wait for the end of a debt are told that it is nearer.
local function refund(rows, rate, burst)
  if rows == 0 then return end
  local was = call('HMGET', META, 'tokens', 'tokens_at')
  local left = budget(was[1], was[2], rate, burst)
  set_budget(math.min(burst, left + rows), rate)
  if left < 0 and rows > 0 then wake() end
end
