-- flags: no-writes
-- Dead letters, newest first (longer ones than any that a worker writes are left out): {name, when it died, record, ...}. A page at a time, so that many never stop the server.
local LONGEST = 262144
local out = {}
for _, name in ipairs(call('ZRANGE', DEAD, args.from, args.from + args.most - 1)) do
  local at, record = call('ZSCORE', DEAD, name), call('HGET', HELD, name)
  if at and record and #name <= LONGEST and #record <= LONGEST then out[#out + 1], out[#out + 2], out[#out + 3] = name, text(-tonumber(at)), record end
end
return out
