CREATE TABLE schedule (
  id INTEGER PRIMARY KEY,
  install TEXT NOT NULL,
  namespace TEXT NOT NULL,
  name TEXT NOT NULL,
  uid TEXT NOT NULL,
  last_tick REAL,
  paused INTEGER NOT NULL DEFAULT 0,
  approved TEXT NOT NULL DEFAULT '',
  excluded_version INTEGER NOT NULL DEFAULT 0,
  -- the row budget: tokens as of tokens_at, refilled by rate a second; NULL tokens: full
  tokens REAL,
  tokens_at REAL NOT NULL DEFAULT 0,
  rate REAL,
  enqueued INTEGER NOT NULL DEFAULT 0,
  duplicate INTEGER NOT NULL DEFAULT 0,
  forbidden INTEGER NOT NULL DEFAULT 0,
  late INTEGER NOT NULL DEFAULT 0,
  -- the origin of the rows that were planned last
  origin TEXT NOT NULL DEFAULT '',
  -- set by workers, see Settlement
  batch_hint TEXT NOT NULL DEFAULT '',
  -- JSON of Pace, set by operators
  pace BLOB NOT NULL DEFAULT x'',
  -- JSON of Baseline, of the sweep that was planned last
  baseline BLOB NOT NULL DEFAULT x'',
  -- whether retries are kept from workers, see Stats.retries_blocked
  blocked INTEGER NOT NULL DEFAULT 0,
  -- when it was paused, see pauses.py
  pauses TEXT NOT NULL DEFAULT '',
  UNIQUE (install, namespace, name, uid)
);

CREATE TABLE sweep (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  schedule INTEGER NOT NULL,
  tick REAL NOT NULL,
  generation INTEGER NOT NULL,
  hash TEXT NOT NULL,
  mode TEXT NOT NULL,
  state TEXT NOT NULL,
  reason TEXT NOT NULL DEFAULT '',
  message TEXT NOT NULL DEFAULT '',
  cutoff TEXT,
  started REAL NOT NULL,
  finished REAL,
  planned INTEGER NOT NULL DEFAULT 0,
  applied INTEGER NOT NULL DEFAULT 0,
  skipped INTEGER NOT NULL DEFAULT 0,
  unconfirmed INTEGER NOT NULL DEFAULT 0,
  retrying INTEGER NOT NULL DEFAULT 0,
  dead INTEGER NOT NULL DEFAULT 0,
  capped INTEGER NOT NULL DEFAULT 0,
  samples TEXT NOT NULL DEFAULT '[]',
  -- where the sweep after a capped one begins
  stopped TEXT NOT NULL DEFAULT '',
  -- what plan steps found out, see StaleRows
  stale INTEGER,
  oldest REAL,
  unknown TEXT NOT NULL DEFAULT '',
  -- whether "stale" is an estimate
  estimated INTEGER NOT NULL DEFAULT 0,
  -- when a person approved it
  approved REAL,
  newest REAL
);

CREATE INDEX sweep_schedule ON sweep (schedule, seq);

-- dead rows of a sweep by error class, for detecting a flood
CREATE TABLE death (
  sweep TEXT NOT NULL,
  error TEXT NOT NULL,
  died INTEGER NOT NULL,
  PRIMARY KEY (sweep, error)
) WITHOUT ROWID;

CREATE TABLE job (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  schedule INTEGER NOT NULL,
  sweep TEXT NOT NULL,
  is_retry INTEGER NOT NULL,
  planned INTEGER NOT NULL,
  -- a retry that was not claimed yet
  delayed INTEGER NOT NULL,
  ready REAL NOT NULL,
  deliveries INTEGER NOT NULL DEFAULT 0,
  consumer TEXT,
  lease REAL,
  body BLOB NOT NULL
);

CREATE INDEX job_waiting ON job (schedule, id) WHERE consumer IS NULL AND delayed = 0;

CREATE INDEX job_delayed ON job (schedule, ready) WHERE consumer IS NULL AND delayed = 1;

CREATE INDEX job_running ON job (schedule, lease) WHERE consumer IS NOT NULL;

CREATE INDEX job_planned ON job (sweep) WHERE is_retry = 0;

-- rows that no sweep plans: those in retry (dead = 0) and dead letters (dead = 1)
CREATE TABLE excluded_row (
  schedule INTEGER NOT NULL,
  -- the row's origin and its key, as excluded.row_text writes them
  key TEXT NOT NULL,
  sweep TEXT NOT NULL,
  dead INTEGER NOT NULL,
  error TEXT NOT NULL,
  message TEXT NOT NULL,
  at REAL NOT NULL,
  attempts BLOB NOT NULL,
  PRIMARY KEY (schedule, key)
) WITHOUT ROWID;

CREATE INDEX excluded_row_dead ON excluded_row (schedule, at) WHERE dead = 1;

CREATE TABLE finding (
  schedule INTEGER NOT NULL,
  kind TEXT NOT NULL,
  at REAL NOT NULL,
  body BLOB NOT NULL,
  PRIMARY KEY (schedule, kind)
) WITHOUT ROWID;

-- health of databases, shared by the schedules of a namespace
CREATE TABLE health (
  -- the namespace and the database, as ScheduleRef.database writes them
  prefix TEXT PRIMARY KEY,
  -- who measures, and until when nobody else does
  consumer TEXT NOT NULL,
  until REAL NOT NULL,
  -- JSON of Sample, and when it was stored
  sample BLOB NOT NULL DEFAULT x'',
  at REAL NOT NULL DEFAULT 0
) WITHOUT ROWID;
