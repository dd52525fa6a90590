// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Compiles networks of well-known shapes with random weights, runs them on the machine model, compares every output with
//! the golden model and prints where the cycles go.
//!
//! `cargo run --release -p brickwork-sim --example cycles -- [CONFIG] [NETWORK]...`

#[path = "../../compiler/tests/support/real_shapes.rs"]
mod real_shapes;

use brickwork_compiler::golden;
use brickwork_compiler::lower::{compile, Options};
use brickwork_compiler::program::{LayerInfo, Program};
use brickwork_sim::image::{Image, RunOptions, RunResult};
use brickwork_sim::machine::Machine;
use hdl_gen::{Arch, Config};
use real_shapes::{network, NAMES};
use std::time::Instant;

fn main() -> Result<(), String> {
    let mut args = std::env::args().skip(1);
    let path = args.next().unwrap_or("configs/zynq7020.toml".into());
    let text = std::fs::read_to_string(&path).map_err(|e| format!("{path}: {e}"))?;
    let arch = Arch::new(&Config::from_toml(&text, &path).map_err(|e| e.to_string())?);
    let mut names: Vec<String> = args.collect();
    if names.is_empty() {
        names = NAMES.map(String::from).to_vec();
    }
    for name in &names {
        one(&arch, name)?;
    }
    Ok(())
}

fn one(arch: &Arch, name: &str) -> Result<(), String> {
    let (graph, input) = network(name);
    let inputs = [input];
    let start = Instant::now();
    let options = Options { all_tensors: std::env::var("ALL").is_ok(), ..Options::default() };
    let program = compile(&graph, arch, &options)
        .map_err(|e| e.iter().map(|e| e.to_string()).collect::<Vec<_>>().join("\n"))?;
    let compiled = start.elapsed();
    let mut image = Image::new(&program, &inputs).map_err(|e| e.to_string())?;
    let start = Instant::now();
    let options = RunOptions { watchdog_cycles: 200_000, ..RunOptions::default() };
    let result = Machine::new(arch).run(&mut image, &options);
    let ran = start.elapsed();
    report(arch, &program, &result);
    println!(
        "{name}: {} cycles, compiled in {compiled:.2?}, run in {ran:.2?}, {} instructions, {} bytes of constants, {} of scratch\n",
        result.cycles,
        program.instrs.len(),
        program.constants.len(),
        program.info.scratch_bytes
    );
    if let Some((code, at)) = result.error {
        return Err(format!("{name}: {code:?} at instruction {at}: {}", program.instrs[at as usize]));
    }
    let expected = golden::run(&graph, &inputs).map_err(|e| e.to_string())?;
    let outputs = program.info.outputs.iter().zip(program.unpack_output(&image.regions[2]));
    for (t, codes) in program.unpack_intermediates(&image.regions[2]).into_iter().chain(outputs) {
        if codes != expected[t.id] {
            let wrong = (0..codes.len()).filter(|i| codes[*i] != expected[t.id][*i]).count();
            return Err(format!("{name}: {} of {} codes of {} are wrong", wrong, codes.len(), t.name));
        }
    }
    Ok(())
}

/// One line a layer: cycles, those of its passes alone, and the share of the array's multipliers that had work.
fn report(arch: &Arch, program: &Program, result: &RunResult) {
    println!("layer                     shape              -> shape              passes posts    cycles    stream   lost  useful");
    let mut last = 0;
    for (layer, (_, at)) in program.info.layers.iter().zip(&result.marks) {
        let cycles = at - last;
        last = *at;
        let LayerInfo { name, op, shape_in, shape_out, passes, posts, stream_cycles, .. } = layer;
        let bits = layer.macs * layer.act_bits as u64 * layer.wgt_bits as u64;
        println!(
            "{name:<10} {op:<10} {:<18} {:<18} {passes:>6} {posts:>5} {cycles:>9} {stream_cycles:>9} {:>6} {:>6.1}%",
            format!("{shape_in:?}"),
            format!("{shape_out:?}"),
            cycles as i64 - *stream_cycles as i64,
            100.0 * bits as f64 / (cycles.max(1) * arch.binary_macs()) as f64
        );
    }
    let c = &result.counters;
    println!(
        "pass busy {}, waits for tokens {}, for weights {}; post busy {}, weights shifted {}, load busy {}",
        c.pass_busy, c.pass_wait_token, c.pass_wait_wgt, c.post_busy, c.wgt_busy, c.load_busy
    );
}
