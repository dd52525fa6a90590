// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Parses the arguments, runs the command, prints errors. Exit status: 0 done, 1 results differ, 2 could not be done.

use brickwork::{cli::Cli, commands};
use clap::Parser;
use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    match commands::run(&Cli::parse()) {
        Ok(commands::Outcome::Done) => ExitCode::SUCCESS,
        Ok(commands::Outcome::Differs) => ExitCode::from(1),
        Err(failure) => {
            // A closed standard error is no reason to panic.
            let _ = writeln!(std::io::stderr(), "{}", failure.text());
            ExitCode::from(2)
        }
    }
}
