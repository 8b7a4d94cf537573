-- The rows whose id is a multiple of ``every`` are stale. The application's rows are all others, on the same pages.
INSERT INTO conversations
SELECT n, 'session-' || n, '+55119' || lpad((n %% 100000)::text, 8, '0'),
       CASE WHEN n %% %(every)s <> 0 THEN 'closed' WHEN n %% 2 = 0 THEN 'pending' ELSE 'progress' END,
       now() - interval '2 hours', now() - interval '1 hour', NULL, repeat('x', 100)
FROM generate_series(1, %(rows)s::bigint) AS n
