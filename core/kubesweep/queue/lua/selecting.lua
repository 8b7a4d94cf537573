-- The dead letters that a person named by error class, by keys, by both or by neither: {key, record} each, oldest first.
local function selected()
  local keys, out = args.keys, {}
  if not keys then keys = call('ZREVRANGE', DEAD, 0, -1) end
  for _, key in ipairs(keys) do
    local raw = call('ZSCORE', DEAD, key) and call('HGET', HELD, key)
    local record = raw and cjson.decode(raw)
    if record and (not args.error or record.a[#record.a][2] == args.error) then
      out[#out + 1] = {key, record}
    end
  end
  return out
end
