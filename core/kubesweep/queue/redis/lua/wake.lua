-- flags: allow-oom
-- Ends the blocking reads of this schedule.
if not known() then return 0 end
wake()
return 1
