-- Chats about artifacts: whose turn it is, and what was chosen so that it can be taken back. What was said lies in
-- AGENTIC_MEMORIES. Valid on SQLite and PostgreSQL alike.

CREATE TABLE artifact_chats (
    artifact_id TEXT NOT NULL REFERENCES artifacts (id),
    session_id TEXT NOT NULL CHECK (length(session_id) BETWEEN 1 AND 128),
    fence BIGINT NOT NULL CHECK (fence >= 1),      -- grows with every turn
    lease_until BIGINT NOT NULL,
    PRIMARY KEY (artifact_id, session_id)
);

CREATE TABLE artifact_choices (
    id TEXT PRIMARY KEY CHECK (length(id) > 0),    -- derived from the turn and the tool call
    artifact_id TEXT NOT NULL,
    session_id TEXT NOT NULL,
    number BIGINT NOT NULL CHECK (number >= 1),    -- in the chat
    changes TEXT NOT NULL,                         -- JSON: key, before, after
    created_at BIGINT NOT NULL CHECK (created_at > 0),
    undone_by TEXT UNIQUE,                         -- derived from the turn and the tool call that took it back
    undone_at BIGINT,
    UNIQUE (artifact_id, session_id, number),
    FOREIGN KEY (artifact_id, session_id) REFERENCES artifact_chats (artifact_id, session_id),
    CHECK ((undone_by IS NULL) = (undone_at IS NULL))
);
