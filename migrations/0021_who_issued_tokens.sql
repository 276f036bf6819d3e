-- Who let somebody in, and why, where the API's tokens are listed. Those of a shop are in its log, too; operators' have no log.

ALTER TABLE api_tokens
    ADD COLUMN issued_by     text,
    ADD COLUMN reason        text,
    ADD COLUMN revoked_by    text,
    ADD COLUMN revoke_reason text;
