-- The dead letters selected by args.error and args.keys, if given: {origin, key, record} each, oldest first. With `here`, only those
-- of this origin. It stops at PAGE bytes of records, which take a multiple of that as tables: the caller repeats the script until
-- nothing is left. Records that are longer than any that a worker writes are left alone.
local LONGEST, PAGE = 262144, 8388608
local function select_dead_letters(here)
  local wanted, out = nil, {}
  if args.keys then
    wanted = {}
    for _, key in ipairs(args.keys) do wanted[key] = true end
  end
  local size = 0
  for _, name in ipairs(call('ZREVRANGE', DEAD, 0, -1)) do
    if size > PAGE then break end
    local origin, key = parse_row(name)
    local fits = (not wanted or wanted[key]) and (here == '' or origin == '' or origin == here)
    local raw = fits and call('HGET', EXCLUDED, name)
    local record = raw and #raw <= LONGEST and cjson.decode(raw)
    if record and (not args.error or record.a[#record.a][2] == args.error) then
      out[#out + 1] = {origin, key, record}
      size = size + #raw
    end
  end
  return out
end
