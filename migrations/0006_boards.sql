-- Boards: what guests of a public page say about its images, once its owner has opened it. A guest is known by the
-- SHA-256 of a random cookie, made for one board alone. Valid on SQLite and PostgreSQL alike.

CREATE TABLE boards (
    artifact_id TEXT PRIMARY KEY REFERENCES artifacts (id),
    is_open BIGINT NOT NULL CHECK (is_open IN (0, 1)),
    closes_at BIGINT CHECK (closes_at > 0),
    session_id TEXT CHECK (length(session_id) BETWEEN 1 AND 128),      -- the owner's stream, which is told as well
    version BIGINT NOT NULL DEFAULT 0 CHECK (version >= 0),            -- of the artifact, as far as board_images follows it
    revision BIGINT NOT NULL DEFAULT 0 CHECK (revision >= 0),          -- its row lock puts what guests do in one order
    created_at BIGINT NOT NULL CHECK (created_at > 0)
);

-- The images that a version of the artifact showed; `version` is the last one that did.
CREATE TABLE board_images (
    artifact_id TEXT NOT NULL REFERENCES boards (artifact_id),
    progression_id TEXT NOT NULL REFERENCES image_progressions (id),
    version BIGINT NOT NULL CHECK (version >= 1),
    position BIGINT NOT NULL CHECK (position >= 0),
    PRIMARY KEY (artifact_id, progression_id)
);
CREATE INDEX board_images_by_progression ON board_images (progression_id);

CREATE TABLE board_votes (
    artifact_id TEXT NOT NULL,
    progression_id TEXT NOT NULL,
    guest TEXT NOT NULL CHECK (length(guest) = 64),
    choice TEXT NOT NULL CHECK (choice IN ('yes', 'maybe', 'no')),
    created_at BIGINT NOT NULL CHECK (created_at > 0),
    PRIMARY KEY (artifact_id, progression_id, guest),
    FOREIGN KEY (artifact_id, progression_id) REFERENCES board_images (artifact_id, progression_id)
);
CREATE INDEX board_votes_by_guest ON board_votes (artifact_id, guest);

CREATE TABLE board_comments (
    id TEXT PRIMARY KEY CHECK (length(id) > 0),
    artifact_id TEXT NOT NULL,
    progression_id TEXT NOT NULL,
    guest TEXT NOT NULL CHECK (length(guest) = 64),
    name TEXT CHECK (length(name) BETWEEN 1 AND 80),
    text TEXT NOT NULL CHECK (length(text) BETWEEN 1 AND 1000),
    x DOUBLE PRECISION CHECK (x BETWEEN 0 AND 1),
    y DOUBLE PRECISION CHECK (y BETWEEN 0 AND 1),
    created_at BIGINT NOT NULL CHECK (created_at > 0),
    hidden_at BIGINT CHECK (hidden_at >= created_at),
    CHECK ((x IS NULL) = (y IS NULL)),
    FOREIGN KEY (artifact_id, progression_id) REFERENCES board_images (artifact_id, progression_id)
);
CREATE INDEX board_comments_by_board ON board_comments (artifact_id, created_at, id);

-- The version that was looked at: an image keeps its bytes for ever, and `sha256` says which those are.
CREATE TABLE board_approvals (
    artifact_id TEXT NOT NULL,
    progression_id TEXT NOT NULL,
    guest TEXT NOT NULL CHECK (length(guest) = 64),
    name TEXT CHECK (length(name) BETWEEN 1 AND 80),
    verdict TEXT NOT NULL CHECK (verdict IN ('approve', 'reject')),
    sha256 TEXT NOT NULL CHECK (length(sha256) = 64),
    decided_at BIGINT NOT NULL CHECK (decided_at > 0),
    PRIMARY KEY (artifact_id, progression_id, guest),
    FOREIGN KEY (artifact_id, progression_id) REFERENCES board_images (artifact_id, progression_id)
);
CREATE INDEX board_approvals_by_guest ON board_approvals (artifact_id, guest);
