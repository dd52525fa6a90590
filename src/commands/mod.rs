// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One file per command.

mod compile;
mod disasm;
mod explore;
mod fit;
mod gen;
mod run;
mod verify;

use crate::cli::{Cli, Command, Common, Isa};
use crate::evaluate::Evaluated;
use crate::report::facts::Facts;
use crate::report::{page, Report};
use crate::{isa_constants, isa_doc, schema_doc, table, Failure};
use brickwork_compiler::import::Imported;
use hdl_gen::{Arch, Config};
use std::io::Write;
use std::path::Path;

/// How a command that could be done ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Done,
    /// Results are not what they should be.
    Differs,
}

/// Runs a command and prints its result on standard output.
pub fn run(cli: &Cli) -> Result<Outcome, Failure> {
    match &cli.command {
        Command::Gen(arguments) => print(&gen::run(arguments)?),
        Command::Fit(arguments) => print(&fit::run(arguments)?),
        Command::Compile(arguments) => print(&compile::run(arguments)?),
        Command::Explore(arguments) => print(&explore::run(arguments)?),
        Command::Run(arguments) => print_result(run::run(arguments)?),
        Command::Verify(arguments) => print_result(verify::run(arguments)?),
        Command::Disasm(arguments) => print(&disasm::run(arguments)?),
        Command::Schema(arguments) if arguments.markdown => print(&schema_doc::markdown()),
        Command::Schema(_) => print(&Config::json_schema()),
        Command::Isa(Isa { constants: Some(language), .. }) => print(&isa_constants::text(*language)),
        Command::Isa(arguments) if arguments.markdown => print(&isa_doc::markdown()),
        Command::Isa(_) => print(&isa_doc::text()),
    }
}

/// Writes the report page of a run, if there is to be one and the backend has cycles.
fn write_page(
    evaluated: &mut Evaluated,
    (arch, common): (&Arch, &Common),
    path: &Path,
    model: Option<&Imported>,
) -> Result<(), Failure> {
    let Some(evidence) = &evaluated.evidence else { return Ok(()) };
    let Some(path) = common.page.path(&arch.config.name, path)? else { return Ok(()) };
    let report = &mut evaluated.report;
    page::write(&path, &Facts::new(arch, evidence, model, Some(report), &report.notes))?;
    report.page = Some(path.display().to_string());
    Ok(())
}

/// A report as it is printed, and how the command ends.
fn finished(report: &Report, json: bool) -> (String, Outcome) {
    let outcome = if report.good() { Outcome::Done } else { Outcome::Differs };
    (if json { report.json() } else { table::report(report) }, outcome)
}

fn print_result((text, outcome): (String, Outcome)) -> Result<Outcome, Failure> {
    print(&text)?;
    Ok(outcome)
}

/// Prints; a reader that closed the pipe early is no error.
fn print(text: &str) -> Result<Outcome, Failure> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::other(format!("cannot print: {e}")))
        }
        _ => Ok(Outcome::Done),
    }
}
