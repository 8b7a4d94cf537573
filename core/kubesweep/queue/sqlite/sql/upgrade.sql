-- name: 2
ALTER TABLE schedule ADD COLUMN origin TEXT NOT NULL DEFAULT '';

-- name: 3
ALTER TABLE schedule ADD COLUMN learnt TEXT NOT NULL DEFAULT '';

-- name: 4
ALTER TABLE sweep ADD COLUMN stopped TEXT NOT NULL DEFAULT '';

-- name: 5
ALTER TABLE schedule ADD COLUMN approved TEXT NOT NULL DEFAULT '';
