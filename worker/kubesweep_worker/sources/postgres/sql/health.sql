-- The signals of source.health, in one row. Sessions of sweeps do not count: they end by themselves.
-- Without pg_read_all_stats (part of pg_monitor) the times of other users' sessions and standbys are NULL.
WITH RECURSIVE locked AS (
  -- What autovacuum workers, the only sessions without a user that take this lock, work on: visible to everyone.
  SELECT l.relation AS oid
  FROM pg_catalog.pg_locks AS l
  JOIN pg_catalog.pg_stat_activity AS a ON a.pid = l.pid
  WHERE l.granted AND l.locktype = 'relation' AND l.mode = 'ShareUpdateExclusiveLock' AND a.usesysid IS NULL
    AND a.datname = pg_catalog.current_database()
), vacuumed AS (
  SELECT oid FROM locked
  UNION
  -- a table's TOAST table, a partition, a child
  SELECT coalesce(i.inhparent, t.oid)
  FROM vacuumed AS v
  LEFT JOIN pg_catalog.pg_inherits AS i ON i.inhrelid = v.oid
  LEFT JOIN pg_catalog.pg_class AS t ON t.reltoastrelid = v.oid
  WHERE coalesce(i.inhparent, t.oid) IS NOT NULL
)
SELECT
  current_user::text,
  pg_catalog.pg_has_role(current_user, 'pg_read_all_stats', 'USAGE'),
  (SELECT count(*) FROM pg_catalog.pg_stat_replication WHERE state IS DISTINCT FROM 'backup')::float8,
  (SELECT max(extract(epoch FROM r.replay_lag))
   FROM pg_catalog.pg_stat_replication AS r
   WHERE r.state IN ('streaming', 'catchup'))::float8,
  (SELECT greatest(0, max(extract(epoch FROM pg_catalog.clock_timestamp() - open.since)))
   FROM (
     SELECT a.xact_start
     FROM pg_catalog.pg_stat_activity AS a
     WHERE (a.backend_xmin IS NOT NULL OR a.backend_xid IS NOT NULL) AND a.datname = pg_catalog.current_database()
       AND a.pid <> pg_catalog.pg_backend_pid() AND a.application_name NOT LIKE 'kubesweep/%'
       -- VACUUM does not hold back other VACUUMs
       AND NOT EXISTS (SELECT FROM pg_catalog.pg_stat_progress_vacuum AS p WHERE p.pid = a.pid)
     UNION ALL
     SELECT x.prepared
     FROM pg_catalog.pg_prepared_xacts AS x
     WHERE x.database = pg_catalog.current_database()
   ) AS open (since))::float8,
  (SELECT count(*)
   FROM pg_catalog.pg_stat_activity AS a
   WHERE a.datname = pg_catalog.current_database() AND a.application_name NOT LIKE 'kubesweep/%'
     AND a.pid IN (SELECT l.pid FROM pg_catalog.pg_locks AS l WHERE NOT l.granted))::float8,
  -- Those that executed something within the last second. One that only keeps a transaction open, or waits for a lock, does not
  -- count. Where track_activities is off, only what a session waits for shows that it executes nothing.
  (SELECT count(*)
   FROM pg_catalog.pg_stat_activity AS a
   WHERE a.datname = pg_catalog.current_database() AND a.backend_type = 'client backend'
     AND a.pid <> pg_catalog.pg_backend_pid() AND a.application_name NOT LIKE 'kubesweep/%'
     AND (a.state_change > pg_catalog.clock_timestamp() - interval '1 second'
       OR (a.state = 'active' AND a.wait_event_type IS DISTINCT FROM 'Lock')
       OR (a.state = 'disabled' AND coalesce(a.wait_event_type, '') NOT IN ('Client', 'Lock'))))::float8,
  (SELECT pg_catalog.string_agg(v.oid::text, ',') FROM vacuumed AS v);
