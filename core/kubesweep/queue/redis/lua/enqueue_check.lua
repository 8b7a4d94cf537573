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
local hashes, before = {}, false
for hash in string.gmatch(call('HGET', META, 'checked') or '', '%S+') do
  if hash == args.hash then before = true else hashes[#hashes + 1] = hash end
end
if before and not (args.again and not checking()) then
  refresh()
  return 0
end
hashes[#hashes + 1] = args.hash
if #hashes > args.most then table.remove(hashes, 1) end
call('HSET', META, 'checked', table.concat(hashes, ' '))
keep_check(enqueue(header('', 'n', 0, 0, now), args.body))
refresh()
return 1
