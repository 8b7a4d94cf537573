-- needs: birth
ensure()
local seen = {}
for hash in string.gmatch(call('HGET', META, 'checked') or '', '%S+') do
  if hash == args.hash then
    refresh()
    return 0
  end
  seen[#seen + 1] = hash
end
seen[#seen + 1] = args.hash
if #seen > args.most then table.remove(seen, 1) end
call('HSET', META, 'checked', table.concat(seen, ' '))
add(header('', 'n', 0, 0, now), args.body)
refresh()
return 1
