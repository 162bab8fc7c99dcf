-- Money: what each call may cost before it, what it cost after it, what open items still hold of a budget;
-- and the calls to chat and vision models, which cost money as well. Valid on SQLite and PostgreSQL alike.

ALTER TABLE provider_attempts ADD COLUMN project_id TEXT REFERENCES projects (id);
ALTER TABLE provider_attempts ADD COLUMN quote_micros BIGINT NOT NULL DEFAULT 0 CHECK (quote_micros >= 0);
ALTER TABLE provider_attempts ADD COLUMN cost_basis TEXT CHECK (cost_basis IN ('free', 'usage', 'estimate', 'ceiling'));
ALTER TABLE provider_attempts ADD COLUMN retry_at BIGINT;   -- the vendor asked not to be called before
UPDATE provider_attempts SET project_id = (SELECT project_id FROM jobs WHERE jobs.id = provider_attempts.job_id);
CREATE INDEX provider_attempts_by_project ON provider_attempts (project_id, state, cost_micros, quote_micros);

ALTER TABLE job_items ADD COLUMN reserved_micros BIGINT NOT NULL DEFAULT 0 CHECK (reserved_micros >= 0);
ALTER TABLE job_items ADD COLUMN preview_url TEXT;

-- One row per call to a chat or vision model, committed before bytes leave. Whoever inserts the row makes the call.
CREATE TABLE model_calls (
    id TEXT PRIMARY KEY CHECK (length(id) > 0),
    purpose TEXT NOT NULL CHECK (purpose IN ('refine', 'judge', 'workflow', 'chat')),
    subject TEXT NOT NULL CHECK (length(subject) > 0),   -- what the call is about: an item, a job and provider, a workflow, a turn
    number BIGINT NOT NULL CHECK (number >= 1),
    project_id TEXT REFERENCES projects (id),
    job_id TEXT REFERENCES jobs (id),
    item_id TEXT REFERENCES job_items (id),
    provider TEXT NOT NULL,
    model TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('sent', 'succeeded', 'failed', 'refused', 'uncertain')),
    billed BIGINT NOT NULL DEFAULT 0 CHECK (billed IN (0, 1)),
    failure TEXT CHECK (failure IN ('outage', 'rate', 'quota', 'refused', 'invalid', 'empty')),
    provider_code TEXT,
    provider_status BIGINT,
    request_id TEXT,
    usage TEXT,
    result TEXT,                   -- JSON of what came back, so that a repeated step takes it up
    quote_micros BIGINT NOT NULL DEFAULT 0 CHECK (quote_micros >= 0),
    cost_micros BIGINT CHECK (cost_micros >= 0),
    cost_basis TEXT CHECK (cost_basis IN ('free', 'usage', 'estimate', 'ceiling')),
    price_version TEXT,
    created_at BIGINT NOT NULL CHECK (created_at > 0),
    settled_at BIGINT,
    UNIQUE (purpose, subject, number),
    CHECK ((settled_at IS NULL) = (state = 'sent'))
);
CREATE INDEX model_calls_by_project ON model_calls (project_id, state, cost_micros, quote_micros);
CREATE INDEX model_calls_by_job ON model_calls (job_id);
CREATE INDEX model_calls_by_item ON model_calls (item_id);
