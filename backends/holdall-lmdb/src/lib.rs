//! LMDB, shared by the processes of one machine.
