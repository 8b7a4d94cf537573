-- Conversations of about 200 B a row.
CREATE TABLE conversations (
    id          bigint NOT NULL,
    session_key text NOT NULL,
    from_number text NOT NULL,
    status      text NOT NULL,
    updated_at  timestamptz NOT NULL,
    expires_at  timestamptz NOT NULL,
    closed_at   timestamptz,
    body        text NOT NULL
);
