-- needs: sweeps
-- args.rows, estimated, oldest, unknown, newest, samples: what a plan step found out, see StaleRows.
if not known() then return 0 end
local sweep = find_sweep(args.sweep)
if not sweep then return 0 end
if args.rows then sweep.stale, sweep.estimated = args.rows, args.estimated end
sweep.oldest = args.oldest and text(args.oldest)
sweep.unknown = args.unknown
if args.newest then sweep.newest = text(args.newest) end
if #args.samples > 0 then sweep.samples = args.samples end
change(sweep)
save_sweeps()
return 1
