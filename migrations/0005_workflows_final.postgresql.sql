-- What is final stays final: a workflow's task and end, and a stored result.

CREATE TRIGGER workflows_end_once BEFORE UPDATE ON workflows FOR EACH ROW
WHEN (OLD.ended_at IS NOT NULL AND (NEW.status, NEW.ended_at, NEW.error, NEW.result_id)
    IS DISTINCT FROM (OLD.status, OLD.ended_at, OLD.error, OLD.result_id))
EXECUTE FUNCTION refuse_change('the workflow has ended');

CREATE TRIGGER workflows_keep_their_task BEFORE UPDATE ON workflows FOR EACH ROW
WHEN ((NEW.user_id, NEW.task) IS DISTINCT FROM (OLD.user_id, OLD.task) OR NEW.steps_done < OLD.steps_done
    OR (OLD.result_id IS NOT NULL AND NEW.result_id IS DISTINCT FROM OLD.result_id)
    OR (OLD.notified_at IS NOT NULL AND NEW.notified_at IS DISTINCT FROM OLD.notified_at))
EXECUTE FUNCTION refuse_change('a workflow keeps its task and what was done');

CREATE TRIGGER workflow_results_are_final BEFORE UPDATE ON workflow_results FOR EACH ROW
EXECUTE FUNCTION refuse_change('results are never changed');
