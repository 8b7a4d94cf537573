-- A shop's carts, three of five abandoned, and a record of every write of every row, to prove that none was written twice.
-- The number of carts: PGOPTIONS='-c carts.rows=20000'; the default is a million.
SET client_min_messages = warning;
DROP TABLE IF EXISTS carts, written;
CREATE TABLE carts (
    id bigint PRIMARY KEY,
    status text NOT NULL,
    updated_at timestamptz NOT NULL
);
INSERT INTO carts
    SELECT n, 'open', now() - CASE WHEN n % 5 < 3 THEN interval '2 days' ELSE interval '0' END
    FROM generate_series(1, coalesce(nullif(current_setting('carts.rows', true), ''), '1000000')::bigint) n;
CREATE INDEX carts_open ON carts (updated_at) WHERE status = 'open';
ANALYZE carts;

CREATE TABLE written (id bigint NOT NULL);
CREATE OR REPLACE FUNCTION note_written() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN INSERT INTO written SELECT id FROM fresh; RETURN NULL; END $$;
CREATE TRIGGER note_written AFTER UPDATE ON carts
    REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION note_written();
