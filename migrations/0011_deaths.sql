-- Whose fault a worker's death may be. `jobs.idle_claims` counts the deaths in a row before any item was sent out; these count by item.
ALTER TABLE job_items ADD COLUMN claim BIGINT NOT NULL DEFAULT 0 CHECK (claim >= 0);       -- fence of the claim that last sent it out
ALTER TABLE job_items ADD COLUMN deaths BIGINT NOT NULL DEFAULT 0 CHECK (deaths >= 0);     -- in a row, while it came no further
ALTER TABLE job_items ADD COLUMN reached BIGINT NOT NULL DEFAULT 0 CHECK (reached >= 0);   -- the most steps it had done at one of them
