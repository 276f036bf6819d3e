-- A look for work walks from one shop's kind of work to the next, however many rows each has left behind: one probe each,
-- which finds the longest waiting row.
CREATE INDEX work_queue_by_shop ON work_queue (shop_id, kind, due_at);
DROP INDEX work_queue_due;
