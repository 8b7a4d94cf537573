-- After the rows: an index built at once is several times faster than one that grows row by row.
CREATE INDEX conversations_open_expires_at ON conversations (expires_at) WHERE status IN ('pending', 'progress');
CREATE INDEX conversations_open_updated_at ON conversations (updated_at) WHERE status IN ('pending', 'progress');
