-- needs: sweeps claims
-- Debit rows that no claim counted. Answers the row budget before.
if not known() then return '' end
local was = call('HMGET', META, 'tokens', 'tokens_at')
local left = budget(was[1], was[2], args.rate, args.burst)
set_budget(left - args.rows, args.rate)
return text(left)
