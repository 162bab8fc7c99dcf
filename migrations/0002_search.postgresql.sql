-- Search of progressions. `text` is prompt, notes and tags as tools/search.py folds them; the index narrows, `text` decides.

CREATE TABLE progression_search (
    progression_id TEXT PRIMARY KEY REFERENCES image_progressions (id),
    project_id TEXT NOT NULL REFERENCES projects (id),
    created_at BIGINT NOT NULL,
    text TEXT NOT NULL,
    words TSVECTOR NOT NULL    -- those of tools/search.py: one per three characters that stand together, and some more
);
CREATE INDEX progression_search_by_project ON progression_search (project_id, created_at, progression_id);
CREATE INDEX progression_search_words ON progression_search USING gin (words) WITH (fastupdate = off);
