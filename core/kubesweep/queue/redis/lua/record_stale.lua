-- needs: sweeps
-- args.rows, args.estimated, args.oldest, args.unknown: what a plan step found out, see StaleRows.
if not known() then return 0 end
local sweep = find_sweep(args.sweep)
if not sweep then return 0 end
if args.rows then sweep.stale, sweep.estimated = args.rows, args.estimated end
sweep.oldest = args.oldest and text(args.oldest)
sweep.unknown = args.unknown
change(sweep)
save_sweeps()
return 1
