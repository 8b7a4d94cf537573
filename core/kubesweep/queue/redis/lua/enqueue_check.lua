-- needs: create_schedule
-- True where a check of this plan is waiting or running.
local function checking()
  local from = '-'
  while true do
    local page = call('XRANGE', WORK, from, '+', 'COUNT', CHUNK)
    for _, entry in ipairs(page) do
      local _, kind = parse_start(entry[2][2])
      if kind == 'n' and string.find(entry[2][4], '"' .. args.hash .. '"', 1, true) then return true end
    end
    if #page < CHUNK then return false end
    from = '(' .. page[#page][1]
  end
end

ensure()
if checking() then
  refresh()
  return 0
end
keep_check(enqueue(header('', 'n', 0, 0, now), args.body))
refresh()
return 1
