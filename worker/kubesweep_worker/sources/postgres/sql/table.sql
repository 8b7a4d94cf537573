SELECT c.oid::bigint,
       n.nspname,
       c.relname,
       c.relkind::text,
       CASE
         WHEN c.relkind <> 'p' THEN c.reltuples::bigint
         ELSE (SELECT coalesce(sum(greatest(p.reltuples, 0)), -1)::bigint
               FROM pg_partition_tree(c.oid) AS tree JOIN pg_class AS p ON p.oid = tree.relid WHERE tree.isleaf)
       END,
       CASE WHEN c.relkind = 'p' THEN 0 ELSE pg_relation_size(c.oid) END,
       row_security_active(c.oid),
       has_schema_privilege(n.oid, 'USAGE'),
       current_user::text,
       current_setting('transaction_read_only') = 'on',
       (SELECT array_agg(a.attname::text)
        FROM pg_partitioned_table AS p
        CROSS JOIN unnest(p.partattrs::smallint[]) AS k
        JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = k
        WHERE p.partrelid = c.oid)
FROM pg_class AS c
JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relname = $1::text
  AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
  AND (n.nspname = $2::text OR ($2::text IS NULL AND pg_table_is_visible(c.oid)))
