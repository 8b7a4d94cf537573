WITH RECURSIVE tree AS (
  SELECT $1::bigint::oid AS relid
  UNION
  SELECT i.inhrelid FROM tree JOIN pg_inherits AS i ON i.inhparent = tree.relid
)
SELECT format('ALTER TABLE %s REPLICA IDENTITY %s', c.oid::regclass, coalesce((
         SELECT 'USING INDEX ' || quote_ident(x.relname)
         FROM pg_index AS i
         JOIN pg_class AS x ON x.oid = i.indexrelid
         WHERE i.indrelid = c.oid AND i.indisunique AND i.indimmediate AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL
           AND NOT EXISTS (
             SELECT FROM pg_attribute AS a
             WHERE a.attrelid = c.oid AND a.attnum = ANY (i.indkey::smallint[]) AND NOT a.attnotnull)
         ORDER BY i.indnkeyatts, x.relname
         LIMIT 1), 'FULL'))
FROM tree
JOIN pg_class AS c ON c.oid = tree.relid
JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind = 'r'
  AND (c.relreplident = 'n'
    OR (c.relreplident = 'd' AND NOT EXISTS (SELECT FROM pg_index AS i WHERE i.indrelid = c.oid AND i.indisprimary))
    OR (c.relreplident = 'i' AND NOT EXISTS (SELECT FROM pg_index AS i WHERE i.indrelid = c.oid AND i.indisreplident)))
  AND EXISTS (
    SELECT FROM pg_publication AS p
    JOIN pg_publication_tables AS v ON v.pubname = p.pubname
    WHERE CASE WHEN $2::boolean THEN p.pubdelete ELSE p.pubupdate END
      AND (v.schemaname, v.tablename) IN (
        SELECT n.nspname, c.relname
        UNION ALL
        SELECT an.nspname, ac.relname
        FROM pg_partition_ancestors(c.oid) AS a(relid)
        JOIN pg_class AS ac ON ac.oid = a.relid
        JOIN pg_namespace AS an ON an.oid = ac.relnamespace))
ORDER BY c.oid
