-- flags: allow-oom
-- needs: sweeps claims
if not known() or not owns(args.claim) then return 0 end
local id = args.claim[1]
local sweep = find_sweep(args.sweep)
if args.is_retry then
  -- The rows of a retry must stay in a job: it is delayed, and its delivery is not counted.
  local h = header_of(id)
  local _, _, _, rows, _, token = parse(h)
  local body = call('HGET', REST, id) or call('XRANGE', WORK, id, id)[1][2][4]
  remove({id})
  local due = now + args.pause
  delay(due, header(args.sweep, 'h', args.claim[3] - 1, rows, due, token), body)
else
  remove({id})
  if sweep then
    sweep.open = sweep.open - 1
    change(sweep)
  end
end
local ended = is_open(sweep)
if ended then
  local rows = close_sweep(sweep, args.state, args.reason, args.message)
  if args.state == 'AwaitingApproval' then
    sweep.cutoff = sweep.cutoff or args.cutoff
    sweep.planned = sweep.planned - rows
  end
end
save_sweeps()
return ended and 1 or 0
