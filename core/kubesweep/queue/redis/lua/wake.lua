-- flags: allow-oom
-- Ends the blocking reads of this schedule, as any news would.
if not known() then return 0 end
wake()
return 1
