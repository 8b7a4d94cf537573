-- flags: allow-oom
-- needs: sweeps claims take
-- A settlement is {id, owner, delivery, sweep, is a retry, applied, skipped, unconfirmed, extra, more, refund}; `more` is false
-- for a job that simply ended, else a map. A row is {key, error, message, where, effect key}, see model.FailedRow.
local failing, order, unused, moved = {}, {}, 0, 0
local until_ = text(now + args.lease)

-- How many rows of an origin are excluded; those without one belong to each. Counted only where there may be no room.
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

-- Put a failed row into the excluded set. False where another job or a dead letter has it already: a row is in one place.
-- Held rows are named by their origin and key, see excluded.row_text.
local function hold(row, sweep, mine, token, origin)
  local name = origin .. row[1]
  local raw = call('HGET', EXCLUDED, name)
  local record = raw and cjson.decode(raw) or {a = {}}
  if raw and (not mine or record.j ~= mine) then return false end
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
  if not raw then moved = moved + 1 end
  return true
end

local function free(names, mine, origin)
  for _, name in ipairs(names) do
    local raw = call('HGET', EXCLUDED, name)
    if raw and cjson.decode(raw).j == mine then
      call('HDEL', EXCLUDED, name)
      resized(origin, -1)
      moved = moved + 1
    end
  end
end

-- The plan was edited while the job ran: what failed of it is for the sweep of the new plan to find.
local function outdated(body)
  local plan, latest = cjson.decode(body).plan, find_sweep(remembered()[1] or '')
  return plan and plan ~= cjson.null and latest and plan.hash ~= latest.hash
end

local function retry(group, sweep_id, mine, origin)
  local keys, effects_done, token = {}, {}, new_token()
  if outdated(group.body) then
    for i, row in ipairs(group.rows) do keys[i] = origin .. row[1] end
    if mine then free(keys, mine, origin) end
    return 0
  end
  for _, row in ipairs(group.rows) do
    if hold(row, sweep_id, mine, token, origin) then
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

local function bury(rows, sweep_id, sweep, mine, origin)
  local dead = 0
  for _, row in ipairs(rows) do
    if hold(row, sweep_id, mine, '', origin) then
      -- The score is the time, negative: newest first, and keys in their order within one moment.
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

local function children(jobs, sweep_id, sweep, mine)
  for _, job in ipairs(jobs) do
    if job[1] == 'h' then
      add(header(sweep_id, 'h', 0, job[2], now, mine), job[3])
    elseif is_open(sweep) then
      add(header(sweep_id, 'p', 0, job[2], now), job[3])
      sweep.open = sweep.open + 1
    end
  end
end

local function renew(id) call('ZADD', LEASES, until_, id) end

-- The owner keeps the claim when it settles a part, so the fence alone cannot tell a repeat (the answer was lost) from
-- the next part. What is left can: each part leaves less.
local function is_repeat(s)
  return s[10] and s[10].rest and call('HGET', REST, s[1]) == s[10].rest
end

-- Why a sweep that still runs is to end: TooManyFailedRows stays, a Flood replaces no other reason.
local function foretell(sweep, reason, message)
  if sweep.reason == 'TooManyFailedRows' then return end
  if reason == 'Flood' and sweep.reason ~= '' and sweep.reason ~= 'Flood' then return end
  sweep.reason, sweep.message = reason, message
end

-- What only some settlements have. Answers rows retried, rows dead, failed rows that are excluded already.
local function settle_more(s, more, sweep)
  local mine
  if s[5] then
    local h = header_of(s[1])
    mine = h and select(6, parse(h))
  end
  children(more.jobs, s[4], sweep, mine)
  local retried, failed = 0, #more.dead
  for _, group in ipairs(more.retry) do
    retried = retried + retry(group, s[4], mine, more.origin)
    failed = failed + #group.rows
  end
  local dead = bury(more.dead, s[4], sweep, mine, more.origin)
  if s[5] then free(more.free, mine, more.origin) end
  if more.sweep_failure and is_open(sweep) then foretell(sweep, more.sweep_failure[1], more.sweep_failure[2]) end
  if more.batch_hint then call('HSET', META, 'batch_hint', more.batch_hint) end
  if more.rest then
    call('HSET', REST, s[1], more.rest)
    keep(REST)
    renew(s[1])
  end
  return retried, dead, failed - retried - dead
end

local function count(s, sweep, retried, dead, elsewhere)
  local skipped = s[7] + elsewhere
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

-- The error of most excluded rows and one of their keys, as far as a thousand of them tell.
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

local function too_many(origin)
  local worst, key = worst_excluded(origin)
  return args.halt_above .. ' rows are in retry or dead' .. (worst and ', most by ' .. worst .. ', such as ' .. key or '')
    .. ': as many as deadLetters.haltAbove allows; fix the cause, then retry them, or purge them'
end

local function too_bad(sweep)
  if overflowing[sweep.id] and is_open(sweep) then return 'TooManyFailedRows', too_many(overflowing[sweep.id]) end
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
  return {ids_of(args.settlements), finished, halted, {}}
end
foresee(args.settlements)
for _, s in ipairs(args.settlements) do
  if settled[s[1]] or not owns(s) then
    lost[#lost + 1] = s[1]
  elseif is_repeat(s) then
    renew(s[1])
  else
    settled[s[1]] = true
    local sweep, more = find_sweep(s[4]), s[10]
    local retried, dead, elsewhere = 0, 0, 0
    if more then
      retried, dead, elsewhere = settle_more(s, more, sweep)
      if sweep and (#more.retry > 0 or #more.dead > 0) then failing[sweep.id] = true end
    end
    unused = unused + s[11]
    if sweep then
      if changed[sweep.id] == nil then order[#order + 1] = sweep end
      count(s, sweep, retried, dead, elsewhere)
    end
    if not (more and more.rest) then
      done[#done + 1] = s[1]
      if sweep and not s[5] then sweep.open = sweep.open - 1 end
    end
  end
end
remove(done)
if moved > 0 then excluded_changed() end
if next(failing) then
  keep(EXCLUDED)
  keep(DEAD)
end
for _, sweep in ipairs(order) do
  if is_open(sweep) or sweep.state == 'Completed' then
    local reason, message
    if failing[sweep.id] then reason, message = too_bad(sweep) end
    if reason and args.halt_at_end and is_open(sweep) then
      foretell(sweep, reason, message)
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
if args.rate then refund(unused, args.rate, args.burst) end
admit()  -- before the answer says when the next job is due; also where all claims were lost, as in release
removed = false
local taken = take(args.consumer, args.want, args.lease, args.rate, args.burst)
save_sweeps()
return {lost, finished, halted, taken}
