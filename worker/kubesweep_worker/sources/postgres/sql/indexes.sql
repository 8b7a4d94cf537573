SELECT i.indisprimary,
       i.indisunique AND i.indpred IS NULL AND i.indexprs IS NULL,
       (SELECT array_agg(coalesce(a.attname::text, '') ORDER BY k.place)
        FROM unnest(i.indkey::smallint[]) WITH ORDINALITY AS k(attnum, place)
        LEFT JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
        WHERE k.place <= i.indnkeyatts)
FROM pg_index AS i
WHERE i.indrelid = $1::bigint::oid AND i.indisvalid
ORDER BY i.indisprimary DESC, i.indnkeyatts, i.indexrelid
