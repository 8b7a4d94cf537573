-- The final check in the database. Expected: still_stale 0, written = abandoned, twice 0.
SELECT
    (SELECT count(*) FROM carts) AS carts,
    (SELECT count(*) FROM carts WHERE status = 'abandoned') AS abandoned,
    (SELECT count(*) FROM carts WHERE status = 'open' AND updated_at < now() - interval '24 hours') AS still_stale,
    (SELECT count(*) FROM written) AS written,
    (SELECT count(*) - count(DISTINCT id) FROM written) AS twice;
