-- name: find
SELECT id, last_tick, paused, excluded_version, tokens, tokens_at, rate, enqueued, duplicate, forbidden, late,
       origin, batch_hint, approved, pace, baseline, blocked, pauses
FROM schedule
WHERE install = :install AND namespace = :namespace AND name = :name AND uid = :uid;

-- name: find_id
SELECT id
FROM schedule
WHERE install = :install AND namespace = :namespace AND name = :name AND uid = :uid;

-- name: create
INSERT INTO schedule (install, namespace, name, uid)
VALUES (:install, :namespace, :name, :uid)
ON CONFLICT DO NOTHING;

-- name: names
SELECT install, namespace, name, uid
FROM schedule;

-- name: count_tick
UPDATE schedule
SET last_tick = CASE WHEN :answer = 'duplicate' THEN last_tick ELSE :tick END,
    enqueued = enqueued + (:answer = 'enqueued'),
    duplicate = duplicate + (:answer = 'duplicate'),
    forbidden = forbidden + (:answer = 'forbidden'),
    late = late + (:answer = 'late')
WHERE id = :schedule;

-- name: pause
UPDATE schedule
SET paused = :paused, pauses = :pauses
WHERE id = :schedule;

-- name: set_pace
UPDATE schedule
SET pace = :pace
WHERE id = :schedule;

-- name: approve
UPDATE schedule
SET approved = :sweep
WHERE id = :schedule;

-- name: set_blocked
UPDATE schedule
SET blocked = :blocked
WHERE id = :schedule;

-- name: set_batch_hint
UPDATE schedule
SET batch_hint = :batch_hint
WHERE id = :schedule;

-- name: set_budget
UPDATE schedule
SET tokens = :tokens, tokens_at = :now, rate = :rate
WHERE id = :schedule;

-- name: set_origin
UPDATE schedule
SET origin = :origin
WHERE id = :schedule;

-- name: set_baseline
UPDATE schedule
SET baseline = :baseline
WHERE id = :schedule;

-- name: touch_excluded
UPDATE schedule
SET excluded_version = excluded_version + 1
WHERE id = :schedule;

-- name: put_finding
INSERT INTO finding (schedule, kind, at, body)
VALUES (:schedule, :kind, :at, :body)
ON CONFLICT (schedule, kind) DO UPDATE SET at = excluded.at, body = excluded.body;

-- name: trim_findings
DELETE FROM finding
WHERE schedule = :schedule
  AND kind IN (
    SELECT kind FROM finding WHERE schedule = :schedule ORDER BY kind = :kind DESC, at DESC, kind LIMIT -1 OFFSET :most
  );

-- name: findings
SELECT body
FROM finding
WHERE schedule = :schedule
ORDER BY kind;

-- name: forget_deaths
DELETE FROM death
WHERE sweep IN (SELECT id FROM sweep WHERE schedule = :schedule);

-- name: forget_sweeps
DELETE FROM sweep
WHERE schedule = :schedule;

-- name: forget_jobs
DELETE FROM job
WHERE schedule = :schedule;

-- name: forget_excluded
DELETE FROM excluded_row
WHERE schedule = :schedule;

-- name: forget_findings
DELETE FROM finding
WHERE schedule = :schedule;

-- name: forget_schedule
DELETE FROM schedule
WHERE id = :schedule;
