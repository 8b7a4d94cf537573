-- name: create
INSERT INTO sweep (id, schedule, tick, generation, hash, mode, state, started)
VALUES (:id, :schedule, :tick, :generation, :hash, :mode, :state, :now);

-- name: remembered
SELECT s.id, s.tick, s.generation, s.hash, s.mode, s.state, s.reason, s.message, s.cutoff, s.started, s.finished,
       s.planned, s.applied, s.skipped, s.unconfirmed, s.retrying, s.dead, s.capped, s.samples, s.stopped,
       s.stale, s.oldest, s.unknown, s.estimated, s.approved, s.newest,
       (SELECT count(*) FROM job AS j WHERE j.sweep = s.id AND j.is_retry = 0) AS open_jobs
FROM sweep AS s
WHERE s.schedule = :schedule
ORDER BY s.seq DESC
LIMIT :most;

-- name: by_id
SELECT s.id, s.tick, s.generation, s.hash, s.mode, s.state, s.reason, s.message, s.cutoff, s.started, s.finished,
       s.planned, s.applied, s.skipped, s.unconfirmed, s.retrying, s.dead, s.capped, s.samples, s.stopped,
       s.stale, s.oldest, s.unknown, s.estimated, s.approved, s.newest,
       0 AS open_jobs
FROM sweep AS s
WHERE s.id = :id AND s.schedule = :schedule;

-- name: count
UPDATE sweep
SET planned = planned + :planned,
    applied = applied + :applied,
    skipped = skipped + :skipped,
    unconfirmed = unconfirmed + :unconfirmed,
    retrying = retrying + :retrying,
    dead = dead + :dead
WHERE id = :id;

-- name: cancel_retry
UPDATE sweep
SET retrying = retrying - :rows, skipped = skipped + :rows
WHERE id = :id;

-- name: record_window
UPDATE sweep
SET cutoff = :cutoff, planned = planned + :planned, capped = capped OR :capped, stopped = :stopped, samples = :samples, state = :state
WHERE id = :id;

-- name: record_stale
UPDATE sweep
SET stale = coalesce(:rows, stale), estimated = CASE WHEN :rows IS NULL THEN estimated ELSE :estimated END,
    oldest = :oldest, unknown = :unknown, newest = coalesce(:newest, newest),
    samples = CASE WHEN :samples = '[]' THEN samples ELSE :samples END
WHERE id = :id AND schedule = :schedule;

-- name: set_state
UPDATE sweep
SET state = :state, reason = :reason, message = :message, finished = :finished
WHERE id = :id;

-- name: approve
UPDATE sweep
SET approved = :now
WHERE id = :id;

-- name: set_reason
UPDATE sweep
SET reason = :reason, message = :message
WHERE id = :id AND reason <> 'TooManyFailedRows' AND (:reason <> 'Flood' OR reason IN ('', 'Flood'));

-- name: reason
SELECT reason, message, applied
FROM sweep
WHERE id = :id;

-- name: await_approval
UPDATE sweep
SET cutoff = coalesce(cutoff, :cutoff),
    planned = planned - (
      SELECT coalesce(sum(j.planned), 0) FROM job AS j WHERE j.sweep = :id AND j.is_retry = 0 AND j.consumer IS NULL
    )
WHERE id = :id;

-- name: drop_waiting
DELETE FROM job
WHERE sweep = :id AND is_retry = 0 AND consumer IS NULL;

-- name: add_deaths
INSERT INTO death (sweep, error, died)
VALUES (:sweep, :error, :died)
ON CONFLICT (sweep, error) DO UPDATE SET died = died + excluded.died;

-- name: worst_death
SELECT error, died
FROM death
WHERE sweep = :id
ORDER BY died DESC, error
LIMIT 1;

-- name: prune_deaths
DELETE FROM death
WHERE sweep IN (SELECT id FROM sweep WHERE schedule = :schedule ORDER BY seq DESC LIMIT -1 OFFSET :most);

-- name: prune
DELETE FROM sweep
WHERE seq IN (SELECT seq FROM sweep WHERE schedule = :schedule ORDER BY seq DESC LIMIT -1 OFFSET :most);
