-- Documents of the Admin API come into the inbox beside deliveries, and go the same way from there. Headers of deliveries
-- are not signed, so the topic cannot tell the two apart.
ALTER TABLE inbox ADD COLUMN source text NOT NULL DEFAULT 'webhook' CONSTRAINT inbox_source CHECK (source IN ('webhook', 'sync'));
