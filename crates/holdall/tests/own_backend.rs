//! The example of a backend in one file holds every clause of the contract.

#[path = "../examples/own_backend.rs"]
#[allow(dead_code, reason = "its main function is for running it alone")]
mod own_backend;

use own_backend::Shelf;

holdall_testkit::conformance!(Shelf::default);
