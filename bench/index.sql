ALTER TABLE conversations ADD PRIMARY KEY (id);
CREATE INDEX conversations_open_by_expires_at ON conversations (expires_at) WHERE status IN ('pending', 'progress');
VACUUM (FREEZE, ANALYZE) conversations;
