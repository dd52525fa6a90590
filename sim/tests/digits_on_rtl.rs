// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The published network TFC_1W2A on the generated RTL: pixels in, the reference's logits out, bit for bit.

use brickwork_compiler::import::import;
use brickwork_compiler::lower::{compile, Options};
use brickwork_compiler::npz::{read_npz, Array, Data};
use brickwork_sim::cosim::{BuildOptions, Cosim};
use brickwork_sim::image::{Image, MemoryTiming, RunOptions};
use brickwork_sim::machine::Machine;
use hdl_gen::{Arch, Config};
use std::collections::BTreeMap;
use std::path::PathBuf;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn arch(config: &str) -> Arch {
    let path = root().join("configs").join(config).with_extension("toml");
    let text = std::fs::read_to_string(&path).unwrap();
    Arch::new(&Config::from_toml(&text, config).unwrap_or_else(|e| panic!("{config}: {e:?}")))
}

fn bits(array: &Array) -> Vec<u32> {
    match &array.data {
        Data::F32(v) => v.iter().map(|x| x.to_bits()).collect(),
        other => panic!("float32 expected, not {other:?}"),
    }
}

/// Memory that neither the build nor the simulation may take.
const PEAK_BYTES: u64 = 2 << 30;
/// A quarter of what `zynq7020` was measured at (README, "Simulation speed"): below it the build has lost its optimization.
const CYCLES_PER_SECOND: f64 = 50_000.0;

/// Runs `digits` digits on the RTL of `config`; compares every logit and, where memory does not stall, the cycles with
/// the machine model's. Checks that the simulation stays small and fast enough.
fn digits_are_exact(config: &str, digits: usize, timing: MemoryTiming) {
    let arch = arch(config);
    let model = import(&root().join("models/TFC_1W2A.onnx")).unwrap_or_else(|e| panic!("{e:?}"));
    let vectors: BTreeMap<String, Array> =
        read_npz(&root().join("models/TFC_1W2A.vectors.npz")).unwrap().into_iter().collect();
    let program = compile(&model.graph, &arch, &Options::default()).unwrap_or_else(|e| panic!("{e:?}"));
    let mut cosim = Cosim::build(&arch, &BuildOptions::default()).unwrap_or_else(|e| panic!("{e}"));
    assert!(digits <= vectors["input"].shape[0]);
    let (mut cycles, mut seconds) = (0, 0.0);
    for i in 0..digits {
        let codes = model.encode(|_| vectors["input"].item(i)).unwrap();
        let mut image = Image::new(&program, &codes).unwrap();
        let options = RunOptions { timing, ..RunOptions::default() };
        let predicted = Machine::new(&arch).run(&mut image.clone(), &options);
        let run = cosim.run(&mut image, &timing).unwrap_or_else(|e| panic!("{config}, digit {i}: {e}"));
        assert_eq!(run.error, None, "{config}, digit {i}");
        if timing.stall == 0 {
            assert_eq!(run.cycles, predicted.cycles, "{config}, digit {i}: cycles");
        }
        let logits = model.decode(&program.unpack_output(&image.regions[2]));
        assert_eq!(bits(&logits[0]), bits(&vectors["expected"].item(i).unwrap()), "{config}, digit {i}");
        cycles += cosim.stats().simulated_cycles;
        seconds += cosim.stats().cpu_time.as_secs_f64();
    }
    let (build, run) = (cosim.build_cost(), cosim.stats());
    let speed = cycles as f64 / seconds;
    println!(
        "{config}: {digits} digits exact, {speed:.0} cycles/s, {} bytes; built: {build:?}",
        run.peak_bytes
    );
    assert!(build.peak_bytes < PEAK_BYTES, "{config}: a build process took {} bytes", build.peak_bytes);
    assert!(run.peak_bytes < PEAK_BYTES, "{config}: the simulation took {} bytes", run.peak_bytes);
    assert!(speed > CYCLES_PER_SECOND, "{config}: {speed:.0} cycles/s");
}

#[test]
fn tiny_gives_the_references_logits() {
    digits_are_exact("tiny", 40, MemoryTiming::default());
}

#[test]
fn tiny_gives_them_with_a_memory_that_stalls() {
    digits_are_exact("tiny", 2, MemoryTiming { stall: 100, seed: 7, ..MemoryTiming::default() });
}

#[test]
fn zynq7020_gives_the_references_logits() {
    digits_are_exact("zynq7020", 40, MemoryTiming::default());
}

/// 2-bit bricks.
#[test]
fn bitfusion_gives_the_references_logits() {
    digits_are_exact("bitfusion", 40, MemoryTiming::default());
}

/// Numbers that are no powers of two; four read ports.
#[test]
fn odd_gives_the_references_logits() {
    digits_are_exact("odd", 40, MemoryTiming::default());
}

#[test]
fn ecp5_85f_gives_the_references_logits() {
    digits_are_exact("ecp5_85f", 40, MemoryTiming::default());
}
