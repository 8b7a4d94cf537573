-- flags: no-writes
-- A page of dead letters, newest first: {where the next page begins (-1: there is none), {name, when it died, record, ...}}. A page ends at `most`
-- rows or PAGE bytes, so that many never stop the server or fill the reader's memory. Longer ones than any that a worker writes
-- are left out.
local LONGEST, PAGE = 262144, 1048576
local out, at, size = {}, args.from, 0
local names = call('ZRANGE', DEAD, at, at + args.most - 1)
for _, name in ipairs(names) do
  if size > PAGE then return {at, out} end
  at = at + 1
  local died, record = call('ZSCORE', DEAD, name), call('HGET', EXCLUDED, name)
  if died and record and #name <= LONGEST and #record <= LONGEST then
    size = size + #name + #record
    out[#out + 1], out[#out + 2], out[#out + 3] = name, text(-tonumber(died)), record
  end
end
return {#names == args.most and at or -1, out}
