-- Previews of images in the making, written down before they are stored, so that those which no item names can be found.

CREATE TABLE previews (
    image_id TEXT PRIMARY KEY,
    item_id TEXT NOT NULL REFERENCES job_items (id),
    created_at BIGINT NOT NULL
);
CREATE INDEX previews_by_time ON previews (created_at);
