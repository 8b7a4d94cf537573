-- flags: no-writes
-- needs: sweeps
if not known() then return {} end
local meta = call('HMGET', META, 'paused', 'tick', 'enqueued', 'duplicate', 'forbidden', 'late', 'origin', 'cur')
for i = 1, 8 do meta[i] = meta[i] or '' end
local running, delayed = call('ZCARD', LEASES), call('ZCARD', DELAYED)
local due = call('ZCOUNT', DELAYED, '-inf', now)
local oldest = due > 0 and tonumber(call('ZRANGE', DELAYED, 0, 0, 'WITHSCORES')[2]) or nil
local from, found = meta[8] ~= '' and meta[8] or '0-0', false
repeat
  local page = call('XRANGE', WORK, '(' .. from, '+', 'COUNT', 10)
  for _, entry in ipairs(page) do
    if not found and call('ZSCORE', LEASES, entry[1]) == false then
      found = true
      local since = select(5, parse(entry[2][2]))
      if not oldest or since < oldest then oldest = since end
    end
    from = entry[1]
  end
until found or #page < 10
local history = {}
for _, id in ipairs(remembered()) do history[#history + 1] = call('HGET', SWEEPS, id) or nil end
return {meta, call('XLEN', WORK) - running + due, running, delayed - due, call('HLEN', HELD), call('ZCARD', DEAD),
  oldest and text(oldest) or '', history, call('HVALS', FINDINGS), call('ZRANGE', LEASES, 0, 0, 'WITHSCORES')[2] or ''}
