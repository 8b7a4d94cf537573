-- flags: no-writes
-- A page of dead letters, newest first: {start of the next page (-1: none), {name, time of death, record, ...}}.
-- A page has at most `most` rows and PAGE bytes, so that it neither blocks the server nor fills the reader's memory. Rows that are
-- longer than any that a worker writes are left out.
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
