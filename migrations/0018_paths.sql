-- Addresses of our own images become paths, so that the data may move to another address. Valid on SQLite and PostgreSQL.
-- The path is the last 47 characters: /images/, an id of 32 characters, /public.

UPDATE image_progressions SET generated_image_url = substr(generated_image_url, length(generated_image_url) - 46)
WHERE generated_image_url LIKE 'http%/images/________________________________/public';
UPDATE job_items SET preview_url = substr(preview_url, length(preview_url) - 46)
WHERE preview_url LIKE 'http%/images/________________________________/public';
