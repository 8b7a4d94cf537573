\set id :every * random(0, :rows / :every - 1) + random(1, :every - 1)
BEGIN;
SELECT status, body FROM conversations WHERE id = :id;
UPDATE conversations SET updated_at = now() WHERE id = :id;
COMMIT;
