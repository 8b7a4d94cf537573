-- The view has only columns that the role may read.
SELECT s.attname::text, v.value, v.frequency::float8
FROM pg_stats AS s
CROSS JOIN LATERAL unnest(s.most_common_vals::text::text[], s.most_common_freqs) AS v (value, frequency)
WHERE s.schemaname = $1::text AND s.tablename = $2::text AND s.n_distinct BETWEEN 1 AND $3::int
ORDER BY s.attname, s.inherited DESC, v.frequency DESC, v.value
