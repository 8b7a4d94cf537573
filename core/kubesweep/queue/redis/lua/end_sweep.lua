-- flags: allow-oom
-- needs: sweeps claims
local function block_retries()
  call('HSET', META, 'blocked', 1)
  local from, gone = call('HGET', META, 'cur') or '0-0', {}
  repeat
    local page = call('XRANGE', WORK, '(' .. from, '+', 'COUNT', CHUNK)
    for _, entry in ipairs(page) do
      from = entry[1]
      local _, kind, _, since = parse_start(entry[2][2])
      if kind == 'h' and not call('ZSCORE', LEASES, from) then
        delay(since, entry[2][2], entry[2][4])
        gone[#gone + 1] = from
      end
    end
  until #page < CHUNK
  in_chunks(gone, function(...) call('XDEL', WORK, ...) end)
  mark()
end

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
    block_retries()
  end
end
save_sweeps()
return ended and 1 or 0
