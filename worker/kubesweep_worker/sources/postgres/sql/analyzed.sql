-- Whether every part of the table has statistics, or is empty.
WITH RECURSIVE tree AS (
  SELECT $1::bigint::oid AS relid
  UNION
  SELECT i.inhrelid FROM tree JOIN pg_inherits AS i ON i.inhparent = tree.relid
)
SELECT bool_and(c.reltuples > 0 OR pg_relation_size(c.oid) = 0)
FROM tree
JOIN pg_class AS c ON c.oid = tree.relid
WHERE c.relkind <> 'p'
