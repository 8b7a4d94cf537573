-- flags: no-writes
-- needs: sweeps
if not known() then return {} end
-- Nothing is answered that is longer than what is ever written: who writes to these keys beside us must not fill the reader's memory.
local function short(key, field, most)
  local value = call('HGET', key, field)
  return value and #value <= most and value or ''
end
local meta = call('HMGET', META, 'tick', 'enqueued', 'duplicate', 'forbidden', 'late', 'origin', 'cur')
for i = 1, 7 do meta[i] = meta[i] and #meta[i] <= 1024 and meta[i] or '' end
local running, delayed = call('ZCARD', LEASES), call('ZCARD', DELAYED)
local due = call('ZCOUNT', DELAYED, '-inf', now)
local oldest = due > 0 and tonumber(call('ZRANGE', DELAYED, 0, 0, 'WITHSCORES')[2]) or nil
local from, found = meta[7] ~= '' and meta[7] or '0-0', false
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
if short(META, 'ids', 4096) ~= '' then
  for _, id in ipairs(remembered()) do
    local raw = short(SWEEPS, id, 262144)
    if raw ~= '' then history[#history + 1] = raw end
  end
end
local findings = {}
if call('HLEN', FINDINGS) <= 64 then
  for _, raw in ipairs(call('HVALS', FINDINGS)) do
    if #raw <= 16384 then findings[#findings + 1] = raw end
  end
end
return {call('HGET', CONTROL, 'paused') == '1' and 1 or 0, meta, call('XLEN', WORK) - running + due, running, delayed - due, call('HLEN', HELD), call('ZCARD', DEAD),
  oldest and text(oldest) or '', history, findings, call('ZRANGE', LEASES, 0, 0, 'WITHSCORES')[2] or ''}
