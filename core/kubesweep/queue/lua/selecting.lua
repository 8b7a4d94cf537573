-- The dead letters that a person named by error class, by keys, by both or by neither: {origin, key, record} each, oldest
-- first.
local function selected()
  local wanted, out = nil, {}
  if args.keys then
    wanted = {}
    for _, key in ipairs(args.keys) do wanted[key] = true end
  end
  for _, name in ipairs(call('ZREVRANGE', DEAD, 0, -1)) do
    local origin, key = parse_row(name)
    local raw = (not wanted or wanted[key]) and call('HGET', HELD, name)
    local record = raw and cjson.decode(raw)
    if record and (not args.error or record.a[#record.a][2] == args.error) then
      out[#out + 1] = {origin, key, record}
    end
  end
  return out
end
