//! One file for each chapter of `docs/contract.md`, one function for each clause.

mod apply;
mod cancellation;
mod delete;
mod durability;
mod errors;
mod expect;
mod find;
mod get;
mod get_many;
mod health;
mod keys;
mod limits;
mod list;
mod put;
mod races;

use super::{Clause, harness};

crate::__each_clause!(__clause_table);
