-- flags: no-writes
-- The rows in retry: {name, record, ...}.
local out = {}
if not known() then return out end
for _, name in ipairs(call('HKEYS', HELD)) do
  if not call('ZSCORE', DEAD, name) then out[#out + 1], out[#out + 2] = name, call('HGET', HELD, name) end
end
return out
