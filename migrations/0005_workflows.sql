-- General workflows: a task for the reasoning model, in four steps. Valid on SQLite and PostgreSQL alike.

CREATE TABLE workflows (
    id TEXT PRIMARY KEY CHECK (length(id) > 0),
    user_id TEXT NOT NULL CHECK (length(user_id) BETWEEN 1 AND 128),
    task TEXT NOT NULL CHECK (length(task) BETWEEN 1 AND 8000),
    status TEXT NOT NULL CHECK (status IN ('queued', 'running', 'complete', 'failed', 'uncertain')),
    steps_done BIGINT NOT NULL DEFAULT 0 CHECK (steps_done BETWEEN 0 AND 4),   -- of validate, process-ai, store-result, notify
    result_id TEXT UNIQUE REFERENCES workflow_results (id),
    error TEXT,                            -- JSON {code, message, correlationId}
    idempotency_key TEXT,                  -- of this user
    body_sha256 TEXT NOT NULL CHECK (length(body_sha256) = 64),
    correlation_id TEXT NOT NULL,
    fence BIGINT NOT NULL DEFAULT 0 CHECK (fence >= 0),               -- grows with every claim
    idle_claims BIGINT NOT NULL DEFAULT 0 CHECK (idle_claims >= 0),   -- claims in a row that finished no step
    lease_until BIGINT NOT NULL DEFAULT 0,
    created_at BIGINT NOT NULL CHECK (created_at > 0),
    started_at BIGINT,
    ended_at BIGINT,
    notified_at BIGINT,                    -- when its `workflow-complete` was taken from the queue
    UNIQUE (user_id, idempotency_key),
    CHECK ((ended_at IS NOT NULL) = (status IN ('complete', 'failed', 'uncertain'))),
    CHECK ((status = 'queued') = (started_at IS NULL)),
    CHECK (status <> 'queued' OR steps_done = 0),
    CHECK ((status = 'complete') = (steps_done = 4)),
    CHECK (status <> 'uncertain' OR steps_done = 1),
    CHECK ((error IS NOT NULL) = (status IN ('failed', 'uncertain'))),
    CHECK ((result_id IS NOT NULL) = (steps_done >= 3)),
    CHECK (notified_at IS NULL OR steps_done >= 3)
);
CREATE INDEX workflows_open ON workflows (status, lease_until) WHERE ended_at IS NULL;
