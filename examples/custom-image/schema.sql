CREATE TABLE carts (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    email text,
    status text NOT NULL DEFAULT 'open',
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX carts_open ON carts (updated_at) WHERE status = 'open';
CREATE TABLE outbox (key uuid PRIMARY KEY, recipient text NOT NULL, template text NOT NULL, at timestamptz NOT NULL DEFAULT now());
