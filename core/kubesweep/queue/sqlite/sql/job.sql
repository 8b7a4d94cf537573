-- name: enqueue
INSERT INTO job (schedule, sweep, is_retry, planned, delayed, ready, body)
VALUES (?, ?, ?, ?, ?, ?, ?);

-- name: cap_leases
UPDATE job
SET lease = :now + :lease
WHERE schedule = :schedule AND consumer IS NOT NULL AND lease > :now + :longest;

-- name: owned
SELECT id, consumer, deliveries, sweep, is_retry, body
FROM job
WHERE schedule = :schedule AND consumer IS NOT NULL AND id IN (SELECT value FROM json_each(:ids));

-- name: delete
DELETE FROM job
WHERE id = ?;

-- name: replace
UPDATE job
SET body = ?, planned = ?, lease = ?
WHERE id = ?;

-- name: extend
UPDATE job
SET lease = ?
WHERE id = ?;

-- name: release
INSERT INTO job (schedule, sweep, is_retry, planned, delayed, ready, deliveries, body)
SELECT schedule, sweep, is_retry, ?, is_retry AND ?, ?, deliveries - 1, ?
FROM job
WHERE id = ?;

-- name: postpone
UPDATE job
SET consumer = NULL, lease = NULL, deliveries = deliveries - 1, delayed = 1, ready = ?, body = ?, planned = ?
WHERE id = ?;

-- name: drop_expired
DELETE FROM job
WHERE schedule = :schedule AND consumer IS NOT NULL AND lease <= :now AND is_retry = 0 AND sweep <> ''
  AND NOT EXISTS (SELECT 1 FROM sweep AS s WHERE s.id = job.sweep AND s.state IN ('Planning', 'Running', 'AwaitingApproval'));

-- name: block_waiting
UPDATE job
SET delayed = 1
WHERE schedule = :schedule AND is_retry = 1 AND consumer IS NULL;

-- name: block_expired
UPDATE job
SET consumer = NULL, delayed = 1, ready = lease, lease = NULL
WHERE schedule = :schedule AND is_retry = 1 AND consumer IS NOT NULL AND lease <= :now;

-- name: candidates
SELECT id, delivery, body, ready
FROM (
  SELECT * FROM (
    SELECT 0 AS place, lease AS since, id, deliveries + 1 AS delivery, body, lease AS ready
    FROM job
    WHERE schedule = :schedule AND consumer IS NOT NULL AND lease <= :now AND (consumer = :consumer OR NOT :own_expired_only)
    ORDER BY lease
    LIMIT :want
  )
  UNION ALL
  SELECT * FROM (
    SELECT 1, ready, id, deliveries + 1, body, ready
    FROM job
    WHERE schedule = :schedule AND consumer IS NULL AND delayed = 1 AND ready <= :now AND NOT (is_retry AND :blocked)
    ORDER BY ready
    LIMIT :want
  )
  UNION ALL
  SELECT * FROM (
    SELECT 2, 0, id, deliveries + 1, body, ready
    FROM job
    WHERE schedule = :schedule AND consumer IS NULL AND delayed = 0
    ORDER BY id
    LIMIT :want
  )
)
ORDER BY place, since, id
LIMIT :want;

-- name: take
UPDATE job
SET consumer = ?, lease = ?, deliveries = ?, delayed = 0
WHERE id = ?;

-- name: leased_until
SELECT max(j.lease)
FROM job AS j
WHERE j.schedule = :schedule AND j.consumer IS NOT NULL AND j.lease > :now AND j.is_retry = 0 AND j.sweep <> ''
  AND NOT EXISTS (SELECT 1 FROM sweep AS s WHERE s.id = j.sweep AND s.state IN ('Planning', 'Running', 'AwaitingApproval'));

-- name: unplanned
SELECT j.id, j.ready
FROM sweep AS s
JOIN job AS j ON j.sweep = s.id AND j.is_retry = 0
WHERE s.schedule = :schedule AND s.state = 'Planning' AND s.cutoff IS NULL AND j.consumer IS NULL AND j.delayed = 1;

-- name: set_ready
UPDATE job
SET ready = ?
WHERE id = ?;

-- name: idle_retries
SELECT id, sweep, body, delayed, ready
FROM job
WHERE schedule = :schedule AND is_retry = 1 AND consumer IS NULL;

-- name: narrow
INSERT INTO job (schedule, sweep, is_retry, planned, delayed, ready, deliveries, body)
SELECT schedule, sweep, is_retry, ?, delayed, ready, deliveries, ?
FROM job
WHERE id = ?;

-- name: next_delayed
SELECT min(ready)
FROM job
WHERE schedule = :schedule AND consumer IS NULL AND delayed = 1 AND NOT (is_retry AND :blocked);

-- name: next_lease
SELECT min(lease)
FROM job
WHERE schedule = :schedule AND consumer IS NOT NULL;

-- name: any_waiting
SELECT 1
FROM job
WHERE schedule = :schedule AND consumer IS NULL AND delayed = 0
LIMIT 1;

-- name: any_planned
SELECT 1
FROM job
WHERE sweep = :id AND is_retry = 0
LIMIT 1;

-- name: counts
SELECT coalesce(sum(consumer IS NULL AND (delayed = 0 OR (ready <= :now AND NOT (is_retry AND :blocked)))), 0) AS ready,
       coalesce(sum(consumer IS NOT NULL), 0) AS running,
       coalesce(sum(consumer IS NULL AND delayed = 1 AND (ready > :now OR (is_retry AND :blocked))), 0) AS later,
       min(CASE WHEN consumer IS NULL AND ready <= :now AND delayed = 1 AND NOT (is_retry AND :blocked) THEN ready END) AS oldest_due,
       (SELECT w.ready FROM job AS w WHERE w.schedule = :schedule AND w.consumer IS NULL AND w.delayed = 0
        ORDER BY w.id LIMIT 1) AS first_waiting,
       min(CASE WHEN consumer IS NOT NULL THEN lease END) AS first_lease,
       coalesce(sum(consumer IS NULL AND sweep = '' AND is_retry = 0), 0) AS checks
FROM job
WHERE schedule = :schedule;

-- name: of_no_sweep
SELECT body
FROM job
WHERE schedule = :schedule AND sweep = '' AND is_retry = 0;
