-- flags: no-writes
-- Dead letters, newest first: {key, when it died, record, ...}. A page at a time, so that many never stop the server.
local keys = args.keys or {}
if not args.keys then keys = call('ZRANGE', DEAD, args.from, args.from + args.most - 1) end
local out = {}
for _, key in ipairs(keys) do
  local at, record = call('ZSCORE', DEAD, key), call('HGET', HELD, key)
  if at and record then out[#out + 1], out[#out + 2], out[#out + 3] = key, text(-tonumber(at)), record end
end
return out
