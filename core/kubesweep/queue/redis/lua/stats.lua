-- flags: no-writes
-- needs: sweeps
if not known() then return {} end
-- Values that are longer or more numerous than Kubesweep writes are not read or returned: another program that writes to these keys
-- must not fill the memory of the server or of the reader, nor block the server.
local SWEEPS_KEPT, PAGES = 11, 1000  -- HISTORY + 1; pages of jobs that are read
local function short(key, field, most)
  return call('HSTRLEN', key, field) <= most and call('HGET', key, field) or ''
end
local meta = {}
for i, field in ipairs({'tick', 'enqueued', 'duplicate', 'forbidden', 'late', 'origin', 'cur', 'baseline', 'paced'}) do meta[i] = short(META, field, 1024) end
meta[#meta + 1] = short(META, 'pauses', 4096)
local running, delayed = call('ZCARD', LEASES), call('ZCARD', DELAYED)
-- The first tick of a new plan reads all retries in one script, which takes a second for 100,000. A sweep halts at a tenth of that.
if delayed > 100000 then error('more retries than a sweep can have') end
local first = tonumber(next_due())
local oldest = first and first <= now and first or nil
local due = not oldest and 0 or blocked() and 1 or call('ZCOUNT', DELAYED, '-inf', now)
local from, found, pages = meta[7] ~= '' and meta[7] or '0-0', false, 0
repeat
  pages = pages + 1
  local page = call('XRANGE', WORK, '(' .. from, '+', 'COUNT', 10)
  for _, entry in ipairs(page) do
    if not found and call('ZSCORE', LEASES, entry[1]) == false then
      found = true
      local since = select(5, parse(entry[2][2]))
      if not oldest or since < oldest then oldest = since end
    end
    from = entry[1]
  end
until found or #page < 10 or pages == PAGES
local history = {}
if short(META, 'ids', 4096) ~= '' then
  for _, id in ipairs(sweep_ids()) do
    if #history == SWEEPS_KEPT then break end
    local raw = short(SWEEPS, id, LONGEST_SWEEP)
    if raw ~= '' then history[#history + 1] = raw end
  end
end
local findings = {}
if call('HLEN', FINDINGS) <= 64 then
  for _, kind in ipairs(call('HKEYS', FINDINGS)) do
    local raw = short(FINDINGS, kind, 16384)
    if raw ~= '' then findings[#findings + 1] = raw end
  end
end
return {call('HGET', CONTROL, 'paused') == '1' and 1 or 0, meta, call('XLEN', WORK) - running + due, running, delayed - due, call('HLEN', EXCLUDED), call('ZCARD', DEAD),
  oldest and text(oldest) or '', history, findings, call('ZRANGE', LEASES, 0, 0, 'WITHSCORES')[2] or '', short(CONTROL, 'pace', 4096),
  short(META, 'checks', 1024) ~= '' and #waiting_checks() or 0, blocked() and 1 or 0, text(now)}
