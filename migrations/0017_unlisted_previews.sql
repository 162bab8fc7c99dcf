-- The calls whose previews were stored before there was a list of them: those are to be listed, and swept with the others.

CREATE TABLE unlisted_previews (
    attempt_id TEXT PRIMARY KEY,
    item_id TEXT NOT NULL REFERENCES job_items (id),
    created_at BIGINT NOT NULL
);
INSERT INTO unlisted_previews (attempt_id, item_id, created_at)
SELECT id, item_id, created_at FROM provider_attempts WHERE sent_at IS NOT NULL;
