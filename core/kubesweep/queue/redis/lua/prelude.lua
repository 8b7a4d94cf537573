-- Stands before every move. KEYS are all keys of one schedule, always in this order; ARGV[1] is a MessagePack map.
-- Invariants: an entry of WORK is waiting (behind the cursor `cur`, not in LEASES) or running (in LEASES and in the
-- group's pending list under its owner and its delivery count); who finishes it acknowledges and deletes in one script,
-- so XLEN is always waiting + running. LEASES carries the deadlines, because the group's idle times know only the
-- server's clock and nothing else than a scan finds the expired ones. Times are text with 17 digits: cjson keeps 14.
local META, WORK, SWEEPS, LEASES, REST, DELAYED, EXCLUDED, DEAD, FINDINGS, EARLY, WAKE, MARKER = unpack(KEYS)
-- What a person decided: `paused`, and `approved`, the id of the sweep that was let go. Only the controller's user (or a
-- person's) may write it. It is none of KEYS, because a server takes every key that EVAL names for one that is written, and
-- lies outside of the prefix that the users of a namespace may write, under the same hash tag.
local CONTROL = 'control:' .. string.sub(META, 1, -#':meta' - 1)
local GROUP, CHUNK = 'w', 1000
local call = redis.call
local args = cmsgpack.unpack(ARGV[1])
local removed = false  -- this move may have ended claims
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

-- A key that this move may have made gets an end; one that has an end keeps it.
local function keep(key) call('PEXPIRE', key, lifetime(), 'NX') end

-- KEDA asks for the lengths of two streams, so that its user needs no script: WORK, and MARKER, which has one entry while
-- DELAYED has any. XADD with MAXLEN 0 leaves none.
local function mark()
  local waits = call('ZCARD', DELAYED) > 0
  if waits == (call('XLEN', MARKER) > 0) then return end
  call('XADD', MARKER, 'MAXLEN', waits and 1 or 0, '*', 'd', 1)
  keep(MARKER)
end

local function refresh()
  mark() -- somebody may have deleted one of the two
  for _, key in ipairs(KEYS) do
    if key ~= WAKE then call('PEXPIRE', key, lifetime()) end
  end
end

-- Blocking reads see new entries of WORK by themselves; this tells them of all else.
local function wake()
  call('XADD', WAKE, 'MAXLEN', 1, '*', 'w', 1)
  call('PEXPIRE', WAKE, 60000)
end

-- Tells the rows of one retry job from those of another: a row leaves the excluded set only with the job it is in.
local function new_token() return tostring(call('HINCRBY', META, 'token', 1)) end

local function excluded_changed() call('HINCRBY', META, 'excluded', 1) end

-- An entry is (h, b): b the job, h what the queue itself must know of it without reading the job:
-- sweep, p(lanned) h (retry) or n(one), crashes so far, rows, since when it is ready, which excluded rows are its own.
local function header(sweep, kind, crashes, rows, since, token)
  return table.concat({sweep == '' and '-' or sweep, kind, crashes, rows, text(since), token or '-'}, ' ')
end

local function parse_start(h)
  local sweep, kind, crashes = string.match(h, '^(%S+) (%a) (%d+)')
  if sweep == '-' then sweep = '' end
  return sweep, kind, tonumber(crashes)
end

local function parse(h)
  local sweep, kind, crashes, rows, since, token = string.match(h, '^(%S+) (%a) (%d+) (%d+) (%S+) (%S+)$')
  if sweep == '-' then sweep = '' end
  return sweep, kind, tonumber(crashes), tonumber(rows), tonumber(since), token
end

-- An excluded row's name is its origin and its key's text: excluded.row_text.
local function parse_row(name) return string.match(name, '^([^%[]*)(%[.*)$') end

local function add(h, body) return call('XADD', WORK, 'NOMKSTREAM', '*', 'h', h, 'b', body) end

local function delay(due, h, body)
  local first = call('ZRANGE', DELAYED, 0, 0, 'WITHSCORES')[2]
  call('ZADD', DELAYED, due, h .. '\n' .. body)
  keep(DELAYED)
  if not first then mark() end
  if not first or due < tonumber(first) then wake() end
end

local function undelay(member)
  local gone = call('ZREM', DELAYED, member) == 1
  if gone then mark() end
  return gone
end

-- The job of rows that are tried again, from a body without keys. A key's text is JSON already.
local function with_keys(body, keys, effects_done)
  local more = #effects_done > 0 and ',"effects_done":[' .. table.concat(effects_done, ',') .. ']' or ''
  return string.sub(body, 1, -2) .. ',"keys":[' .. table.concat(keys, ',') .. '],"rows":' .. #keys .. more .. '}'
end

-- `stamp`: the Idempotency-Key under which the row's effect succeeded, if it did.
local function add_effect(effects_done, key, stamp)
  if stamp and stamp ~= '' then effects_done[#effects_done + 1] = '[' .. key .. ',' .. cjson.encode(stamp) .. ']' end
end
