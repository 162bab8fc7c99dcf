-- Tips that refine a prompt, by provider: key {provider}.{slug}, value {"tip", "kinds"?}. A tip without kinds holds for all.
-- A key that exists is left as it is, so that a tip changed by its owner survives the next start.
INSERT INTO knowledge_base (key, value) VALUES
('openai.literal', '{"tip": "Show exactly what is described and nothing that would change its meaning."}'),
('openai.lettering', '{"tip": "Render lettering only where the request quotes it, spelled as quoted.", "kinds": ["generate", "edit", "variation"]}'),
('openai.preserve', '{"tip": "Keep identity, pose, framing and light of everything the request does not mention.", "kinds": ["edit", "inpaint"]}'),
('openai.seamless', '{"tip": "Match grain, perspective and light at the seams of the new area.", "kinds": ["inpaint", "outpaint"]}'),
('gemini.scene', '{"tip": "Treat the request as one coherent scene with a single viewpoint and one source of light.", "kinds": ["generate", "variation"]}'),
('gemini.camera', '{"tip": "Choose lens, distance and depth of field that serve the named subject.", "kinds": ["generate"]}'),
('gemini.preserve', '{"tip": "Change only what the request names and leave the rest of the supplied image as it is.", "kinds": ["edit", "inpaint", "outpaint"]}'),
('gemini.single', '{"tip": "Answer with one finished image, without borders, captions or panels."}'),
('workers.subject-first', '{"tip": "Give the first named subject the most weight.", "kinds": ["generate", "variation"]}'),
('workers.anatomy', '{"tip": "Keep anatomy and proportions natural, with hands and faces well formed.", "kinds": ["generate", "edit", "variation"]}'),
('workers.quality', '{"tip": "Clean edges, fine texture, no watermark, no border."}'),
('workers.strength', '{"tip": "Stay close to the supplied image and alter it only as far as the request needs.", "kinds": ["edit", "inpaint"]}'),
('sketch.named-things', '{"tip": "Make each thing that the request names easy to recognise."}'),
('sketch.given-hues', '{"tip": "Let the hues that the request names lead, and derive all others from them."}'),
('sketch.one-focus', '{"tip": "Give the eye one place to rest.", "kinds": ["generate", "variation"]}'),
('sketch.keep-layout', '{"tip": "Leave everything where it is and change only how it looks.", "kinds": ["edit"]}')
ON CONFLICT (key) DO NOTHING;
