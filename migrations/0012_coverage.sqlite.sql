-- How much of a request its verdict covers, 0 to 1; null without a verdict and where it is not known.
-- Of the built-in judge's earlier verdicts it counts as 0: it cannot see the subject of an image. What it did not judge
-- was a note and could be found by a search; it is neither any more.

ALTER TABLE image_progressions ADD COLUMN coverage REAL CHECK (coverage BETWEEN 0 AND 1);

UPDATE image_progressions SET coverage = 0
WHERE judgment IS NOT NULL AND ai_notes LIKE '%Judged by the built-in judge:%';

UPDATE image_progressions
SET ai_notes = (SELECT json_group_array(value) FROM json_each(ai_notes) WHERE value NOT LIKE 'Not judged, because it cannot be measured:%')
WHERE coverage = 0 AND ai_notes LIKE '%"Not judged, because it cannot be measured:%';

UPDATE progression_search
SET text = replace(text, 'judged by the built-in judge: it measures pixels and does not recognise objects.', '')
WHERE progression_id IN (SELECT id FROM image_progressions WHERE coverage = 0);

UPDATE progression_search
SET text = substr(text, 1, instr(text, char(31) || 'not judged, because it cannot be measured:'))
    || substr(
        substr(text, instr(text, char(31) || 'not judged, because it cannot be measured:') + 1),
        instr(substr(text, instr(text, char(31) || 'not judged, because it cannot be measured:') + 1) || char(31), char(31)) + 1
    )
WHERE progression_id IN (SELECT id FROM image_progressions WHERE coverage = 0)
    AND instr(text, char(31) || 'not judged, because it cannot be measured:') > 0;
