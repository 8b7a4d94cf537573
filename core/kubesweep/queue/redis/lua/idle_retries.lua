-- flags: no-writes
-- needs: sweeps
-- Returns {now, current origin, unclaimed retry jobs}, the latter as {where, when it is due, header, body, ...}.
-- `where` is the id of an entry of WORK, or empty for a member of DELAYED. Jobs longer than LONGEST, or beyond ALL bytes in total, were
-- not written by Kubesweep and are left out.
local LONGEST, ALL = 1048576, 16777216
local out, size = {}, 0
if not known() then return {text(now), '', out} end
local function put(where, due, h, body)
  if not body or #h + #body > LONGEST or size > ALL then return end
  size = size + #h + #body
  out[#out + 1], out[#out + 2], out[#out + 3], out[#out + 4] = where, due, h, body
end
local delayed = call('ZRANGE', DELAYED, 0, -1, 'WITHSCORES')
for i = 1, #delayed, 2 do
  local h, body = string.match(delayed[i], '^([^\n]*)\n(.*)$')
  put('', delayed[i + 1], h, body)
end
local from = call('HGET', META, 'cur') or '0-0'
repeat
  local page = call('XRANGE', WORK, '(' .. from, '+', 'COUNT', CHUNK)
  for _, entry in ipairs(page) do
    from = entry[1]
    local _, kind = parse_start(entry[2][2])
    if kind == 'h' and call('ZSCORE', LEASES, from) == false then put(from, '', entry[2][2], entry[2][4]) end
  end
until #page < CHUNK
return {text(now), call('HGET', META, 'origin') or '', out}
