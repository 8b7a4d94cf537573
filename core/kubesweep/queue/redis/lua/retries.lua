-- flags: no-writes
-- needs: sweeps
-- {now, origin that is swept, retry jobs that no worker has}: {where, when it is due, header, body, ...}. A retry that is not due is found by itself (its
-- member of DELAYED), any other by its id. No job is longer than LONGEST, and all that a schedule may have in retry are shorter than ALL:
-- what goes beyond that was written by somebody else.
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
