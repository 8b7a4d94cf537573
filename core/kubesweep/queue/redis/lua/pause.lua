-- flags: allow-oom
-- args.paused: 1 or 0; args.most: MAX_PAUSES; args.longest: LONGEST_PAUSES. META `pauses` is what parse_pauses reads.
local function known_pauses()
  local times = {}
  if call('HSTRLEN', META, 'pauses') > args.longest then return times end
  for time in string.gmatch(call('HGET', META, 'pauses') or '', '%S+') do
    if not string.match(time, '^[%d.e+]+$') or not tonumber(time) then return {} end
    times[#times + 1] = time
  end
  return times
end

if known() then
  local times = known_pauses()
  local open = #times % 2 == 1
  if open and call('HGET', CONTROL, 'paused') ~= '1' then -- an older version ended it, and recorded no end
    times[#times] = nil
    open = false
  end
  if open ~= (args.paused == 1) then times[#times + 1] = text(now) end
  local first = 1 + 2 * math.max(0, math.floor(#times / 2) - args.most)
  call('HSET', META, 'pauses', table.concat(times, ' ', first))
  set_control('paused', args.paused)
  refresh()
  if args.paused == 0 then wake() end
end
return 1
