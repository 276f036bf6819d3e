-- The number of the newest generation that was ever begun. Numbers are never used twice: the rows of an abandoned
-- generation stay for a while after its checkpoint is gone.
ALTER TABLE live_generations ADD COLUMN newest integer NOT NULL DEFAULT 0;
