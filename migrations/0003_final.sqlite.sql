-- What is final stays final: ends, the log, and where a bought image is.

CREATE TRIGGER jobs_end_once BEFORE UPDATE OF status, ended_at ON jobs
WHEN OLD.ended_at IS NOT NULL AND (NEW.status IS NOT OLD.status OR NEW.ended_at IS NOT OLD.ended_at)
BEGIN SELECT RAISE(ABORT, 'the job has ended'); END;

CREATE TRIGGER job_items_end_once BEFORE UPDATE OF status, ended_at ON job_items
WHEN OLD.ended_at IS NOT NULL AND (NEW.status IS NOT OLD.status OR NEW.ended_at IS NOT OLD.ended_at)
BEGIN SELECT RAISE(ABORT, 'the item has ended'); END;

CREATE TRIGGER provider_attempts_settle_once BEFORE UPDATE OF state, settled_at ON provider_attempts
WHEN OLD.settled_at IS NOT NULL AND (NEW.state IS NOT OLD.state OR NEW.settled_at IS NOT OLD.settled_at)
BEGIN SELECT RAISE(ABORT, 'the attempt is settled'); END;

CREATE TRIGGER provider_attempts_sent_once BEFORE UPDATE OF state ON provider_attempts
WHEN OLD.state = 'sent' AND NEW.state = 'intent'
BEGIN SELECT RAISE(ABORT, 'what was sent cannot be taken back'); END;

CREATE TRIGGER events_are_final BEFORE UPDATE ON events
BEGIN SELECT RAISE(ABORT, 'events are never changed'); END;

CREATE TRIGGER image_progressions_keep_their_image
BEFORE UPDATE OF project_id, parent_progression_id, original_image_r2_key, sha256 ON image_progressions
WHEN NEW.project_id IS NOT OLD.project_id OR NEW.parent_progression_id IS NOT OLD.parent_progression_id
    OR NEW.original_image_r2_key IS NOT OLD.original_image_r2_key OR NEW.sha256 IS NOT OLD.sha256
BEGIN SELECT RAISE(ABORT, 'a progression keeps its project, its parent and its original'); END;

CREATE TRIGGER image_progressions_parent_is_near BEFORE INSERT ON image_progressions
WHEN NEW.project_id IS NOT coalesce((SELECT project_id FROM image_progressions WHERE id = NEW.parent_progression_id), NEW.project_id)
BEGIN SELECT RAISE(ABORT, 'a parent is of the same project'); END;
