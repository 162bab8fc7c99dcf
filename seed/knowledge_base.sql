-- What is known to help each provider. Rows that an operator has changed stay as they are.
INSERT INTO knowledge_base (key, value) VALUES
('openai.scene-first', '{"tip":"Describe the scene first, then the subject, then the details, then the constraints"}'),
('openai.say-what-stays', '{"tip":"Name what must stay unchanged: faces, layout, lighting and text","kinds":["edit","inpaint","outpaint","variation"]}'),
('openai.quote-text', '{"tip":"Put any text that must appear in quotation marks and say where it stands"}'),
('openai.use-case', '{"tip":"Say what the picture is for, so that framing and polish fit","kinds":["generate","variation"]}'),
('gemini.tell-a-story', '{"tip":"Tell the scene in full sentences rather than as a list of keywords"}'),
('gemini.camera', '{"tip":"Use the words of photography: lens, angle, distance and light","kinds":["generate","variation"]}'),
('gemini.positive', '{"tip":"Say what is there instead of what is not: an empty street, rather than no cars"}'),
('gemini.keep-the-rest', '{"tip":"For a change, name the one thing to change and ask to keep everything else exactly the same","kinds":["edit","inpaint","outpaint"]}'),
('workers.short', '{"tip":"Keep to one subject and a few strong adjectives; long prompts are cut"}'),
('workers.style-last', '{"tip":"Put style and medium at the end of the prompt","kinds":["generate","variation"]}'),
('workers.quality-words', '{"tip":"Sharp focus and even light help small models","kinds":["generate"]}'),
('sketch.colours', '{"tip":"Colour words set the palette"}'),
('sketch.mood-and-light', '{"tip":"Moods, weather and hours are understood","kinds":["generate","variation","edit"]}'),
('sketch.one-subject', '{"tip":"One clear subject reads best","kinds":["generate","variation"]}')
ON CONFLICT (key) DO NOTHING;
