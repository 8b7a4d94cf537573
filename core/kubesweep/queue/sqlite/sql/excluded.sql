-- name: known
SELECT key, attempts
FROM excluded_row
WHERE schedule = :schedule AND key IN (SELECT value FROM json_each(:keys));

-- name: put
INSERT INTO excluded_row (schedule, key, sweep, dead, error, message, at, attempts)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (schedule, key) DO UPDATE
SET sweep = excluded.sweep, dead = excluded.dead, error = excluded.error, message = excluded.message,
    at = excluded.at, attempts = excluded.attempts;

-- name: remove
DELETE FROM excluded_row
WHERE schedule = ? AND key = ?;

-- name: keys
SELECT key
FROM excluded_row
WHERE schedule = :schedule;

-- name: counts
SELECT count(*) AS excluded, coalesce(sum(dead), 0) AS dead
FROM excluded_row
WHERE schedule = :schedule;

-- name: sizes
SELECT substr(key, 1, instr(key, '[') - 1) AS origin, count(*)
FROM excluded_row
WHERE schedule = :schedule
GROUP BY origin;

-- name: worst
SELECT error, min(key)
FROM excluded_row
WHERE schedule = :schedule AND (:origin = '' OR substr(key, 1, instr(key, '[') - 1) IN ('', :origin))
GROUP BY error
ORDER BY count(*) DESC, error
LIMIT 1;

-- name: expired
SELECT key, sweep
FROM excluded_row
WHERE schedule = :schedule AND dead = 1 AND at < :before
ORDER BY at
LIMIT :most;

-- name: select
SELECT key, sweep, attempts
FROM excluded_row
WHERE schedule = :schedule AND (:dead IS NULL OR dead = :dead)
  AND (:error IS NULL OR error = :error)
  AND (:keys IS NULL OR substr(key, instr(key, '[')) IN (SELECT value FROM json_each(:keys)))
ORDER BY sweep, substr(key, 1, instr(key, '[')), at, key;

-- name: dead_letters
SELECT key, error, message, at, sweep, attempts
FROM excluded_row
WHERE schedule = :schedule AND (:dead IS NULL OR dead = :dead)
  AND (:error IS NULL OR error = :error)
  AND (:keys IS NULL OR substr(key, instr(key, '[')) IN (SELECT value FROM json_each(:keys)))
ORDER BY at DESC, key
LIMIT :most;

-- name: revive
UPDATE excluded_row
SET dead = 0
WHERE schedule = ? AND key = ?;

-- name: groups
SELECT g.error, substr(g.key, 1, instr(g.key, '[') - 1) AS origin, count(*) AS died, min(g.at) AS first,
       max(g.at) AS last,
       (SELECT h.message FROM excluded_row AS h WHERE h.schedule = :schedule AND (:dead IS NULL OR h.dead = :dead) AND h.error = g.error
          AND substr(h.key, 1, instr(h.key, '[') - 1) = substr(g.key, 1, instr(g.key, '[') - 1)
        ORDER BY h.at DESC, h.key LIMIT 1) AS message
FROM excluded_row AS g
WHERE g.schedule = :schedule AND (:dead IS NULL OR g.dead = :dead)
GROUP BY g.error, origin
ORDER BY died DESC, g.error, origin
LIMIT :most;

-- name: samples
SELECT key
FROM excluded_row
WHERE schedule = :schedule AND (:dead IS NULL OR dead = :dead) AND error = :error AND substr(key, 1, instr(key, '[') - 1) = :origin
ORDER BY at DESC, key
LIMIT 3;
