-- How much of a request its verdict covers, 0 to 1; null without a verdict and where it is not known.
-- Of the built-in judge's earlier verdicts it counts as 0: it cannot see the subject of an image. What it did not judge
-- was a note and could be found by a search; it is neither any more.

ALTER TABLE image_progressions ADD COLUMN coverage DOUBLE PRECISION CHECK (coverage BETWEEN 0 AND 1);

UPDATE image_progressions SET coverage = 0
WHERE judgment IS NOT NULL AND ai_notes LIKE '%Judged by the built-in judge:%';

UPDATE image_progressions
SET ai_notes = (
    SELECT CAST(coalesce(json_agg(note ORDER BY number), '[]') AS TEXT)
    FROM json_array_elements_text(CAST(ai_notes AS JSON)) WITH ORDINALITY AS notes (note, number)
    WHERE note NOT LIKE 'Not judged, because it cannot be measured:%'
)
WHERE coverage = 0 AND ai_notes LIKE '%"Not judged, because it cannot be measured:%';

UPDATE progression_search
SET text = regexp_replace(
    replace(text, 'judged by the built-in judge: it measures pixels and does not recognise objects.', ''),
    E'\x1fnot judged, because it cannot be measured:[^\x1f]*', ''
)
WHERE progression_id IN (SELECT id FROM image_progressions WHERE coverage = 0);
