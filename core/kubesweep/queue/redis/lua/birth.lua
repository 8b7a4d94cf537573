-- What brings a schedule into being. Half a queue (somebody deleted a key or the group) is none: its sweep could never
-- end, so what is left of it goes first.
local function ensure()
  if known() and not redis.pcall('XGROUP', 'CREATE', WORK, GROUP, '0').ok then return end
  call('UNLINK', unpack(KEYS))
  call('XGROUP', 'CREATE', WORK, GROUP, '0', 'MKSTREAM')
  call('HSET', META, 'uid', args.uid)
end
