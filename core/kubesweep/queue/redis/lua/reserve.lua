-- needs: sweeps claims
-- Debits rows that no claim counted, unless the budget owes more than args.debt. Returns the row budget before that, and now.
if not known() then return {'', ''} end
local rate, burst = bound(args.rate, args.burst)
if not rate then return {'', ''} end
local was = call('HMGET', META, 'tokens', 'tokens_at')
local left = budget(was[1], was[2], rate, burst)
if args.rows < 0 then
  refund(-args.rows, rate, burst)
elseif left >= -args.debt then
  set_budget(left - args.rows, rate)
end
return {text(left), text(now)}
