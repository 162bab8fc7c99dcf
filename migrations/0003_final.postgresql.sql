-- What is final stays final: ends, the log, and where a bought image is.

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '%', TG_ARGV[0] USING ERRCODE = 'check_violation';
END
$$;

CREATE FUNCTION refuse_foreign_parent() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM image_progressions WHERE id = NEW.parent_progression_id AND project_id <> NEW.project_id) THEN
        RAISE EXCEPTION 'a parent is of the same project' USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END
$$;

CREATE TRIGGER jobs_end_once BEFORE UPDATE ON jobs FOR EACH ROW
WHEN (OLD.ended_at IS NOT NULL AND (NEW.status, NEW.ended_at) IS DISTINCT FROM (OLD.status, OLD.ended_at))
EXECUTE FUNCTION refuse_change('the job has ended');

CREATE TRIGGER job_items_end_once BEFORE UPDATE ON job_items FOR EACH ROW
WHEN (OLD.ended_at IS NOT NULL AND (NEW.status, NEW.ended_at) IS DISTINCT FROM (OLD.status, OLD.ended_at))
EXECUTE FUNCTION refuse_change('the item has ended');

CREATE TRIGGER provider_attempts_settle_once BEFORE UPDATE ON provider_attempts FOR EACH ROW
WHEN (OLD.settled_at IS NOT NULL AND (NEW.state, NEW.settled_at) IS DISTINCT FROM (OLD.state, OLD.settled_at))
EXECUTE FUNCTION refuse_change('the attempt is settled');

CREATE TRIGGER provider_attempts_sent_once BEFORE UPDATE ON provider_attempts FOR EACH ROW
WHEN (OLD.state = 'sent' AND NEW.state = 'intent')
EXECUTE FUNCTION refuse_change('what was sent cannot be taken back');

CREATE TRIGGER events_are_final BEFORE UPDATE ON events FOR EACH ROW
EXECUTE FUNCTION refuse_change('events are never changed');

CREATE TRIGGER image_progressions_keep_their_image BEFORE UPDATE ON image_progressions FOR EACH ROW
WHEN ((NEW.project_id, NEW.parent_progression_id, NEW.original_image_r2_key, NEW.sha256)
    IS DISTINCT FROM (OLD.project_id, OLD.parent_progression_id, OLD.original_image_r2_key, OLD.sha256))
EXECUTE FUNCTION refuse_change('a progression keeps its project, its parent and its original');

CREATE TRIGGER image_progressions_parent_is_near BEFORE INSERT ON image_progressions FOR EACH ROW
WHEN (NEW.parent_progression_id IS NOT NULL)
EXECUTE FUNCTION refuse_foreign_parent();
