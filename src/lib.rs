// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The `brickwork` command: what stands between the command line and the crates that do the work.

pub mod classes;
pub mod cli;
pub mod commands;
pub mod compare;
pub mod data;
pub mod detector;
pub mod drawing;
pub mod engine;
pub mod evaluate;
pub mod explore;
pub mod failure;
pub mod generate;
pub mod isa_constants;
pub mod isa_doc;
pub mod out_dir;
pub mod out_file;
pub mod picture;
pub mod progress;
pub mod report;
pub mod run_program;
pub mod schema_doc;
pub mod table;
pub mod waves;

pub use failure::Failure;
