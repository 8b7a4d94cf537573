-- Claims jobs: expired leases, then due retries, then waiting jobs. XREADGROUP supports only the order of the stream, so the scripts
-- keep their own cursor (META cur, set in the group with LASTID) and assign ownership with XCLAIM FORCE. A retry that is claimed before
-- older waiting jobs is after the cursor; EARLY has its id until the cursor passes it.
-- `waits` has a number of jobs and the seconds since they became ready, in turn: jobs of one window became ready together.
local waits, latest_since = {}, false
local function append_job(jobs, id, delivery, body, since)
  jobs[#jobs + 1], jobs[#jobs + 2], jobs[#jobs + 3] = id, delivery, body
  if since == latest_since then
    waits[#waits - 1] = waits[#waits - 1] + 1
  else
    waits[#waits + 1], waits[#waits + 2] = 1, text(math.min(1e9, math.max(0, now - (tonumber(since) or now))))
    latest_since = since
  end
end

-- Redis stores a small sorted set as a list and searches it from the head at every insert. A member of this length makes it a skip
-- list: adding 100 leases takes 0.05 ms instead of 0.7 ms.
local PADDING = string.rep('-', 65)

local function assign(consumer, ids, delivery, until_, last)
  in_chunks(ids, function(...)
    local list, leases = {...}, {}
    local n = #list
    if n >= 16 then leases[1], leases[2] = until_, PADDING end
    for _, id in ipairs(list) do
      local at = #leases
      leases[at + 1], leases[at + 2] = until_, id
    end
    list[n + 1], list[n + 2], list[n + 3], list[n + 4] = 'RETRYCOUNT', delivery, 'FORCE', 'JUSTID'
    if last then list[n + 5], list[n + 6] = 'LASTID', last end
    call('XCLAIM', WORK, GROUP, consumer, 0, unpack(list))
    call('ZADD', LEASES, unpack(leases))
    if n >= 16 then call('ZREM', LEASES, PADDING) end
  end)
end

local function drop_planned_job(sweep_id)
  local sweep = find_sweep(sweep_id)
  if sweep then
    sweep.open = sweep.open - 1
    change(sweep)
  end
end

-- A lease from before the clock was set back would last until the clock reaches its end again.
local function cap_leases(lease)
  local late = call('ZRANGEBYSCORE', LEASES, '(' .. text(now + args.longest * lease), '+inf', 'LIMIT', 0, CHUNK)
  for _, id in ipairs(late) do call('ZADD', LEASES, text(now + lease), id) end
end

-- Expired leases that are examined beyond the wanted ones: jobs of an ended sweep count as running until they are dropped.
local AHEAD = 64

-- Retries whose lease ended join the others that are blocked.
local function block_expired(id, entry, delivery)
  local sweep, kind, _, rows, _, token = parse(entry[2][2])
  local since, body = call('ZSCORE', LEASES, id), call('HGET', REST, id) or entry[2][4]
  remove({id})
  delay(since, header(sweep, kind, delivery, rows, tonumber(since), token), body)
end

local function take_expired(jobs, consumer, want, until_, blocked)
  local left = 0
  repeat
    local ids = call('ZRANGEBYSCORE', LEASES, '-inf', now, 'LIMIT', left, want - #jobs / 3 + AHEAD)
    for _, id in ipairs(ids) do
      local owner = pending(id, id, 1)[1]
      local entry = call('XRANGE', WORK, id, id)[1]
      local sweep, kind
      if entry then sweep, kind = parse_start(entry[2][2]) end
      if not owner or not entry or is_obsolete(sweep, kind) then
        remove({id})
        if kind == 'p' then drop_planned_job(sweep) end
      elseif blocked and kind == 'h' then
        block_expired(id, entry, owner[4])
      elseif #jobs < 3 * want and (not args.own_expired_only or owner[2] == consumer) then
        local since = call('ZSCORE', LEASES, id)
        assign(consumer, {id}, owner[4] + 1, until_)
        append_job(jobs, id, owner[4] + 1, call('HGET', REST, id) or entry[2][4], since)
      else
        left = left + 1
      end
    end
  until #ids == 0 or #jobs >= 3 * want
end

local function due_jobs(most, blocked)
  if not blocked then return call('ZRANGEBYSCORE', DELAYED, '-inf', now, 'WITHSCORES', 'LIMIT', 0, most) end
  local due = next_due()
  return due and tonumber(due) <= now and {call('HGET', META, 'behind'), due} or {}
end

local function take_due(jobs, consumer, want, until_, blocked)
  if #jobs >= 3 * want then return end
  local due = due_jobs(want - #jobs / 3, blocked)
  for i = 1, #due, 2 do
    local h, body = string.match(due[i], '^([^\n]*)\n(.*)$')
    local _, kind, crashes = parse_start(h)
    if kind == 'p' then call('HDEL', META, 'behind') end
    local id = enqueue(h, body)
    undelay(due[i])
    call('SADD', EARLY, id)
    assign(consumer, {id}, crashes + 1, until_)
    append_job(jobs, id, crashes + 1, body, due[i + 1])
  end
  if #due > 0 then keep(EARLY) end
end

local function take_waiting(jobs, consumer, want, until_, cursor)
  local early, start = call('EXISTS', EARLY) == 1, cursor
  while #jobs < 3 * want do
    local page = call('XRANGE', WORK, '(' .. cursor, '+', 'COUNT', want - #jobs / 3)
    if #page == 0 then break end
    cursor = page[#page][1]
    local fresh, gone = {}, {}
    for _, entry in ipairs(page) do
      local id, sweep, kind, crashes, since = entry[1], parse_start(entry[2][2])
      if early and call('SREM', EARLY, id) == 1 then
        early = call('EXISTS', EARLY) == 1
      elseif is_obsolete(sweep, kind) then
        gone[#gone + 1] = id
        drop_planned_job(sweep)
      else
        if crashes == 0 then fresh[#fresh + 1] = id else assign(consumer, {id}, crashes + 1, until_) end
        append_job(jobs, id, crashes + 1, entry[2][4], since)
      end
    end
    assign(consumer, fresh, 1, until_, cursor)
    in_chunks(gone, function(...) call('XDEL', WORK, ...) end)
  end
  if cursor ~= start then call('HSET', META, 'cur', cursor) end
  return cursor
end

-- Reads the field of the job. Texts in it cannot match, because JSON escapes their quotes.
local function rows_of(body) return tonumber(string.match(body, '"rows":(%d+)')) or 0 end

-- Returns {paused, wait, next delayed, excluded version, {id, delivery, body, ...}, batch_hint, seconds until the next delayed, row budget
-- before, now, pace, waits}. A missing value is an empty text.
local function take(consumer, want, lease, rate, burst)
  local meta = call('HMGET', META, 'tokens', 'tokens_at', 'excluded', 'cur', 'batch_hint', 'behind', 'blocked')
  local paused, pace = read_control()
  local jobs, wait = {}, ''
  local left = rate and budget(meta[1], meta[2], rate, burst)
  if rate and left < 0 then wait = text(-left / rate) end
  if want > 0 and paused ~= '1' and wait == '' then
    local until_, cursor = text(now + lease), meta[4] or '0-0'
    cap_leases(lease)
    local function fill(most)
      take_expired(jobs, consumer, most, until_, meta[7])
      if meta[6] then admit() end
      take_due(jobs, consumer, most, until_, meta[7])
      cursor = take_waiting(jobs, consumer, most, until_, cursor)
    end
    if rate then
      local debt, had = left, nil
      repeat
        had = #jobs
        fill(had / 3 + 1)
        if #jobs > had then debt = debt - rows_of(jobs[#jobs]) end
      until #jobs == had or debt < 0 or #jobs >= 3 * want
      if debt < left then set_budget(debt, rate) end
    else
      fill(want)
    end
    if #jobs > 0 then keep(LEASES) end
  end
  local due = next_due()
  return {paused, wait, due or '', meta[3] or '0', jobs, meta[5] or '', due and text(tonumber(due) - now) or '',
    left and text(left) or '', text(now), pace, waits}
end
