WITH RECURSIVE base AS (
  SELECT a.attname, a.attnum, a.attnotnull, a.attgenerated, a.attidentity, a.atttypid, a.atttypmod, t.oid AS typ, t.typtype, t.typbasetype, 0 AS depth
  FROM pg_attribute AS a
  JOIN pg_type AS t ON t.oid = a.atttypid
  WHERE a.attrelid = $1::bigint::oid AND a.attnum > 0 AND NOT a.attisdropped
  UNION ALL
  SELECT b.attname, b.attnum, b.attnotnull, b.attgenerated, b.attidentity, b.atttypid, b.atttypmod, t.oid, t.typtype, t.typbasetype, b.depth + 1
  FROM base AS b
  JOIN pg_type AS t ON t.oid = b.typbasetype
  WHERE b.typtype = 'd'
)
SELECT b.attname,
       format_type(b.typ, -1),
       b.attnotnull,
       b.attgenerated <> '',
       b.attidentity = 'a',
       CASE WHEN b.typtype = 'e' THEN (SELECT array_agg(e.enumlabel::text ORDER BY e.enumsortorder) FROM pg_enum AS e WHERE e.enumtypid = b.typ) END,
       format_type(b.atttypid, b.atttypmod),
       has_column_privilege($1::bigint::oid, b.attnum, 'SELECT'),
       has_column_privilege($1::bigint::oid, b.attnum, 'UPDATE'),
       has_column_privilege($1::bigint::oid, b.attnum, 'INSERT')
FROM base AS b
WHERE b.typtype <> 'd'
ORDER BY b.attnum
