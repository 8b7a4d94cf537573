SELECT a.attname::text, pg_get_constraintdef(c.oid)
FROM pg_constraint AS c
JOIN pg_attribute AS a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[1]
WHERE c.conrelid = $1::bigint::oid AND c.contype = 'c' AND cardinality(c.conkey) = 1
ORDER BY c.conname
