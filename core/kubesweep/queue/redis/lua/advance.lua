-- needs: sweeps claims
-- args.jobs: {rows, body} each, in the order of Window.entries.
if not known() or not owns(args.claim) then return 0 end
local sweep = find_sweep(args.sweep)
if not is_open(sweep) then
  if sweep then
    sweep.open = sweep.open - 1
    change(sweep)
  end
  remove({args.claim[1]})
  save_sweeps()
  return 0
end
for _, job in ipairs(args.jobs) do enqueue(header(sweep.id, 'p', 0, job[1], now), job[2]) end
remove({args.claim[1]})
sweep.open = sweep.open + #args.jobs - 1
sweep.cutoff = args.cutoff
sweep.planned = sweep.planned + args.planned
sweep.capped = sweep.capped or args.capped
if args.stopped ~= '' then sweep.stopped = args.stopped end
if #args.samples > 0 then
  local samples = sweep.samples or {}
  for _, key in ipairs(args.samples) do
    if #samples < args.most then samples[#samples + 1] = key end
  end
  sweep.samples = samples
end
if args.origin ~= '' then call('HSET', META, 'origin', args.origin) end
if args.baseline then
  call('HSET', META, 'baseline', args.baseline)
  unblock_retries()  -- nobody has to approve this sweep
end
if args.last then sweep.state = 'Running' end
change(sweep)
finish(sweep)
save_sweeps()
refresh()
return 1
