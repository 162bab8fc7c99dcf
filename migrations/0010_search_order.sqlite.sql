-- The search's index in the order of pages: numbers follow `created_at`, so FTS5 is walked from the newest and left when
-- a page is full. Beginnings of one and two letters are words of their own, for queries that are as short.

CREATE TABLE progression_search_by_time (
    number INTEGER PRIMARY KEY,      -- created_at * 1024 and more; the rowid of the same progression in progression_words
    progression_id TEXT NOT NULL UNIQUE REFERENCES image_progressions (id),
    project_id TEXT NOT NULL REFERENCES projects (id),
    created_at BIGINT NOT NULL,
    text TEXT NOT NULL
);
INSERT INTO progression_search_by_time
SELECT created_at * 1024 + ROW_NUMBER() OVER (PARTITION BY created_at ORDER BY number) - 1 AS next,
    progression_id, project_id, created_at, text
FROM progression_search ORDER BY next;

CREATE VIRTUAL TABLE progression_words_by_time
USING fts5 (words, detail = none, columnsize = 0, prefix = '1 2', tokenize = 'ascii');
INSERT INTO progression_words_by_time (rowid, words)
SELECT later.number, progression_words.words FROM progression_search_by_time AS later
JOIN progression_search AS former ON former.progression_id = later.progression_id
JOIN progression_words ON progression_words.rowid = former.number ORDER BY later.number;

DROP TABLE progression_words;
DROP TABLE progression_search;
ALTER TABLE progression_words_by_time RENAME TO progression_words;
ALTER TABLE progression_search_by_time RENAME TO progression_search;
