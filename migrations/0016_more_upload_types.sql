-- Uploads may be BMP, TIFF, ICO, JPEG 2000, PNM and TGA too. SQLite changes no CHECK, so the table is written anew.

CREATE TABLE uploads_of_more_types (
    project_id TEXT NOT NULL REFERENCES projects (id),
    sha256 TEXT NOT NULL CHECK (length(sha256) = 64),
    r2_key TEXT NOT NULL,
    mime TEXT NOT NULL CHECK (mime IN (
        'image/png', 'image/jpeg', 'image/webp', 'image/avif', 'image/gif', 'image/bmp', 'image/tiff',
        'image/vnd.microsoft.icon', 'image/jp2', 'image/x-portable-anymap', 'image/x-tga'
    )),
    width BIGINT NOT NULL CHECK (width > 0),
    height BIGINT NOT NULL CHECK (height > 0),
    size BIGINT NOT NULL CHECK (size > 0),
    created_at BIGINT NOT NULL,
    PRIMARY KEY (project_id, sha256)
);
INSERT INTO uploads_of_more_types (project_id, sha256, r2_key, mime, width, height, size, created_at)
SELECT project_id, sha256, r2_key, mime, width, height, size, created_at FROM uploads;
DROP TABLE uploads;
ALTER TABLE uploads_of_more_types RENAME TO uploads;
