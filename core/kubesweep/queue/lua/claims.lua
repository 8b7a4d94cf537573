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

local function budget(tokens, at, rate)
  if not tokens then return rate end
  -- The clock was set back: a debt of then would last until it comes there again.
  if now < tonumber(at) then return math.min(rate, math.max(0, tonumber(tokens))) end
  return math.min(rate, tonumber(tokens) + (now - tonumber(at)) * rate)
end
