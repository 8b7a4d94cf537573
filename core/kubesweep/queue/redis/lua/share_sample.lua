-- flags: allow-oom
-- KEYS are those of a database, not of a schedule (ScheduleRef.database): only META is used. It expires when nobody asks any more.
-- Returns the sample, its age in seconds, and whether the caller has the turn to measure.
local was = call('HMGET', META, 'consumer', 'until', 'sample', 'at')
local ends = tonumber(was[2] or 0)
-- A turn that ends later than any turn can was taken before the clock was set back.
local mine = was[1] == args.consumer or ends <= now or ends > now + 2 * args.turn
if mine then call('HSET', META, 'consumer', args.consumer, 'until', text(now + args.turn)) end
local sample, at = was[3] or '', tonumber(was[4] or 0)
if args.sample then
  sample, at = args.sample, now
  call('HSET', META, 'sample', sample, 'at', text(now))
end
call('PEXPIRE', META, 60000)
return {sample, text(math.max(0, now - at)), mine and 1 or 0}
