-- What is final stays final: a workflow's task and end, and a stored result.

CREATE TRIGGER workflows_end_once BEFORE UPDATE OF status, ended_at, error, result_id ON workflows
WHEN OLD.ended_at IS NOT NULL AND (NEW.status IS NOT OLD.status OR NEW.ended_at IS NOT OLD.ended_at
    OR NEW.error IS NOT OLD.error OR NEW.result_id IS NOT OLD.result_id)
BEGIN SELECT RAISE(ABORT, 'the workflow has ended'); END;

CREATE TRIGGER workflows_keep_their_task BEFORE UPDATE OF user_id, task, result_id, steps_done, notified_at ON workflows
WHEN NEW.user_id IS NOT OLD.user_id OR NEW.task IS NOT OLD.task OR NEW.steps_done < OLD.steps_done
    OR (OLD.result_id IS NOT NULL AND NEW.result_id IS NOT OLD.result_id)
    OR (OLD.notified_at IS NOT NULL AND NEW.notified_at IS NOT OLD.notified_at)
BEGIN SELECT RAISE(ABORT, 'a workflow keeps its task and what was done'); END;

CREATE TRIGGER workflow_results_are_final BEFORE UPDATE ON workflow_results
BEGIN SELECT RAISE(ABORT, 'results are never changed'); END;
