//! Stored bytes of every event of every version: they never change.
