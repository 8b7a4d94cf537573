-- Creates a schedule. An incomplete queue (a key or the group was deleted) could never end its sweep, so the keys that are left
-- of it are deleted first.
local function ensure()
  if known() and not redis.pcall('XGROUP', 'CREATE', WORK, GROUP, '0').ok then return end
  call('UNLINK', unpack(KEYS))
  call('XGROUP', 'CREATE', WORK, GROUP, '0', 'MKSTREAM')
  call('HSET', META, 'uid', args.uid)
end
