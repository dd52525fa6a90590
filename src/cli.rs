// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The command line.

use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

/// Generator, compiler and co-simulation of a multi-bit-width systolic accelerator for quantized neural networks.
///
/// Exit status: 0 done, 1 results differ, 2 could not be done.
#[derive(Debug, Parser)]
#[command(name = "brickwork", version)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write the accelerator of a configuration: Verilog, file list and config.json
    Gen(Gen),
    /// Print the JSON schema of configuration files, for editors
    Schema,
    /// Print the instruction set, the registers and the error codes
    Isa(Isa),
}

#[derive(Debug, Args)]
pub struct Gen {
    /// Configuration file
    #[arg(value_name = "CONFIG.toml")]
    pub config: PathBuf,
    /// Folder to write [default: build/<name of the configuration>]
    #[arg(short, long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// Print the content of config.json instead of the summary
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Isa {
    /// As the page docs/isa.md
    #[arg(long)]
    pub markdown: bool,
}
