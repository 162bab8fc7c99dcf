-- Tags are compared in any case, and typographic quotation marks and apostrophes are those of keyboards.

INSERT INTO progression_tags (progression_id, tag)
SELECT progression_id, lower(tag) FROM progression_tags WHERE tag <> lower(tag)
ON CONFLICT DO NOTHING;
DELETE FROM progression_tags WHERE tag <> lower(tag);

UPDATE progression_search SET text = replace(text, chr(8220), chr(34)) WHERE strpos(text, chr(8220)) > 0;
UPDATE progression_search SET text = replace(text, chr(8221), chr(34)) WHERE strpos(text, chr(8221)) > 0;
UPDATE progression_search SET text = replace(text, chr(8222), chr(34)) WHERE strpos(text, chr(8222)) > 0;
UPDATE progression_search SET text = replace(text, chr(8223), chr(34)) WHERE strpos(text, chr(8223)) > 0;
UPDATE progression_search SET text = replace(text, chr(171), chr(34)) WHERE strpos(text, chr(171)) > 0;
UPDATE progression_search SET text = replace(text, chr(187), chr(34)) WHERE strpos(text, chr(187)) > 0;
UPDATE progression_search SET text = replace(text, chr(65282), chr(34)) WHERE strpos(text, chr(65282)) > 0;
UPDATE progression_search SET text = replace(text, chr(8217), chr(39)) WHERE strpos(text, chr(8217)) > 0;
UPDATE progression_search SET text = replace(text, chr(8216), chr(39)) WHERE strpos(text, chr(8216)) > 0;
UPDATE progression_search SET text = replace(text, chr(8219), chr(39)) WHERE strpos(text, chr(8219)) > 0;
UPDATE progression_search SET text = replace(text, chr(65287), chr(39)) WHERE strpos(text, chr(65287)) > 0;
UPDATE progression_search SET text = replace(text, chr(96), chr(39)) WHERE strpos(text, chr(96)) > 0;
UPDATE progression_search SET text = replace(text, chr(180), chr(39)) WHERE strpos(text, chr(180)) > 0;
