-- name: 2
ALTER TABLE schedule ADD COLUMN origin TEXT NOT NULL DEFAULT '';

-- name: 3
ALTER TABLE schedule ADD COLUMN learnt TEXT NOT NULL DEFAULT '';

-- name: 4
ALTER TABLE sweep ADD COLUMN stopped TEXT NOT NULL DEFAULT '';

-- name: 5
ALTER TABLE schedule ADD COLUMN approved TEXT NOT NULL DEFAULT '';

-- name: 6
ALTER TABLE schedule RENAME COLUMN learnt TO batch_hint;
ALTER TABLE schedule RENAME COLUMN held_version TO excluded_version;
ALTER TABLE sweep RENAME COLUMN held TO retrying;
ALTER TABLE job RENAME COLUMN held TO is_retry;
ALTER TABLE held RENAME TO excluded_row;
UPDATE sweep SET state = 'AwaitingApproval' WHERE state = 'Held';
-- texts in a key cannot match: their quotes are escaped
UPDATE job
SET body = CAST(replace(replace(replace(replace(replace(CAST(body AS TEXT),
  '"held":', '"is_retry":'), '"told":', '"effects_done":'), '"begun":', '"crashes":'),
  '"maybe":', '"may_have_committed":'), '"setbacks":', '"whole_failures":') AS BLOB);
UPDATE excluded_row SET attempts = CAST(replace(CAST(attempts AS TEXT), '"told":', '"effect_key":') AS BLOB);

-- name: 7
ALTER TABLE schedule ADD COLUMN pace BLOB NOT NULL DEFAULT x'';

-- name: 8
CREATE TABLE health (
  -- the namespace and the database, as ScheduleRef.database writes them
  prefix TEXT PRIMARY KEY,
  -- who measures, and until when nobody else does
  consumer TEXT NOT NULL,
  until REAL NOT NULL,
  -- JSON of Sample, and when it was stored
  sample BLOB NOT NULL DEFAULT x'',
  at REAL NOT NULL DEFAULT 0
) WITHOUT ROWID;

-- name: 9
ALTER TABLE sweep ADD COLUMN stale INTEGER;
ALTER TABLE sweep ADD COLUMN oldest REAL;
ALTER TABLE sweep ADD COLUMN unknown TEXT NOT NULL DEFAULT '';
ALTER TABLE sweep ADD COLUMN estimated INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sweep ADD COLUMN approved REAL;

-- name: 10
ALTER TABLE schedule ADD COLUMN baseline BLOB NOT NULL DEFAULT x'';
ALTER TABLE sweep ADD COLUMN newest REAL;

-- name: 11
ALTER TABLE schedule ADD COLUMN blocked INTEGER NOT NULL DEFAULT 0;
ALTER TABLE schedule ADD COLUMN pauses TEXT NOT NULL DEFAULT '';
UPDATE schedule SET blocked = 1 WHERE id IN (SELECT schedule FROM sweep WHERE state = 'AwaitingApproval');
UPDATE job SET delayed = 1
WHERE is_retry = 1 AND consumer IS NULL AND schedule IN (SELECT id FROM schedule WHERE blocked = 1);

-- name: 12
DROP TABLE IF EXISTS checked;
