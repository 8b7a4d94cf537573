-- args.body: the finding as JSON. It is stored after its time, by which the oldest one is found.
if not known() then return 0 end
call('HSET', FINDINGS, args.kind, text(args.at or now) .. ' ' .. args.body)
if call('HLEN', FINDINGS) > args.most then
  local oldest, at
  local all = call('HGETALL', FINDINGS)
  for i = 1, #all, 2 do
    local when = tonumber(string.match(all[i + 1], '^(%S+)'))
    if all[i] ~= args.kind and (not at or when < at) then oldest, at = all[i], when end
  end
  call('HDEL', FINDINGS, oldest)
end
keep(FINDINGS)
return 1
