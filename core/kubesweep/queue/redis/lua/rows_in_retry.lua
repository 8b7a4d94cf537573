-- flags: no-writes
-- A page of the rows in retry: {start of the next page ('0': none), {name, record, ...}}. A row can be in two pages.
local LONGEST, ROWS = 262144, 10
local out = {}
if not known() then return {'0', out} end
local page = call('HSCAN', EXCLUDED, args.cursor, 'COUNT', ROWS)
for i = 1, #page[2], 2 do
  local name, record = page[2][i], page[2][i + 1]
  if #name <= LONGEST and #record <= LONGEST and not call('ZSCORE', DEAD, name) then out[#out + 1], out[#out + 2] = name, record end
end
return {page[1], out}
