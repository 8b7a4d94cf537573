-- flags: allow-oom
-- needs: sweeps claims take
-- A settlement is {id, owner, delivery, sweep, is a retry, applied, skipped, unconfirmed, extra, more, refund}. `more` is
-- false for a job that ended without failures, else a map. A row is {key, error, message, where, effect key}, see FailedRow.
local failing, order, unused, excluded_changes = {}, {}, 0, 0
local until_ = text(now + args.lease)

-- Excluded rows of each origin; rows without one belong to every origin. Counted only if the limit may be reached.
local sizes, overflowing = {}, {}
local function is_full(origin)
  if call('HLEN', EXCLUDED) < args.halt_above then return false end
  if not sizes[origin] then
    local size = 0
    for _, name in ipairs(call('HKEYS', EXCLUDED)) do
      local of = parse_row(name)
      if origin == '' or of == '' or of == origin then size = size + 1 end
    end
    sizes[origin] = size
  end
  return sizes[origin] >= args.halt_above
end

local function resized(origin, by)
  if sizes[origin] then sizes[origin] = sizes[origin] + by end
  if origin ~= '' and sizes[''] then sizes[''] = sizes[''] + by end
end

-- Adds a failed row to the excluded set. False where another job or a dead letter already has it: a row is in one place only.
local function exclude(row, sweep, own_token, token, origin)
  local name = origin .. row[1]
  local raw = call('HGET', EXCLUDED, name)
  local record = raw and cjson.decode(raw) or {a = {}}
  if raw and (not own_token or record.j ~= own_token) then return false end
  if not raw then
    if is_full(origin) then
      overflowing[sweep] = origin
      return false
    end
    resized(origin, 1)
  end
  local attempts = record.a
  attempts[#attempts + 1] = {text(now), row[2], row[3]}
  if #attempts > args.attempts then table.remove(attempts, 1) end
  call('HSET', EXCLUDED, name, cjson.encode({s = sweep, j = token, a = attempts, w = row[4], t = row[5]}))
  if not raw then excluded_changes = excluded_changes + 1 end
  return true
end

local function include(names, own_token, origin)
  for _, name in ipairs(names) do
    local raw = call('HGET', EXCLUDED, name)
    if raw and cjson.decode(raw).j == own_token then
      call('HDEL', EXCLUDED, name)
      resized(origin, -1)
      excluded_changes = excluded_changes + 1
    end
  end
end

-- True where the plan was edited while the job ran: the sweep of the new plan finds the failed rows.
local function outdated(body)
  local plan, latest = cjson.decode(body).plan, find_sweep(sweep_ids()[1] or '')
  return plan and plan ~= cjson.null and latest and plan.hash ~= latest.hash
end

local function retry(group, sweep_id, own_token, origin)
  local keys, effects_done, token = {}, {}, new_token()
  if outdated(group.body) then
    for i, row in ipairs(group.rows) do keys[i] = origin .. row[1] end
    if own_token then include(keys, own_token, origin) end
    return 0
  end
  for _, row in ipairs(group.rows) do
    if exclude(row, sweep_id, own_token, token, origin) then
      keys[#keys + 1] = row[1]
      add_effect(effects_done, row[1], row[5])
    end
  end
  if #keys > 0 then
    local due = now + group.delay
    delay(due, header(sweep_id, 'h', 0, #keys, due, token), with_keys(group.body, keys, effects_done))
  end
  return #keys
end

local function dead_letter(rows, sweep_id, sweep, own_token, origin)
  local dead = 0
  for _, row in ipairs(rows) do
    if exclude(row, sweep_id, own_token, '', origin) then
      -- The score is the negative time, so the newest come first, and keys of the same time are sorted.
      call('ZADD', DEAD, -now, origin .. row[1])
      dead = dead + 1
      if sweep then
        sweep.errors = sweep.errors or {}
        sweep.errors[row[2]] = (sweep.errors[row[2]] or 0) + 1
      end
    end
  end
  return dead
end

local function enqueue_jobs(jobs, sweep_id, sweep, own_token)
  for _, job in ipairs(jobs) do
    if job[1] == 'h' then
      enqueue_retry(header(sweep_id, 'h', 0, job[2], now, own_token), job[3])
    elseif is_open(sweep) then
      enqueue(header(sweep_id, 'p', 0, job[2], now), job[3])
      sweep.open = sweep.open + 1
    end
  end
end

local function renew(id) call('ZADD', LEASES, until_, id) end

-- True where this part was settled before and its answer was lost. The owner keeps the claim when it settles a part, so the fence
-- cannot tell a repetition from the next part, but the rest of the job can: each part leaves fewer rows.
local function is_repeat(s)
  return s[10] and s[10].rest and call('HGET', REST, s[1]) == s[10].rest
end

-- Sets the reason for which a running sweep will end. TooManyFailedRows is kept, and a Flood replaces no other reason.
local function set_reason(sweep, reason, message)
  if sweep.reason == 'TooManyFailedRows' then return end
  if reason == 'Flood' and sweep.reason ~= '' and sweep.reason ~= 'Flood' then return end
  sweep.reason, sweep.message = reason, message
end

-- Settles failed rows, new jobs and the rest. Returns the rows retried, the rows dead, and the failed rows already excluded.
local function settle_more(s, more, sweep)
  local own_token
  if s[5] then
    local h = header_of(s[1])
    own_token = h and select(6, parse(h))
  end
  enqueue_jobs(more.jobs, s[4], sweep, own_token)
  local retried, failed = 0, #more.dead
  for _, group in ipairs(more.retry) do
    retried = retried + retry(group, s[4], own_token, more.origin)
    failed = failed + #group.rows
  end
  local dead = dead_letter(more.dead, s[4], sweep, own_token, more.origin)
  if s[5] then include(more.free, own_token, more.origin) end
  if more.sweep_failure and is_open(sweep) then set_reason(sweep, more.sweep_failure[1], more.sweep_failure[2]) end
  if more.batch_hint then call('HSET', META, 'batch_hint', more.batch_hint) end
  if more.rest then
    call('HSET', REST, s[1], more.rest)
    keep(REST)
    renew(s[1])
  end
  return retried, dead, failed - retried - dead
end

local rows = {0, 0, 0, 0, 0}  -- as in RowCounts
local function count(s, sweep, retried, dead, already_excluded)
  local skipped = s[7] + already_excluded
  rows[1], rows[2], rows[3] = rows[1] + s[6], rows[2] + skipped, rows[3] + s[8]
  rows[4], rows[5] = rows[4] + retried, rows[5] + dead
  if not sweep then return end
  sweep.applied = sweep.applied + s[6]
  sweep.skipped = sweep.skipped + skipped
  sweep.unconfirmed = sweep.unconfirmed + s[8]
  sweep.dead = sweep.dead + dead
  if s[5] then
    sweep.retrying = sweep.retrying - s[6] - skipped - s[8] - dead
  else
    sweep.retrying = sweep.retrying + retried
    sweep.planned = sweep.planned + s[9]
  end
  change(sweep)
end

-- The most frequent error in a sample of 1000 excluded rows, and one of its keys.
local function worst_excluded(origin)
  local counts, keys = {}, {}
  local sample = call('HRANDFIELD', EXCLUDED, CHUNK, 'WITHVALUES')
  for i = 1, #sample, 2 do
    local of, key = parse_row(sample[i])
    if origin == '' or of == '' or of == origin then
      local attempts = cjson.decode(sample[i + 1]).a
      local name = attempts[#attempts][2]
      counts[name] = (counts[name] or 0) + 1
      if not keys[name] or key < keys[name] then keys[name] = key end
    end
  end
  local worst
  for name, count in pairs(counts) do
    if not worst or count > counts[worst] or (count == counts[worst] and name < worst) then worst = name end
  end
  return worst, worst and keys[worst]
end

local function too_many_failed(origin)
  local worst, key = worst_excluded(origin)
  return args.halt_above .. ' rows are in retry or dead' .. (worst and ', most by ' .. worst .. ', such as ' .. key or '')
    .. ': as many as deadLetters.haltAbove allows; fix the cause, then retry them, or purge them'
end

local function halt_reason(sweep)
  if overflowing[sweep.id] and is_open(sweep) then return 'TooManyFailedRows', too_many_failed(overflowing[sweep.id]) end
  local worst, most = nil, 0
  for name, died in pairs(sweep.errors or {}) do
    if died > most or (died == most and name < worst) then worst, most = name, died end
  end
  if most >= args.flood and sweep.applied == 0 then
    return 'Flood', most .. ' rows died of ' .. worst
      .. ' and none was applied; fix the cause, then retry the dead letters'
  end
end

local lost, finished, halted, settled, done = {}, {}, {}, {}, {}
if not known() then
  return {ids_of(args.settlements), finished, halted, {}, {0, 0, 0, 0, 0}}
end
prefetch_owners(args.settlements)
for _, s in ipairs(args.settlements) do
  if settled[s[1]] or not owns(s) then
    lost[#lost + 1] = s[1]
  elseif is_repeat(s) then
    renew(s[1])
  else
    settled[s[1]] = true
    local sweep, more = find_sweep(s[4]), s[10]
    local retried, dead, already_excluded = 0, 0, 0
    if more then
      retried, dead, already_excluded = settle_more(s, more, sweep)
      if sweep and (#more.retry > 0 or #more.dead > 0) then failing[sweep.id] = true end
    end
    unused = unused + s[11]
    if sweep then
      if changed[sweep.id] == nil then order[#order + 1] = sweep end
    end
    count(s, sweep, retried, dead, already_excluded)
    if not (more and more.rest) then
      done[#done + 1] = s[1]
      if sweep and not s[5] then sweep.open = sweep.open - 1 end
    end
  end
end
remove(done)
if excluded_changes > 0 then excluded_changed() end
if next(failing) then
  keep(EXCLUDED)
  keep(DEAD)
end
for _, sweep in ipairs(order) do
  if is_open(sweep) or sweep.state == 'Completed' then
    local reason, message
    if failing[sweep.id] then reason, message = halt_reason(sweep) end
    if reason and args.halt_at_end and is_open(sweep) then
      set_reason(sweep, reason, message)
      reason = nil
    end
    if reason then
      close_sweep(sweep, 'Halted', reason, message)
      halted[#halted + 1] = sweep.id
    elseif finish(sweep) then
      local ended = sweep.state == 'Completed' and finished or halted
      ended[#ended + 1] = sweep.id
    end
  end
end
local rate, burst = bound(args.rate, args.burst)
if rate then refund(unused, rate, burst) end
admit()  -- before the answer has the time of the next job; even if all claims were lost, as in release
removed = false
local taken = take(args.consumer, args.want, args.lease, rate, burst)
save_sweeps()
return {lost, finished, halted, taken, rows}
