-- flags: allow-oom
-- needs: select_dead_letters
if not known() then return 0 end
local rows = {}
for i, row in ipairs(select_dead_letters('')) do rows[i] = row[1] .. row[2] end
in_chunks(rows, function(...)
  call('HDEL', EXCLUDED, ...)
  call('ZREM', DEAD, ...)
end)
if #rows > 0 then excluded_changed() end
return #rows
