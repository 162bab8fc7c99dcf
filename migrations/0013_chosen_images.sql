-- Which image was chosen for a placeholder: after a rollback several images have the same address.
-- Valid on SQLite and PostgreSQL alike.

ALTER TABLE artifact_configurations ADD COLUMN progression_id TEXT REFERENCES image_progressions (id);
