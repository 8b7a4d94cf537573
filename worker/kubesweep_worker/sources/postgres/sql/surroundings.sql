SELECT 'trigger', t.tgname::text, ''
FROM pg_trigger AS t
WHERE t.tgrelid = $1::bigint::oid AND NOT t.tgisinternal AND t.tgenabled IN ('O', 'A')
  AND (t.tgtype & $2::int) <> 0
UNION ALL
SELECT 'foreign key', f.conname::text, f.conrelid::regclass::text
FROM pg_constraint AS f
WHERE f.contype = 'f' AND f.confrelid = $1::bigint::oid AND f.conparentid = 0
  AND to_jsonb(f) ->> 'conenforced' IS DISTINCT FROM 'false' -- from PostgreSQL 18 on
  AND NOT EXISTS (
    SELECT FROM pg_index AS i
    WHERE i.indrelid = f.conrelid AND i.indisvalid
      -- A partial index serves where it leaves out nothing but NULL.
      AND (i.indpred IS NULL OR (cardinality(f.conkey) = 1 AND pg_get_expr(i.indpred, i.indrelid) = (
        SELECT format('(%I IS NOT NULL)', a.attname) FROM pg_attribute AS a WHERE a.attrelid = f.conrelid AND a.attnum = f.conkey[1])))
      AND (SELECT array_agg(k ORDER BY k) FROM unnest((i.indkey::smallint[])[0:cardinality(f.conkey) - 1]) AS k)
        = (SELECT array_agg(k ORDER BY k) FROM unnest(f.conkey) AS k))
UNION ALL
SELECT 'heir', i.inhrelid::regclass::text, ''
FROM pg_inherits AS i
JOIN pg_class AS c ON c.oid = i.inhparent
WHERE i.inhparent = $1::bigint::oid AND c.relkind = 'r'
UNION ALL
SELECT 'heir column', a.attname::text, i.inhrelid::regclass::text
FROM pg_inherits AS i
JOIN pg_class AS c ON c.oid = i.inhparent
JOIN pg_attribute AS a ON a.attrelid = i.inhrelid AND a.attnum > 0 AND NOT a.attisdropped AND a.attinhcount = 0
WHERE i.inhparent = $1::bigint::oid AND c.relkind = 'r'
UNION ALL
SELECT 'privilege', p, ''
FROM unnest(ARRAY['SELECT', 'UPDATE', 'DELETE', 'INSERT']) AS p
WHERE has_table_privilege($1::bigint::oid, p)
ORDER BY 1, 2
