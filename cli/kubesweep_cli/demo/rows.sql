-- The same :rows conversations every time, around the moment :now ('YYYY-MM-DD HH:MM:SS', UTC).
-- Of twenty: seven expired, seven idle, four live, two closed long ago; mixed, as a real table is.
WITH RECURSIVE
    number(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < :rows),
    mixed AS (SELECT n, (n * 7919) % 20 AS kind, (n * 104729) % 86400 AS age FROM number)
INSERT INTO conversations
SELECT
    n,
    printf('%08x-%04x', (n * 2654435761) % 4294967296, n % 65536),
    printf('+5511%09d', 900000000 + n),
    CASE n % 3 WHEN 0 THEN 'whatsapp' WHEN 1 THEN 'sms' ELSE 'web' END,
    CASE WHEN kind >= 18 THEN 'closed' WHEN n % 2 = 0 THEN 'pending' ELSE 'progress' END,
    CASE n % 4 WHEN 0 THEN 'Is anybody there?' WHEN 1 THEN 'Thank you!' WHEN 2 THEN 'One moment please.' ELSE '?' END,
    datetime(:now, '-2 days', '-' || age || ' seconds'),
    CASE
        WHEN kind BETWEEN 7 AND 13 THEN datetime(:now, '-1 hour', '-' || age || ' seconds')
        WHEN kind >= 18 THEN datetime(:now, '-1 day', '-' || age || ' seconds')
        ELSE datetime(:now, '-' || (age % 300) || ' seconds')
    END,
    CASE
        WHEN kind < 7 THEN datetime(:now, '-1 minutes', '-' || age || ' seconds')
        ELSE datetime(:now, '+1 day', '+' || age || ' seconds')
    END,
    CASE WHEN kind >= 18 THEN datetime(:now, '-1 day') END
FROM mixed;

