INSERT INTO conversations
SELECT n, 'session-' || n, '+55119' || lpad((n %% 100000)::text, 8, '0'),
       CASE WHEN stale THEN CASE WHEN n %% 2 = 0 THEN 'pending' ELSE 'progress' END ELSE 'closed' END,
       now() - interval '2 hours', now() - interval '1 hour', NULL, repeat('x', 100)
FROM (
    SELECT n, (hashint8(n)::bigint & 2147483647) %% 1000000 < %(per_million)s AS stale
    FROM generate_series(1, %(rows)s::bigint) AS n
) AS drawn
