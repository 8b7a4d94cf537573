-- A support desk's conversations, as the application that owns them would have made the table.
CREATE TABLE conversations (
    id           INTEGER PRIMARY KEY,
    session_key  TEXT NOT NULL UNIQUE,
    from_number  TEXT NOT NULL,
    channel      TEXT NOT NULL,
    status       TEXT NOT NULL CHECK (status IN ('pending', 'progress', 'closed', 'idle', 'expired')),
    last_message TEXT NOT NULL,
    created_at   TIMESTAMP NOT NULL,
    updated_at   TIMESTAMP NOT NULL,
    expires_at   TIMESTAMP NOT NULL,
    closed_at    TIMESTAMP
);
