WITH RECURSIVE tree AS (
  SELECT $1::bigint::oid AS relid
  UNION
  SELECT i.inhrelid FROM tree JOIN pg_inherits AS i ON i.inhparent = tree.relid
), permissive AS (
  SELECT p.polname::text AS name, p.polcmd
  FROM pg_policy AS p
  WHERE p.polrelid = $1::bigint::oid AND p.polpermissive
    AND EXISTS (SELECT FROM unnest(p.polroles) AS r WHERE r = 0 OR pg_has_role(r, 'USAGE'))
)
SELECT CASE WHEN (t.tgtype & 64) <> 0 THEN 'instead' WHEN (t.tgtype & 2) <> 0 THEN 'before' ELSE 'after' END, t.tgname::text
FROM tree
JOIN pg_trigger AS t ON t.tgrelid = tree.relid
WHERE NOT t.tgisinternal AND t.tgenabled IN ('O', 'A') AND (t.tgtype & $2::int) <> 0
  AND ((t.tgtype & 2) = 0 OR (t.tgtype & 1) <> 0)
UNION
SELECT 'rule', r.rulename::text
FROM pg_rewrite AS r
WHERE r.ev_class = $1::bigint::oid AND r.ev_enabled IN ('O', 'A') AND r.ev_type = CASE $3::text WHEN 'w' THEN '2' WHEN 'a' THEN '3' ELSE '4' END
UNION
SELECT 'policy', name FROM permissive WHERE polcmd IN ('*', $3::text::"char")
UNION
SELECT 'lock', name FROM permissive WHERE polcmd IN ('*', 'w')
ORDER BY 1, 2
