//! The holdall command: one file a command.
