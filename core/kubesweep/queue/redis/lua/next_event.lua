-- flags: no-writes
-- Returns what a blocking read needs: {known, paused, cursor, last signal, seconds until a retry is due or a lease ends, seconds
-- until the row budget is out of debt}. A time that will not come is an empty text.
if not known() then return {0, 0, '0-0', '0-0', '', ''} end
local meta = call('HMGET', META, 'cur', 'tokens', 'tokens_at', 'rate')
local signal = call('XREVRANGE', WAKE, '+', '-', 'COUNT', 1)[1]
local due = tonumber(next_due())
local lease = tonumber(call('ZRANGE', LEASES, 0, 0, 'WITHSCORES')[2])
local soonest = due and lease and math.min(due, lease) or due or lease
local debt = meta[2] and tonumber(meta[2]) < 0 and tonumber(meta[3]) - tonumber(meta[2]) / tonumber(meta[4])
if debt and debt <= now then debt = nil end
return {1, call('HGET', CONTROL, 'paused') == '1' and 1 or 0, meta[1] or '0-0', signal and signal[1] or '0-0',
  soonest and text(soonest - now) or '', debt and text(debt - now) or ''}
