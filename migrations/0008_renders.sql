-- Artifacts that take long: one row per version that is being made. Valid on SQLite and PostgreSQL alike.

CREATE TABLE renders (
    id TEXT PRIMARY KEY CHECK (length(id) > 0),
    artifact_id TEXT NOT NULL REFERENCES artifacts (id),
    generator_id TEXT NOT NULL,
    title TEXT NOT NULL,
    options TEXT NOT NULL,                 -- JSON
    project_ids TEXT NOT NULL,             -- JSON list, in the order asked for
    session_id TEXT CHECK (length(session_id) BETWEEN 1 AND 128),   -- who is told
    status TEXT NOT NULL CHECK (status IN ('queued', 'running', 'complete', 'failed')),
    stage TEXT CHECK (stage IN ('collect', 'render', 'publish')),
    progress DOUBLE PRECISION NOT NULL DEFAULT 0 CHECK (progress >= 0 AND progress <= 1),
    version BIGINT CHECK (version >= 1),   -- what was published
    error TEXT,                            -- JSON {code, message, correlationId}
    correlation_id TEXT NOT NULL,
    fence BIGINT NOT NULL DEFAULT 0 CHECK (fence >= 0),               -- grows with every claim
    idle_claims BIGINT NOT NULL DEFAULT 0 CHECK (idle_claims >= 0),   -- claims in a row without new progress
    lease_until BIGINT NOT NULL DEFAULT 0,
    created_at BIGINT NOT NULL CHECK (created_at > 0),
    started_at BIGINT,
    ended_at BIGINT,
    UNIQUE (artifact_id, version),
    CHECK ((ended_at IS NOT NULL) = (status IN ('complete', 'failed'))),
    CHECK ((status = 'queued') = (started_at IS NULL)),
    CHECK ((version IS NOT NULL) = (status = 'complete')),
    CHECK ((error IS NOT NULL) = (status = 'failed'))
);
CREATE INDEX renders_open ON renders (status, lease_until) WHERE ended_at IS NULL;
CREATE INDEX renders_by_artifact ON renders (artifact_id, created_at, id);
