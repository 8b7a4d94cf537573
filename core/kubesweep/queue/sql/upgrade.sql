-- name: 2
ALTER TABLE schedule ADD COLUMN origin TEXT NOT NULL DEFAULT '';
