//! Workloads and side-by-side comparisons.
