//! One file a key in a folder.
