-- Many conversations per phone number: session_key is unique, from_number repeats.
CREATE TABLE conversations (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    session_key text NOT NULL UNIQUE,
    from_number text NOT NULL,
    status      text NOT NULL DEFAULT 'pending'
                CHECK (status IN ('pending', 'progress', 'idle', 'expired', 'closed')),
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now(),
    expires_at  timestamptz NOT NULL,
    closed_at   timestamptz
);

CREATE INDEX conversations_by_from_number ON conversations (from_number);

-- One index for each sweep, over open conversations only, so that closed ones take no space in it.
CREATE INDEX conversations_open_by_updated_at ON conversations (updated_at) WHERE status IN ('pending', 'progress');
CREATE INDEX conversations_open_by_expires_at ON conversations (expires_at) WHERE status IN ('pending', 'progress');
