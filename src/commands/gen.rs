// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `brickwork gen`.

use super::fit;
use crate::cli::Gen;
use crate::generate::{self, MemoryBits};
use crate::out_dir::{self, Tree};
use crate::Failure;
use hdl_gen::fit::Fit;
use hdl_gen::Arch;
use std::path::{Path, PathBuf};

/// Writes the accelerator; returns what is printed.
pub fn run(arguments: &Gen) -> Result<String, Failure> {
    let config = generate::load_config(&arguments.config)?;
    let arch = Arch::new(&config);
    let expected = Fit::new(&arch);
    if !arguments.force {
        fit::check(&expected)?;
    }
    let dir = arguments.output.clone().unwrap_or_else(|| PathBuf::from("build").join(&config.name));
    let tree = generate::tree(&arch)?;
    out_dir::write_whole(&dir, &tree, generate::MARKER)?;
    let json = tree.iter().find(|(path, _)| path == generate::MARKER).map(|(_, text)| text.clone());
    match json {
        Some(text) if arguments.json => Ok(text),
        _ => Ok(summary(&arch, &expected, &dir, &tree)),
    }
}

fn summary(arch: &Arch, expected: &Fit, dir: &Path, tree: &Tree) -> String {
    let below = |folder: &str| tree.iter().filter(|(path, _)| path.starts_with(folder)).count();
    let vivado = if below("vivado/") > 0 { "vivado/*.tcl; " } else { "" };
    let memory = MemoryBits::new(arch);
    let config = &arch.config;
    let peak = |bits: u64| {
        let macs = arch.binary_macs() / (bits * bits);
        format!("{macs} MACs/cycle at {bits}x{bits} bits")
    };
    let top_rate = 2.0 * arch.binary_macs() as f64 * config.device.clock_mhz as f64 / 1e6;
    format!(
        "{name}: {part} at {mhz} MHz, configuration {hash:016x}\n\
         array    {rows} rows x {lanes} lanes x {columns} columns of {brick}x{brick}-bit bricks, {groups} fusion groups\n\
         rate     {one}, {four}, {eight}; {top_rate:.2} binary TOPS\n\
         memory   {total} kbit: banks {banks}, weights {weights}, accumulators {acc}, parameters {params}\n\
         expected {resources}\n\
         written  {dir}: rtl/files.f with {files} Verilog files, top {top}; {vivado}config.json\n",
        name = config.name,
        part = config.device.part,
        mhz = config.device.clock_mhz,
        hash = arch.hash,
        rows = arch.rows,
        lanes = arch.lanes,
        columns = arch.columns,
        brick = arch.brick_bits,
        groups = arch.groups,
        one = peak(arch.brick_bits as u64),
        four = peak(4),
        eight = peak(8),
        total = memory.total().div_ceil(1024),
        banks = memory.activation_banks.div_ceil(1024),
        weights = memory.weight_buffer.div_ceil(1024),
        acc = memory.accumulators.div_ceil(1024),
        params = memory.parameters.div_ceil(1024),
        resources = fit::line(expected),
        dir = dir.display(),
        files = below("rtl/") - 1,
        top = generate::TOP,
    )
}
