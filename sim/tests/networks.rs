// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Random networks from end to end: golden model against machine model and generated Verilog, values and cycles.
//!
//! `BRICKWORK_CASES` sets the number of cases of each test, `BRICKWORK_SEED` the first seed. A failing case is repeated
//! with halved sizes and the smallest failing one reported.

#[path = "../../compiler/tests/support/random_graphs.rs"]
mod random_graphs;

use brickwork_compiler::golden;
use brickwork_compiler::ir::{Graph, Op};
use brickwork_compiler::lower::{compile, CompileErrorKind, Options};
use brickwork_compiler::program::{Program, TensorInfo};
use brickwork_sim::cosim::{BuildOptions, Cosim};
use brickwork_sim::image::{Image, MemoryTiming, RunOptions, RunResult};
use brickwork_sim::machine::Machine;
use hdl_gen::{Arch, Config};
use random_graphs::{random_case, Kind};

/// `tiny` with the smallest buffers: tensors live in DRAM, weights, taps and parameters are loaded again and again.
fn cramped() -> Arch {
    let mut config = arch("tiny").config;
    config.name = "cramped".into();
    config.banks.depth = 128;
    config.accumulators.depth = 16;
    config.weights.depth = 16;
    config.weights.taps = 16;
    config.requantize.param_depth = 16;
    Arch::new(&config)
}

fn arch(name: &str) -> Arch {
    if name == "cramped" {
        return cramped();
    }
    let path = format!("{}/../configs/{name}.toml", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).expect("configuration exists");
    Arch::new(&Config::from_toml(&text, name).expect("configuration is correct"))
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default)
}

/// A compiled random case; `None` if it was rightly refused.
struct Case {
    program: Program,
    inputs: Vec<Vec<i32>>,
    expected: Vec<Vec<i32>>,
}

fn case(
    arch: &Arch,
    seed: u64,
    kind: Kind,
    size: usize,
    shrink: usize,
    all: bool,
) -> Result<Option<Case>, String> {
    let (graph, inputs) = random_case(seed, kind, size, shrink);
    let options = Options { all_tensors: all, ..Options::default() };
    let program = match compile(&graph, arch, &options) {
        Ok(p) => p,
        Err(errors) if errors.iter().all(|e| may_refuse(&e.kind)) => return Ok(None),
        Err(errors) => return Err(format!("refused: {}", errors[0])),
    };
    let expected = golden::run(&graph, &inputs).map_err(|e| format!("golden model: {e}"))?;
    Ok(Some(Case { program, inputs, expected }))
}

/// Refusals that a random graph may meet rightly.
fn may_refuse(kind: &CompileErrorKind) -> bool {
    use CompileErrorKind::*;
    matches!(
        kind,
        AccumulatorTooWide { .. }
            | ResultTooWide { .. }
            | DoesNotFit { .. }
            | ConcatModes
            | NeedsFeature { .. }
    )
}

impl Case {
    fn image(&self) -> Result<Image, String> {
        Image::new(&self.program, &self.inputs).map_err(|e| e.to_string())
    }

    /// All tensors that the program stored are the golden model's.
    fn check(&self, image: &Image, result: &RunResult) -> Result<(), String> {
        if let Some((code, at)) = result.error {
            let instr = self.program.instrs.get(at as usize);
            return Err(format!("error {code:?} at instruction {at}: {instr:?}"));
        }
        let region = &image.regions[2];
        let outputs = self.program.info.outputs.iter().zip(self.program.unpack_output(region));
        let all = self.program.unpack_intermediates(region).into_iter().chain(outputs);
        for (t, codes) in all {
            compare(t, &codes, &self.expected[t.id])?;
        }
        let marks: Vec<u16> = result.marks.iter().map(|m| m.0).collect();
        let layers: Vec<u16> = self.program.info.layers.iter().map(|l| l.mark).collect();
        match marks == layers {
            true => Ok(()),
            false => Err(format!("marks {marks:?}, layers {layers:?}")),
        }
    }
}

fn compare(t: &TensorInfo, got: &[i32], expected: &[i32]) -> Result<(), String> {
    let [_, w, c] = t.shape;
    let differ: Vec<usize> = (0..expected.len()).filter(|i| got.get(*i) != Some(&expected[*i])).collect();
    match differ.first() {
        None => Ok(()),
        Some(i) => Err(format!(
            "{} at y {} x {} channel {}: expected {}, got {:?}; {} of {} differ",
            t.name,
            i / c / w,
            i / c % w,
            i % c,
            expected[*i],
            got.get(*i),
            differ.len(),
            expected.len()
        )),
    }
}

/// Many seeds of several kinds through `run`.
fn many(
    arch: &Arch,
    kinds: &[Kind],
    size: usize,
    cases: u64,
    mut run: impl FnMut(&Case) -> Result<(), String>,
) {
    let first = number("BRICKWORK_SEED", 1);
    let mut one = |seed: u64, kind: Kind, shrink: usize, all: bool| -> Result<bool, String> {
        match case(arch, seed, kind, size, shrink, all)? {
            Some(c) => run(&c).map(|()| true),
            None => Ok(false),
        }
    };
    let mut refused = 0;
    for seed in first..first + number("BRICKWORK_CASES", cases) {
        let kind = kinds[seed as usize % kinds.len()];
        let all = seed % 3 == 0;
        match one(seed, kind, 0, all) {
            Ok(done) => refused += !done as u64,
            Err(why) => {
                let smaller = (1..4).rev().find_map(|s| one(seed, kind, s, all).err().map(|e| (s, e)));
                let (shrink, why) = smaller.unwrap_or((0, why));
                let first =
                    one(seed, kind, shrink, true).err().unwrap_or("right with all tensors stored".into());
                let why = format!("{why}\nfirst wrong: {first}");
                let (graph, _) = random_case(seed, kind, size, shrink);
                if std::env::var("BRICKWORK_ALL").is_ok() {
                    println!("{kind:?} seed {seed} shrink {shrink}: {why}");
                    continue;
                }
                panic!("{kind:?} seed {seed} shrink {shrink}: {why}\n{:#?}", strip(graph));
            }
        }
    }
    println!("{}: {refused} refused", arch.config.name);
}

/// Without the long lists.
fn strip(mut graph: Graph) -> Graph {
    for n in &mut graph.nodes {
        if let Op::Conv(c) = &mut n.op {
            c.weights.data.clear();
            c.requant.channels.truncate(2);
        }
    }
    graph
}

/// On the machine model. Its buffers start as another program leaves them.
fn on_machine(name: &str, kinds: &[Kind], size: usize, cases: u64) {
    let arch = arch(name);
    let mut machine = Machine::new(&arch);
    many(&arch, kinds, size, cases, |case| {
        let mut image = case.image()?;
        let options = RunOptions { watchdog_cycles: 100_000, ..RunOptions::default() };
        let result = machine.run(&mut image, &options);
        case.check(&image, &result)
    });
}

/// On the RTL: results, and without memory stalls the cycles and counters of the machine model.
fn on_rtl(name: &str, size: usize, cases: u64) {
    let arch = arch(name);
    let mut cosim = Cosim::build(&arch, &BuildOptions::default()).expect("the simulation builds");
    let mut machine = Machine::new(&arch);
    let mut n = 0;
    many(&arch, &Kind::ALL, size, cases, |case| {
        n += 1;
        let stall = if n % 4 == 0 { 100 } else { 0 };
        let latency_cycles = [40, 1, 13, 200][n as usize / 4 % 4];
        let timing = MemoryTiming { stall, seed: n, latency_cycles };
        let mut image = case.image()?;
        let start = image.clone();
        let result = cosim.run(&mut image, &timing).map_err(|e| e.to_string())?;
        case.check(&image, &result)?;
        if stall != 0 {
            return Ok(());
        }
        let mut modelled = start;
        let options = RunOptions { timing, ..RunOptions::default() };
        let model = machine.run(&mut modelled, &options);
        if model != result {
            return Err(format!("the machine model says\n{model:?}\nthe RTL\n{result:?}"));
        }
        match modelled == image {
            true => Ok(()),
            false => Err("machine model and RTL leave different memories".into()),
        }
    });
}

const WINDOWS: [Kind; 3] = [Kind::Conv, Kind::RawConv, Kind::Pool];
const MIXED: [Kind; 7] =
    [Kind::Chain, Kind::GlobalSum, Kind::Add, Kind::Concat, Kind::Copy, Kind::Dense, Kind::Reshape];

#[test]
fn random_windows_on_the_tiny_machine() {
    on_machine("tiny", &WINDOWS, 14, 200);
}

#[test]
fn random_windows_on_the_odd_machine() {
    on_machine("odd", &WINDOWS, 16, 100);
}

#[test]
fn random_windows_on_the_two_bit_machine() {
    on_machine("bitfusion", &WINDOWS, 16, 60);
}

#[test]
fn random_graphs_on_the_tiny_machine() {
    on_machine("tiny", &MIXED, 12, 210);
}

#[test]
fn random_graphs_on_the_zynq7020_machine() {
    on_machine("zynq7020", &MIXED, 20, 70);
}

#[test]
fn random_graphs_on_the_two_bit_machine() {
    on_machine("bitfusion", &MIXED, 12, 70);
}

#[test]
fn random_graphs_on_a_machine_with_cramped_buffers() {
    on_machine("cramped", &Kind::ALL, 12, 200);
}

#[test]
fn random_networks_on_tiny_rtl() {
    on_rtl("tiny", 8, 100);
}

#[test]
fn random_networks_with_cramped_buffers_on_rtl() {
    on_rtl("cramped", 10, 60);
}

#[test]
fn random_networks_on_odd_rtl() {
    on_rtl("odd", 10, 60);
}

/// Builds for many minutes: `cargo test -- --ignored`.
#[test]
#[ignore = "builds for many minutes"]
fn random_networks_on_two_bit_bricks_rtl() {
    on_rtl("bitfusion", 10, 60);
}
