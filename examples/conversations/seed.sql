-- Sample conversations. Of every 10: 2 expired, 3 idle, 3 active, 2 closed before.
-- Settings (PGOPTIONS='-c seed.rows=20000 -c seed.numbers=500'):
--   seed.rows     how many conversations, default 2000
--   seed.numbers  how many phone numbers they share; default one each, as schema-from-number.sql requires
WITH setting AS (
    SELECT coalesce(current_setting('seed.rows', true), '2000')::bigint AS rows,
           coalesce(current_setting('seed.numbers', true), current_setting('seed.rows', true), '2000')::bigint AS numbers
)
INSERT INTO conversations (session_key, from_number, status, created_at, updated_at, expires_at, closed_at)
SELECT 'session-' || md5(n::text),
       '+55119' || lpad((n % numbers)::text, 8, '0'),
       CASE WHEN n % 10 >= 8 THEN 'closed' WHEN n % 2 = 0 THEN 'pending' ELSE 'progress' END,
       now() - interval '2 days',
       CASE WHEN n % 10 BETWEEN 5 AND 7 THEN now() ELSE now() - interval '2 hours' END,
       CASE WHEN n % 10 IN (0, 1, 8) THEN now() - interval '1 hour' ELSE now() + interval '1 day' END,
       CASE WHEN n % 10 >= 8 THEN now() - interval '1 day' END
FROM setting, generate_series(1, rows) AS n;

ANALYZE conversations;
