//! The format of a volume: catalog, segments, chunks, commit, history, gc, verify, rebuild.
