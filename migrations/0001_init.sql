-- The contract's tables and the spine of the image job. Valid on SQLite and PostgreSQL alike.
-- Times are UTC milliseconds, money is integer micro-USD, JSON columns are TEXT.

CREATE TABLE projects (
    id TEXT PRIMARY KEY CHECK (length(id) > 0),
    name TEXT NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    description TEXT CHECK (length(description) <= 4000),
    budget_micros BIGINT CHECK (budget_micros >= 0),
    created_at BIGINT NOT NULL CHECK (created_at > 0),
    updated_at BIGINT NOT NULL CHECK (updated_at >= created_at)
);
CREATE INDEX projects_by_update ON projects (updated_at, id);

CREATE TABLE jobs (
    id TEXT PRIMARY KEY CHECK (length(id) > 0),
    project_id TEXT NOT NULL REFERENCES projects (id),
    session_id TEXT NOT NULL CHECK (length(session_id) BETWEEN 1 AND 128),
    status TEXT NOT NULL CHECK (status IN ('queued', 'running', 'complete', 'failed', 'cancelled')),
    prompt TEXT NOT NULL CHECK (length(prompt) > 0),
    kind TEXT NOT NULL CHECK (kind IN ('generate', 'edit', 'inpaint', 'outpaint', 'variation', 'upscale')),
    request TEXT NOT NULL,                 -- the decoded request, JSON
    metadata TEXT NOT NULL DEFAULT '{}',   -- appliedTips, refinedPrompt
    inputs TEXT,                           -- JSON {start, mask, references} of stored images, once ingested
    parent_progression_id TEXT,
    retry_of TEXT,                         -- the item this job tries again
    idempotency_scope TEXT,
    idempotency_key TEXT,
    body_sha256 TEXT NOT NULL CHECK (length(body_sha256) = 64),
    correlation_id TEXT NOT NULL,
    first_seq BIGINT NOT NULL DEFAULT 1 CHECK (first_seq >= 1),       -- of its first event in the session
    fence BIGINT NOT NULL DEFAULT 0 CHECK (fence >= 0),               -- grows with every claim
    idle_claims BIGINT NOT NULL DEFAULT 0 CHECK (idle_claims >= 0),   -- claims in a row that added nothing
    lease_until BIGINT NOT NULL DEFAULT 0,
    created_at BIGINT NOT NULL CHECK (created_at > 0),
    started_at BIGINT,
    ended_at BIGINT,
    UNIQUE (idempotency_scope, idempotency_key),
    CHECK ((idempotency_scope IS NULL) = (idempotency_key IS NULL)),
    CHECK ((ended_at IS NOT NULL) = (status IN ('complete', 'failed', 'cancelled'))),
    CHECK (status <> 'running' OR started_at IS NOT NULL)
);
CREATE INDEX jobs_by_project ON jobs (project_id, created_at, id);
CREATE INDEX jobs_open ON jobs (status, lease_until) WHERE ended_at IS NULL;

CREATE TABLE job_items (
    id TEXT PRIMARY KEY CHECK (length(id) > 0),
    job_id TEXT NOT NULL REFERENCES jobs (id),
    position BIGINT NOT NULL CHECK (position >= 0),
    provider TEXT NOT NULL CHECK (length(provider) > 0),
    model TEXT NOT NULL CHECK (length(model) > 0),
    variant_index BIGINT NOT NULL CHECK (variant_index >= 0),
    seed BIGINT,
    status TEXT NOT NULL CHECK (status IN
        ('queued', 'running', 'complete', 'failed', 'refused', 'duplicate', 'uncertain', 'cancelled')),
    stage TEXT CHECK (stage IN ('ingest', 'refine', 'generate', 'store', 'compare', 'deliver', 'judge')),
    progress DOUBLE PRECISION NOT NULL DEFAULT 0 CHECK (progress >= 0 AND progress <= 1),
    original_r2_key TEXT,
    phash TEXT CHECK (length(phash) = 16),
    duplicate_of TEXT REFERENCES job_items (id),   -- waiting for, or ended as a duplicate of, that item
    progression_id TEXT UNIQUE,
    error TEXT,                                    -- JSON {code, message, …}
    created_at BIGINT NOT NULL CHECK (created_at > 0),
    started_at BIGINT,
    ended_at BIGINT,
    UNIQUE (job_id, position),
    UNIQUE (job_id, provider, variant_index),
    CHECK ((ended_at IS NULL) = (status IN ('queued', 'running'))),
    CHECK (status <> 'running' OR started_at IS NOT NULL),
    CHECK ((status = 'complete') = (progression_id IS NOT NULL AND ended_at IS NOT NULL AND error IS NULL AND duplicate_of IS NULL)),
    CHECK (status <> 'duplicate' OR duplicate_of IS NOT NULL),
    CHECK ((error IS NOT NULL) = (status IN ('failed', 'refused', 'uncertain', 'cancelled'))),
    CHECK (duplicate_of IS NULL OR duplicate_of <> id)
);
CREATE INDEX job_items_duplicates ON job_items (duplicate_of) WHERE duplicate_of IS NOT NULL;

-- The ledger: one row per call to a vendor, committed as `intent` before the call and `sent` before bytes leave.
CREATE TABLE provider_attempts (
    id TEXT PRIMARY KEY CHECK (length(id) > 0),
    job_id TEXT NOT NULL REFERENCES jobs (id),
    item_id TEXT NOT NULL REFERENCES job_items (id),
    number BIGINT NOT NULL CHECK (number >= 1),
    provider TEXT NOT NULL,
    model TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN
        ('intent', 'sent', 'succeeded', 'failed', 'refused', 'uncertain', 'abandoned')),
    free BIGINT NOT NULL CHECK (free IN (0, 1)),
    billed BIGINT NOT NULL DEFAULT 0 CHECK (billed IN (0, 1)),
    failure TEXT CHECK (failure IN ('outage', 'rate', 'quota', 'refused', 'invalid', 'empty')),
    provider_code TEXT,
    provider_status BIGINT,
    request_id TEXT,
    usage TEXT,
    result TEXT,                   -- JSON of what came back beside the bytes: mime, width, height, meta, adjustments
    bytes_sha256 TEXT CHECK (length(bytes_sha256) = 64),
    cost_micros BIGINT CHECK (cost_micros >= 0),
    price_version TEXT,
    created_at BIGINT NOT NULL CHECK (created_at > 0),
    sent_at BIGINT,
    settled_at BIGINT,
    UNIQUE (item_id, number),
    CHECK (state NOT IN ('sent', 'succeeded', 'refused', 'uncertain') OR sent_at IS NOT NULL),
    CHECK (state <> 'intent' OR sent_at IS NULL),
    CHECK ((settled_at IS NULL) = (state IN ('intent', 'sent'))),
    CHECK ((state = 'succeeded') = (bytes_sha256 IS NOT NULL)),
    CHECK (billed = 0 OR free = 0)
);
CREATE UNIQUE INDEX provider_attempts_one_open ON provider_attempts (item_id) WHERE state IN ('intent', 'sent');
CREATE UNIQUE INDEX provider_attempts_one_success ON provider_attempts (item_id) WHERE state = 'succeeded';
CREATE INDEX provider_attempts_by_job ON provider_attempts (job_id, created_at);

CREATE TABLE image_progressions (
    id TEXT PRIMARY KEY CHECK (length(id) > 0),
    project_id TEXT NOT NULL REFERENCES projects (id),
    parent_progression_id TEXT REFERENCES image_progressions (id),
    start_image_url TEXT,
    prompt TEXT NOT NULL,
    generated_image_url TEXT NOT NULL,
    original_image_r2_key TEXT NOT NULL,
    ai_provider TEXT NOT NULL,
    ai_notes TEXT NOT NULL DEFAULT '[]',
    ai_tags TEXT NOT NULL DEFAULT '[]',
    judgment TEXT CHECK (judgment IN ('pass', 'fail')),
    created_at BIGINT NOT NULL CHECK (created_at > 0),
    job_id TEXT REFERENCES jobs (id),
    item_id TEXT UNIQUE REFERENCES job_items (id),
    edge TEXT NOT NULL CHECK (edge IN
        ('generate', 'edit', 'inpaint', 'outpaint', 'variation', 'upscale', 'retry', 'rollback')),
    variant_index BIGINT NOT NULL DEFAULT 0 CHECK (variant_index >= 0),
    ai_model TEXT,
    refined_prompt TEXT,
    start_image_r2_key TEXT,
    judge_status TEXT NOT NULL DEFAULT 'skipped' CHECK (judge_status IN ('ok', 'error', 'skipped')),
    criteria TEXT NOT NULL DEFAULT '[]',
    retry_suggestion TEXT,
    phash TEXT CHECK (length(phash) = 16),
    width BIGINT NOT NULL CHECK (width > 0),
    height BIGINT NOT NULL CHECK (height > 0),
    sha256 TEXT NOT NULL CHECK (length(sha256) = 64),
    seed BIGINT,
    adjustments TEXT NOT NULL DEFAULT '[]',
    cost_usd BIGINT NOT NULL DEFAULT 0 CHECK (cost_usd >= 0),   -- micro-USD; answers show dollars
    CHECK ((job_id IS NULL) = (item_id IS NULL)),
    CHECK ((judgment IS NOT NULL) = (judge_status = 'ok')),
    CHECK (parent_progression_id IS NULL OR parent_progression_id <> id)
);
CREATE INDEX image_progressions_by_project ON image_progressions (project_id, created_at, id);
CREATE INDEX image_progressions_by_parent ON image_progressions (parent_progression_id);
CREATE INDEX image_progressions_by_job ON image_progressions (job_id);

CREATE TABLE progression_tags (
    progression_id TEXT NOT NULL REFERENCES image_progressions (id),
    tag TEXT NOT NULL CHECK (length(tag) > 0),
    PRIMARY KEY (progression_id, tag)
);
CREATE INDEX progression_tags_by_tag ON progression_tags (tag, progression_id);

CREATE TABLE uploads (
    project_id TEXT NOT NULL REFERENCES projects (id),
    sha256 TEXT NOT NULL CHECK (length(sha256) = 64),
    r2_key TEXT NOT NULL,
    mime TEXT NOT NULL CHECK (mime IN ('image/png', 'image/jpeg', 'image/webp')),
    width BIGINT NOT NULL CHECK (width > 0),
    height BIGINT NOT NULL CHECK (height > 0),
    size BIGINT NOT NULL CHECK (size > 0),
    created_at BIGINT NOT NULL,
    PRIMARY KEY (project_id, sha256)
);

-- The event log. `sessions.seq` is the last number given out; the row lock on it orders commits.
CREATE TABLE sessions (
    id TEXT PRIMARY KEY CHECK (length(id) BETWEEN 1 AND 128),
    seq BIGINT NOT NULL CHECK (seq >= 0),
    pruned BIGINT NOT NULL DEFAULT 0 CHECK (pruned >= 0 AND pruned <= seq)   -- events up to here are gone
);
CREATE TABLE events (
    session_id TEXT NOT NULL REFERENCES sessions (id),
    seq BIGINT NOT NULL CHECK (seq >= 1),
    ts BIGINT NOT NULL CHECK (ts > 0),
    type TEXT NOT NULL CHECK (type IN ('queued', 'running', 'progress', 'judge', 'fail', 'complete', 'agent', 'artifact')),
    job_id TEXT,
    item_id TEXT,
    data TEXT NOT NULL,
    PRIMARY KEY (session_id, seq)
);
CREATE INDEX events_by_job ON events (job_id, session_id, seq) WHERE job_id IS NOT NULL;
CREATE UNIQUE INDEX events_one_item_end ON events (item_id) WHERE item_id IS NOT NULL AND type IN ('complete', 'fail');
CREATE UNIQUE INDEX events_one_job_end ON events (job_id) WHERE job_id IS NOT NULL AND item_id IS NULL AND type IN ('complete', 'fail');
CREATE INDEX events_by_age ON events (ts);

CREATE TABLE artifacts (
    id TEXT PRIMARY KEY CHECK (length(id) > 0),
    owner_id TEXT NOT NULL CHECK (length(owner_id) > 0),
    title TEXT NOT NULL CHECK (length(title) BETWEEN 1 AND 200),
    template_r2_key TEXT,
    content_r2_key TEXT,
    public_slug TEXT NOT NULL UNIQUE CHECK (length(public_slug) >= 22),   -- 128 bits in base64url
    created_at BIGINT NOT NULL CHECK (created_at > 0),
    generator_id TEXT,
    options TEXT NOT NULL DEFAULT '{}',
    version BIGINT NOT NULL DEFAULT 0 CHECK (version >= 0),
    content_type TEXT,
    content_sha256 TEXT CHECK (length(content_sha256) = 64),
    content_policy TEXT,                   -- the page's Content-Security-Policy; null lets nothing load
    updated_at BIGINT NOT NULL CHECK (updated_at >= created_at),
    CHECK ((content_r2_key IS NULL) = (content_sha256 IS NULL)),
    CHECK ((content_r2_key IS NULL) = (version = 0)),
    CHECK (generator_id IS NOT NULL OR template_r2_key IS NOT NULL)
);
CREATE INDEX artifacts_by_slug ON artifacts (public_slug);
CREATE INDEX artifacts_by_age ON artifacts (created_at, id);

CREATE TABLE project_artifacts (
    project_id TEXT NOT NULL REFERENCES projects (id),
    artifact_id TEXT NOT NULL REFERENCES artifacts (id),
    PRIMARY KEY (project_id, artifact_id)
);
CREATE INDEX project_artifacts_by_artifact ON project_artifacts (artifact_id);

CREATE TABLE artifact_configurations (
    artifact_id TEXT NOT NULL REFERENCES artifacts (id),
    config_key TEXT NOT NULL CHECK (length(config_key) > 0),
    config_value TEXT NOT NULL,
    PRIMARY KEY (artifact_id, config_key)
);

CREATE TABLE artifact_views (
    id TEXT PRIMARY KEY CHECK (length(id) > 0),
    artifact_id TEXT NOT NULL REFERENCES artifacts (id),
    timestamp BIGINT NOT NULL CHECK (timestamp > 0),
    ip_address TEXT,
    country TEXT CHECK (length(country) <= 64),
    city TEXT CHECK (length(city) <= 128),
    user_agent TEXT CHECK (length(user_agent) <= 256)
);
CREATE INDEX artifact_views_by_artifact ON artifact_views (artifact_id, timestamp);

CREATE TABLE knowledge_base (
    key TEXT PRIMARY KEY CHECK (length(key) > 2),
    value TEXT NOT NULL
);

CREATE TABLE workflow_results (
    id TEXT PRIMARY KEY CHECK (length(id) > 0),
    user_id TEXT NOT NULL,
    task TEXT NOT NULL,
    result TEXT NOT NULL,
    created_at BIGINT NOT NULL CHECK (created_at > 0)
);
