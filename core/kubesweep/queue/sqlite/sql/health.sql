-- name: take_turn
-- A turn that ends later than any turn can was taken before the clock was set back.
INSERT INTO health (prefix, consumer, until)
VALUES (:prefix, :consumer, :until)
ON CONFLICT (prefix) DO UPDATE
SET consumer = excluded.consumer, until = excluded.until
WHERE consumer = excluded.consumer OR until <= :now OR until > :most;

-- name: store
UPDATE health
SET sample = :sample, at = :now
WHERE prefix = :prefix;

-- name: find
SELECT consumer, sample, at
FROM health
WHERE prefix = :prefix;
