-- args.baseline: JSON of Baseline. A schedule that has one keeps it: workers recorded it after the queue lost the older one.
if not known() or call('HGET', META, 'baseline') then return 0 end
call('HSET', META, 'baseline', args.baseline)
return 1
