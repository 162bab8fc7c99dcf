-- Artifacts that are shared: their versions, links of their own with conditions, templates, crawlers among the readers.
-- Valid on SQLite and PostgreSQL alike.

ALTER TABLE artifacts ADD COLUMN unpublished_at BIGINT;   -- its links say 410 since then
ALTER TABLE artifact_views ADD COLUMN bot BIGINT NOT NULL DEFAULT 0 CHECK (bot IN (0, 1));
CREATE INDEX image_progressions_by_url ON image_progressions (generated_image_url);

CREATE TABLE artifact_versions (
    artifact_id TEXT NOT NULL REFERENCES artifacts (id),
    version BIGINT NOT NULL CHECK (version >= 1),
    title TEXT NOT NULL,
    options TEXT NOT NULL DEFAULT '{}',
    content_r2_key TEXT NOT NULL,
    content_type TEXT NOT NULL,
    content_sha256 TEXT NOT NULL CHECK (length(content_sha256) = 64),
    content_policy TEXT,
    created_at BIGINT NOT NULL CHECK (created_at > 0),
    PRIMARY KEY (artifact_id, version)
);
INSERT INTO artifact_versions
SELECT id, version, title, options, content_r2_key, COALESCE(content_type, 'application/octet-stream'), content_sha256,
    content_policy, updated_at
FROM artifacts WHERE content_r2_key IS NOT NULL;

-- A link and its conditions. The main link's row has the artifact's own slug, and is there only if it has conditions.
CREATE TABLE artifact_shares (
    id TEXT PRIMARY KEY CHECK (length(id) > 0),
    artifact_id TEXT NOT NULL REFERENCES artifacts (id),
    slug TEXT NOT NULL UNIQUE CHECK (length(slug) >= 22),
    label TEXT CHECK (length(label) BETWEEN 1 AND 200),
    password_hash TEXT,                                -- scrypt, with its salt and cost
    expires_at BIGINT,
    max_views BIGINT CHECK (max_views >= 1),
    views BIGINT NOT NULL DEFAULT 0 CHECK (views >= 0),   -- counted only where there is a limit
    viewed_at BIGINT,                                     -- the last of these
    created_at BIGINT NOT NULL CHECK (created_at > 0),
    revoked_at BIGINT,
    CHECK (max_views IS NULL OR views <= max_views)
);
CREATE INDEX artifact_shares_by_artifact ON artifact_shares (artifact_id, created_at, id);

CREATE TABLE templates (
    r2_key TEXT PRIMARY KEY CHECK (length(r2_key) > 0),
    name TEXT NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
    kind TEXT NOT NULL CHECK (kind IN ('generator', 'example', 'upload')),
    placeholders TEXT NOT NULL DEFAULT '[]',
    size BIGINT NOT NULL CHECK (size > 0),
    created_at BIGINT NOT NULL CHECK (created_at > 0)
);
CREATE INDEX templates_by_age ON templates (created_at, r2_key);
