-- The first part of every script. KEYS are all keys of one schedule, always in this order. ARGV[1] is a MessagePack map.
-- Invariants:
-- - An entry of WORK is waiting (after the cursor `cur`, not in LEASES) or running (in LEASES and in the group's pending list,
--   with its owner and its delivery count).
-- - An entry is acknowledged and deleted in one script, so XLEN is always waiting + running.
-- - LEASES has the deadlines. The idle times of the group depend on the server's clock, and finding expired ones needs a scan.
-- - Times are text with 17 digits, because cjson keeps 14.
local META, WORK, SWEEPS, LEASES, REST, DELAYED, EXCLUDED, DEAD, FINDINGS, EARLY, WAKE, MARKER = unpack(KEYS)
-- What a person decided: `paused`, `approved` (the id of the approved sweep) and `pace` (JSON of Pace). Only the users of the
-- controller and of operators may write it. It has the same hash tag, but not the prefix that the users of a namespace may write. It is
-- not one of KEYS, because a server checks write access for every key that EVAL names.
local CONTROL = 'control:' .. string.sub(META, 1, -#':meta' - 1)
local GROUP, CHUNK = 'w', 1000
local call = redis.call
local args = cmsgpack.unpack(ARGV[1])
local removed = false  -- this script may have ended claims
local now = args.now
if not now then
  local time = call('TIME')
  now = tonumber(time[1]) + tonumber(time[2]) / 1000000
end

local function text(number) return string.format('%.17g', number) end

local function known() return call('EXISTS', META, WORK) == 2 end

local function in_chunks(list, run)
  for first = 1, #list, CHUNK do
    run(unpack(list, first, math.min(first + CHUNK - 1, #list)))
  end
end

local ttl
local function lifetime()
  ttl = ttl or call('HGET', META, 'ttl') or 604800000
  return ttl
end

local function set_control(field, value)
  call('HSET', CONTROL, field, value)
  call('PEXPIRE', CONTROL, lifetime())
end

-- Sets the expiry of a key that this script may have created. An existing expiry is kept.
local function keep(key) call('PEXPIRE', key, lifetime(), 'NX') end

-- A sweep that awaits approval blocks the retries of the schedule (META `blocked`): they are in DELAYED, and not claimed, until it is
-- approved or another sweep has planned its first window. Only the first plan job of that sweep may be claimed from DELAYED.
local function blocked() return call('HGET', META, 'blocked') ~= false end

-- The earliest member of DELAYED that will be claimed: its time, or nil.
local function next_due()
  if not blocked() then return call('ZRANGE', DELAYED, 0, 0, 'WITHSCORES')[2] end
  local member = call('HGET', META, 'behind')
  return member and call('ZSCORE', DELAYED, member) or nil
end

-- KEDA reads the lengths of two streams, so its user needs no scripts: WORK, and MARKER, which has one entry while a job waits in
-- DELAYED to be claimed. XADD with MAXLEN 0 leaves no entry.
local function mark()
  local waits = next_due() ~= nil
  if waits == (call('XLEN', MARKER) > 0) then return end
  call('XADD', MARKER, 'MAXLEN', waits and 1 or 0, '*', 'd', 1)
  keep(MARKER)
end

local function refresh()
  mark() -- one of the two keys may have been deleted
  for _, key in ipairs(KEYS) do
    if key ~= WAKE then call('PEXPIRE', key, lifetime()) end
  end
end

-- Blocking reads see new entries of WORK. This wakes them for all other changes.
local function wake()
  call('XADD', WAKE, 'MAXLEN', 1, '*', 'w', 1)
  call('PEXPIRE', WAKE, 60000)
end

-- Identifies the rows of one retry job: a row leaves the excluded set only with the job it is in.
local function new_token() return tostring(call('HINCRBY', META, 'token', 1)) end

local function excluded_changed() call('HINCRBY', META, 'excluded', 1) end

-- An entry has two fields, h and b. b is the job, and h is its header, so that the scripts need not decode the job: sweep, kind,
-- deliveries that crashed, rows, when it became ready, token of its excluded rows.
-- Kinds: p (planned), h (retry; queues store this letter, so it cannot change) and n (neither).
local function header(sweep, kind, crashes, rows, since, token)
  return table.concat({sweep == '' and '-' or sweep, kind, crashes, rows, text(since), token or '-'}, ' ')
end

local function parse_start(h)
  local sweep, kind, crashes, since = string.match(h, '^(%S+) (%a) (%d+) %d+ (%S+)')
  if sweep == '-' then sweep = '' end
  return sweep, kind, tonumber(crashes), since
end

local function parse(h)
  local sweep, kind, crashes, rows, since, token = string.match(h, '^(%S+) (%a) (%d+) (%d+) (%S+) (%S+)$')
  if sweep == '-' then sweep = '' end
  return sweep, kind, tonumber(crashes), tonumber(rows), tonumber(since), token
end

-- The name of an excluded row is its origin and the text of its key: kubesweep.queue.excluded.row_text.
local function parse_row(name) return string.match(name, '^([^%[]*)(%[.*)$') end

local function enqueue(h, body) return call('XADD', WORK, 'NOMKSTREAM', '*', 'h', h, 'b', body) end

-- META `checks` has the entries of checks, the latest last, so that statistics need not read all of WORK. One that is not there was
-- enqueued by an older version.
local function waiting_checks()
  local ids = {}
  for id in string.gmatch(call('HGET', META, 'checks') or '', '%S+') do
    if #call('XRANGE', WORK, id, id) > 0 and not call('ZSCORE', LEASES, id) then ids[#ids + 1] = id end
  end
  return ids
end

local function keep_check(id)
  local ids = waiting_checks()
  ids[#ids + 1] = id
  call('HSET', META, 'checks', table.concat(ids, ' ', math.max(1, #ids - 15)))
end

-- `due`: a number, or its text.
local function delay(due, h, body)
  local first = next_due()
  call('ZADD', DELAYED, due, h .. '\n' .. body)
  keep(DELAYED)
  if not first then mark() end
  if not first or tonumber(due) < tonumber(first) then wake() end
end

local function undelay(member)
  local gone = call('ZREM', DELAYED, member) == 1
  if gone then mark() end
  return gone
end

local function enqueue_retry(h, body)
  if blocked() then delay(now, h, body) else enqueue(h, body) end
end

local function unblock_retries()
  if call('HDEL', META, 'blocked') == 1 then
    mark()
    wake()
  end
end

-- Adds keys to the body of a retry job. The text of a key is JSON already.
local function with_keys(body, keys, effects_done)
  local more = #effects_done > 0 and ',"effects_done":[' .. table.concat(effects_done, ',') .. ']' or ''
  return string.sub(body, 1, -2) .. ',"keys":[' .. table.concat(keys, ',') .. '],"rows":' .. #keys .. more .. '}'
end

-- `effect_key`: the Idempotency-Key under which the row's effect succeeded; empty if it did not.
local function add_effect(effects_done, key, effect_key)
  if effect_key and effect_key ~= '' then effects_done[#effects_done + 1] = '[' .. key .. ',' .. cjson.encode(effect_key) .. ']' end
end
