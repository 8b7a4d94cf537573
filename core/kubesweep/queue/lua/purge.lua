-- flags: allow-oom
-- needs: selecting
if not known() then return 0 end
local keys = {}
for i, row in ipairs(selected()) do keys[i] = row[1] end
in_chunks(keys, function(...)
  call('HDEL', HELD, ...)
  call('ZREM', DEAD, ...)
end)
if #keys > 0 then held_changed() end
return #keys
