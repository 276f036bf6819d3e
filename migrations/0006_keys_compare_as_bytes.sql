-- Texts that are keys compare as bytes: cheaper than a language's order, and an index stays right when the system's
-- idea of that order changes.
ALTER TABLE events
    ALTER COLUMN aggregate_type TYPE text COLLATE "C",
    ALTER COLUMN aggregate_id TYPE text COLLATE "C";
ALTER TABLE subject_keys ALTER COLUMN subject TYPE text COLLATE "C";
ALTER TABLE directory ALTER COLUMN domain TYPE text COLLATE "C";
ALTER TABLE inbox ALTER COLUMN webhook_id TYPE text COLLATE "C";
ALTER TABLE inbox_unclaimed
    ALTER COLUMN domain TYPE text COLLATE "C",
    ALTER COLUMN webhook_id TYPE text COLLATE "C";
ALTER TABLE work_queue ALTER COLUMN kind TYPE text COLLATE "C";
ALTER TABLE checkpoints ALTER COLUMN projection TYPE text COLLATE "C";
ALTER TABLE live_generations ALTER COLUMN projection TYPE text COLLATE "C";
ALTER TABLE daily_sales ALTER COLUMN currency TYPE text COLLATE "C";
