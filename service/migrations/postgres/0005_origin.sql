-- Which server, timeline, database and table handed out the positions so far. Where another one reads it, this is a
-- copy: it may lack what was told already, so positions go on behind a step.
ALTER TABLE head ADD COLUMN origin TEXT NOT NULL DEFAULT '';
