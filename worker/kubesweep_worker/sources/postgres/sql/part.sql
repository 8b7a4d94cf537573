WITH RECURSIVE below AS (
  SELECT $1::bigint::oid AS relid
  UNION
  SELECT i.inhrelid FROM below JOIN pg_inherits AS i ON i.inhparent = below.relid
), above AS (
  SELECT $1::bigint::oid AS relid
  UNION
  SELECT i.inhparent FROM above JOIN pg_inherits AS i ON i.inhrelid = above.relid
)
SELECT EXISTS (SELECT FROM below WHERE relid = $2::bigint::oid AND relid <> $1::bigint::oid)
  OR EXISTS (SELECT FROM above JOIN pg_class AS c ON c.oid = above.relid WHERE above.relid = $2::bigint::oid AND c.relkind = 'p' AND c.oid <> $1::bigint::oid)
  OR EXISTS (
    SELECT FROM pg_rewrite AS r JOIN pg_depend AS d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
    WHERE r.ev_class = $2::bigint::oid AND d.refclassid = 'pg_class'::regclass AND d.refobjid = $1::bigint::oid)
