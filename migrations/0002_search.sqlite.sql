-- Search of progressions. `text` is prompt, notes and tags as tools/search.py folds them; the index narrows, `text` decides.

CREATE TABLE progression_search (
    number INTEGER PRIMARY KEY,      -- the rowid of the same progression in progression_words
    progression_id TEXT NOT NULL UNIQUE REFERENCES image_progressions (id),
    project_id TEXT NOT NULL REFERENCES projects (id),
    created_at BIGINT NOT NULL,
    text TEXT NOT NULL
);
CREATE INDEX progression_search_by_project ON progression_search (project_id, created_at, progression_id);

-- The words of tools/search.py: one per three characters that stand together, and some more.
CREATE VIRTUAL TABLE progression_words USING fts5 (words, detail = none, columnsize = 0, tokenize = 'ascii');
