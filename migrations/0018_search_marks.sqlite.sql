-- Tags are compared in any case, and typographic quotation marks and apostrophes are those of keyboards.

INSERT INTO progression_tags (progression_id, tag)
SELECT progression_id, lower(tag) FROM progression_tags WHERE tag <> lower(tag)
ON CONFLICT DO NOTHING;
DELETE FROM progression_tags WHERE tag <> lower(tag);

UPDATE progression_search SET text = replace(text, char(8220), char(34)) WHERE instr(text, char(8220)) > 0;
UPDATE progression_search SET text = replace(text, char(8221), char(34)) WHERE instr(text, char(8221)) > 0;
UPDATE progression_search SET text = replace(text, char(8222), char(34)) WHERE instr(text, char(8222)) > 0;
UPDATE progression_search SET text = replace(text, char(8223), char(34)) WHERE instr(text, char(8223)) > 0;
UPDATE progression_search SET text = replace(text, char(171), char(34)) WHERE instr(text, char(171)) > 0;
UPDATE progression_search SET text = replace(text, char(187), char(34)) WHERE instr(text, char(187)) > 0;
UPDATE progression_search SET text = replace(text, char(65282), char(34)) WHERE instr(text, char(65282)) > 0;
UPDATE progression_search SET text = replace(text, char(8217), char(39)) WHERE instr(text, char(8217)) > 0;
UPDATE progression_search SET text = replace(text, char(8216), char(39)) WHERE instr(text, char(8216)) > 0;
UPDATE progression_search SET text = replace(text, char(8219), char(39)) WHERE instr(text, char(8219)) > 0;
UPDATE progression_search SET text = replace(text, char(65287), char(39)) WHERE instr(text, char(65287)) > 0;
UPDATE progression_search SET text = replace(text, char(96), char(39)) WHERE instr(text, char(96)) > 0;
UPDATE progression_search SET text = replace(text, char(180), char(39)) WHERE instr(text, char(180)) > 0;
