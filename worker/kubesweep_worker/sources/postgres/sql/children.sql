WITH RECURSIVE child AS (
  SELECT f.oid, f.conname, f.conrelid, f.confrelid, f.confdeltype, f.conkey, f.confkey, 1 AS depth
  FROM pg_constraint AS f
  WHERE f.contype = 'f' AND f.confrelid = $1::bigint::oid AND f.conparentid = 0
    AND to_jsonb(f) ->> 'conenforced' IS DISTINCT FROM 'false' -- from PostgreSQL 18 on
  UNION
  SELECT f.oid, f.conname, f.conrelid, f.confrelid, f.confdeltype, f.conkey, f.confkey, child.depth + 1
  FROM child
  JOIN pg_constraint AS f ON f.contype = 'f' AND f.confrelid = child.conrelid AND f.conparentid = 0
    AND to_jsonb(f) ->> 'conenforced' IS DISTINCT FROM 'false'
  WHERE child.confdeltype = 'c' AND child.depth < 8
)
SELECT conname::text,
       conrelid::regclass::text,
       min(depth),
       CASE confdeltype WHEN 'c' THEN 'CASCADE' WHEN 'n' THEN 'SET NULL' WHEN 'd' THEN 'SET DEFAULT' WHEN 'r' THEN 'RESTRICT' ELSE 'NO ACTION' END,
       (SELECT array_agg(quote_ident(a.attname) ORDER BY k.place)
        FROM unnest(conkey) WITH ORDINALITY AS k(attnum, place) JOIN pg_attribute AS a ON a.attrelid = conrelid AND a.attnum = k.attnum),
       (SELECT array_agg(quote_ident(a.attname) ORDER BY k.place)
        FROM unnest(confkey) WITH ORDINALITY AS k(attnum, place) JOIN pg_attribute AS a ON a.attrelid = confrelid AND a.attnum = k.attnum)
FROM child
GROUP BY oid, conname, conrelid, confrelid, confdeltype, conkey, confkey
ORDER BY 3, 2, 1
