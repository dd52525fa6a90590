// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Random networks from end to end: golden model, machine model and generated Verilog, every bit and every cycle.
//!
//! A case is drawn from its seed: configuration (shipped or itself drawn), graph, inputs, memory timing. `BRICKWORK_SEED`
//! sets the first seed, `BRICKWORK_CASES` how many follow it, `BRICKWORK_SIZE` the largest height and width, `BRICKWORK_ALL`
//! goes on after a failure, `BRICKWORK_CONFIG` puts all that runs on RTL on that configuration. A failing case is shrunk and
//! the smallest failing graph printed, unless `BRICKWORK_SHRINK` is 0.

#[path = "../../compiler/tests/support/features.rs"]
mod features;
#[path = "support/machines.rs"]
mod machines;
#[path = "../../compiler/tests/support/random_graphs.rs"]
mod random_graphs;
#[path = "../../compiler/tests/support/real_shapes.rs"]
mod real_shapes;
#[path = "../../compiler/tests/support/shrink.rs"]
mod shrink;

use brickwork_compiler::golden;
use brickwork_compiler::lower::{compile, CompileErrorKind, Options};
use brickwork_compiler::program::{Program, TensorInfo};
use brickwork_sim::cosim::{BuildOptions, Cosim, CosimOptions};
use brickwork_sim::image::{Image, MemoryTiming, RunOptions, RunResult};
use brickwork_sim::machine::Machine;
use features::{features, required, Coverage};
use hdl_gen::isa::Op;
use hdl_gen::Arch;
use random_graphs::{random_case, Kind, Rng};
use real_shapes::network;
use shrink::{describe, shrink, Sample};
use std::collections::BTreeMap;

/// Graphs tried to make a failing one smaller.
const SHRINK_TRIES: usize = 3000;
/// Cycles without progress after which the machine gives up.
const WATCHDOG_CYCLES: u32 = 100_000;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default)
}

/// How a graph is compiled and run.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Setting {
    all_tensors: bool,
    timing: MemoryTiming,
    /// Data beats of all ports in 256 cycles; 0 = no limit.
    beats_per_256: u32,
}

impl Setting {
    /// Memory that answers at once and never stalls.
    fn plain() -> Setting {
        let timing = MemoryTiming { latency_cycles: 40, stall: 0, seed: 1 };
        Setting { all_tensors: false, timing, beats_per_256: 0 }
    }

    /// Every second one has stalls, a limited bandwidth or both.
    fn random(seed: u64) -> Setting {
        let mut rng = Rng::new(seed ^ 0x5e77);
        let latency_cycles = rng.pick(&[1, 2, 3, 7, 13, 40, 40, 100, 200]);
        let stall = if rng.one_in(2) { rng.pick(&[10, 60, 100, 200]) } else { 0 };
        let limited = stall != 0 && rng.one_in(3);
        let beats_per_256 = if limited { rng.pick(&[16, 64, 200]) } else { 0 };
        Setting {
            all_tensors: rng.one_in(3),
            timing: MemoryTiming { latency_cycles, stall, seed },
            beats_per_256,
        }
    }

    /// The machine model gives the cycles of such memories.
    fn is_exact(&self) -> bool {
        self.timing.stall == 0 && self.beats_per_256 == 0
    }

    fn options(&self) -> CosimOptions {
        let run =
            RunOptions { timing: self.timing, watchdog_cycles: WATCHDOG_CYCLES, ..RunOptions::default() };
        CosimOptions { beats_per_256: self.beats_per_256, ..run.into() }
    }
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

/// A refusal without its numbers.
fn reason(kind: &CompileErrorKind) -> String {
    match kind {
        CompileErrorKind::DoesNotFit { what, .. } => (*what).into(),
        CompileErrorKind::NeedsFeature { feature } => format!("no {feature}"),
        other => format!("{other:?}").split_whitespace().next().unwrap_or_default().into(),
    }
}

/// A compiled case.
struct Case {
    program: Program,
    image: Image,
    expected: Vec<Vec<i32>>,
}

impl Case {
    /// `Ok(Err(..))`: rightly refused, and why.
    fn new(arch: &Arch, (graph, inputs): &Sample, all_tensors: bool) -> Result<Result<Case, String>, String> {
        let options = Options { all_tensors, ..Options::default() };
        let program = match compile(graph, arch, &options) {
            Ok(p) => p,
            Err(errors) if errors.iter().all(|e| may_refuse(&e.kind)) => {
                return Ok(Err(reason(&errors[0].kind)))
            }
            Err(errors) => return Err(format!("refused: {}", errors[0])),
        };
        let expected = golden::run(graph, inputs).map_err(|e| format!("golden model: {e}"))?;
        let image = Image::new(&program, inputs).map_err(|e| e.to_string())?;
        Ok(Ok(Case { program, image, expected }))
    }

    /// All tensors that the program stored are the golden model's, and all layers were marked.
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

/// One accelerator: machine model and perhaps Verilog. What a run leaves in the buffers the next one finds.
struct Bench {
    arch: Arch,
    machine: Machine,
    cosim: Option<Cosim>,
}

impl Bench {
    fn model(arch: Arch) -> Bench {
        Bench { machine: Machine::new(&arch), cosim: None, arch }
    }

    fn rtl(name: &str) -> Bench {
        let bench = Bench::model(machines::arch(name));
        let power_on_seed = number("BRICKWORK_SEED", 1) as u32;
        let cosim = Cosim::build(&bench.arch, &BuildOptions { power_on_seed, ..BuildOptions::default() });
        Bench { cosim: Some(cosim.unwrap_or_else(|e| panic!("{name}: {e}"))), ..bench }
    }

    /// Runs a sample everywhere. `Ok(Err(..))`: rightly refused, and why.
    fn run(&mut self, sample: &Sample, setting: &Setting) -> Result<Result<Program, String>, String> {
        let case = match Case::new(&self.arch, sample, setting.all_tensors)? {
            Ok(case) => case,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let options = setting.options();
        let mut modelled = case.image.clone();
        let predicted = self.machine.run(&mut modelled, &options.run);
        case.check(&modelled, &predicted).map_err(|e| format!("machine model: {e}"))?;
        if let Some(cosim) = &mut self.cosim {
            let mut image = case.image.clone();
            let measured = cosim.run_with(&mut image, &options).map_err(|e| format!("RTL: {e}"))?;
            case.check(&image, &measured).map_err(|e| format!("RTL: {e}"))?;
            if setting.is_exact() && predicted != measured {
                return Err(format!("the machine model says\n{predicted:?}\nthe RTL\n{measured:?}"));
            }
            if modelled != image {
                return Err("machine model and RTL leave different memories".into());
            }
        }
        Ok(Ok(case.program))
    }

    /// As after power-on.
    fn power_cycle(&mut self) {
        self.machine = Machine::new(&self.arch);
        self.cosim.iter_mut().for_each(Cosim::power_cycle);
    }

    /// A report of a failure: the smallest sample and setting that fail too.
    fn explain(&mut self, sample: &Sample, setting: &Setting, why: String) -> String {
        if number("BRICKWORK_SHRINK", 1) == 0 {
            return why;
        }
        let plain = Setting::plain();
        let options = [plain, Setting { all_tensors: setting.all_tensors, ..plain }, *setting];
        let mut fails = |setting: &Setting, s: &Sample| {
            self.power_cycle();
            self.run(s, setting).err()
        };
        let Some(setting) = options.into_iter().find(|o| fails(o, sample).is_some()) else {
            return format!("{why}\nright after power-on: it depends on the cases before");
        };
        let small = shrink(sample, SHRINK_TRIES, |s| fails(&setting, s).is_some());
        let reason = fails(&setting, &small).unwrap_or_default();
        format!("{why}\nshrunk, {setting:?}: {reason}\n{}", describe(&small))
    }
}

/// What many cases gave.
#[derive(Default)]
struct Tally {
    cases: u64,
    refusals: BTreeMap<String, u64>,
    exact_cycles: u64,
    coverage: Coverage,
    failures: Vec<String>,
}

impl Tally {
    fn report(&self, name: &str) {
        let refused: u64 = self.refusals.values().sum();
        println!(
            "{name}: {} cases, {refused} refused {:?}, {} with cycles compared, {} failed",
            self.cases,
            self.refusals,
            self.exact_cycles,
            self.failures.len()
        );
        println!("{name}: {}", self.coverage.summary());
        assert!(self.failures.is_empty(), "{} of {} failed", self.failures.len(), self.cases);
        assert!(refused * 3 <= self.cases.max(20), "{refused} of {} refused", self.cases);
    }
}

/// One case of `many`.
fn one(bench: &mut Bench, tally: &mut Tally, seed: u64, kind: Kind, size: usize, setting: &Setting) {
    let size = number("BRICKWORK_SIZE", size as u64) as usize;
    let sample = random_case(seed, kind, size);
    tally.cases += 1;
    let why = match bench.run(&sample, setting) {
        Ok(Ok(program)) => {
            let mut has = features(&sample.0, &program, &bench.arch);
            if bench.cosim.is_some() {
                has.extend(memory_features(setting).map(String::from));
                tally.exact_cycles += setting.is_exact() as u64;
            }
            return tally.coverage.count(&has);
        }
        Ok(Err(refusal)) => return *tally.refusals.entry(refusal).or_default() += 1,
        Err(why) => why,
    };
    let config = &bench.arch.config.name;
    let place = format!("{config}, {kind:?}, size {size}, seed {seed}, {setting:?}");
    let report = format!("{place}: {}", bench.explain(&sample, setting, why));
    println!("FAILED {report}");
    if std::env::var("BRICKWORK_ALL").is_err() {
        panic!("{report}");
    }
    tally.failures.push(report);
}

fn memory_features(setting: &Setting) -> impl Iterator<Item = &'static str> {
    let stalls = if setting.timing.stall == 0 { "no stalls" } else { "random stalls" };
    let latency = if setting.timing.latency_cycles > 1 { "latency" } else { "latency 1" };
    let all = if setting.all_tensors { "all tensors stored" } else { "tensors on chip" };
    let limit = (setting.beats_per_256 != 0).then_some("limited bandwidth");
    [stalls, latency, all].into_iter().chain(limit)
}

fn seeds(cases: u64) -> (std::ops::Range<u64>, bool) {
    let (first, n) = (number("BRICKWORK_SEED", 1), number("BRICKWORK_CASES", cases));
    (first..first + n, first == 1 && n >= cases)
}

/// Kinds one after another on the machine model. Its buffers start as another program leaves them.
fn on_machine(name: &str, kinds: &[Kind], size: usize, cases: u64) {
    let (mut bench, mut tally) = (Bench::model(machines::arch(name)), Tally::default());
    for seed in seeds(cases).0 {
        let setting = Setting { all_tensors: seed % 3 == 0, ..Setting::plain() };
        one(&mut bench, &mut tally, seed, kinds[seed as usize % kinds.len()], size, &setting);
    }
    tally.report(name);
}

/// A configuration of its own for every case, of all valid ones, on the machine model.
fn on_drawn_machines(size: usize, cases: u64) {
    let mut tally = Tally::default();
    for seed in seeds(cases).0 {
        let mut bench = Bench::model(machines::drawn_from_all(seed));
        let kind = Kind::ALL[seed as usize % Kind::ALL.len()];
        let setting = Setting { all_tensors: seed % 4 == 0, ..Setting::plain() };
        one(&mut bench, &mut tally, seed, kind, size, &setting);
    }
    tally.report("all configurations");
}

/// Everything drawn, on the RTL of `configurations`. `complete`: every feature and configuration must occur.
fn on_rtl(title: &str, configurations: &[&str], size: usize, cases: u64, complete: bool) {
    let kind = |rng: &mut Rng| if rng.one_in(3) { Kind::Network } else { rng.pick(&Kind::ALL) };
    let required = if complete { everything() } else { Vec::new() };
    drawn_on_rtl(title, configurations, kind, size, cases, &required);
}

/// Images that small banks hold in rectangles only, on the RTL of `configurations`.
fn rectangles_on_rtl(title: &str, configurations: &[&str], size: usize, cases: u64) {
    let required = ["rectangles", "random stalls", "no stalls", "depthwise", "concatenation"];
    drawn_on_rtl(title, configurations, |_| Kind::Wide, size, cases, &required.map(String::from));
}

/// Cases of the kinds drawn. All of `required` and all configurations must occur, unless nothing is required.
fn drawn_on_rtl(
    title: &str,
    configurations: &[&str],
    kind: impl Fn(&mut Rng) -> Kind,
    size: usize,
    cases: u64,
    required: &[String],
) {
    let only = std::env::var("BRICKWORK_CONFIG").ok();
    let only: Option<Vec<&str>> = only.as_deref().map(|name| vec![name]);
    let (configurations, required) = only.as_deref().map_or((configurations, required), |one| (one, &[]));
    let mut benches: BTreeMap<&str, Bench> = BTreeMap::new();
    let mut tally = Tally::default();
    let (seeds, whole) = seeds(cases);
    for seed in seeds.clone() {
        let mut rng = Rng::new(seed ^ 0xc0f1);
        let name = rng.pick(configurations);
        let kind = kind(&mut rng);
        let bench = benches.entry(name).or_insert_with(|| Bench::rtl(name));
        one(bench, &mut tally, seed, kind, size, &Setting::random(seed));
    }
    println!("{title}: seeds {seeds:?} on {:?}", benches.keys());
    tally.report(title);
    if !required.is_empty() && whole {
        let missing = tally.coverage.missing(required);
        assert!(missing.is_empty(), "never drawn: {missing:?}");
        assert_eq!(benches.len(), configurations.len(), "every configuration is drawn");
        assert!(3 * tally.exact_cycles >= tally.cases, "too few cases without stalls");
    }
}

/// Features of networks and memories.
fn everything() -> Vec<String> {
    const SETTINGS: [&str; 8] = [
        "rectangles",
        "no stalls",
        "random stalls",
        "limited bandwidth",
        "latency",
        "latency 1",
        "all tensors stored",
        "tensors on chip",
    ];
    required().into_iter().chain(SETTINGS.map(String::from)).collect()
}

const WINDOWS: [Kind; 3] = [Kind::Conv, Kind::RawConv, Kind::Pool];
const MIXED: [Kind; 8] = [
    Kind::Chain,
    Kind::GlobalSum,
    Kind::Add,
    Kind::Concat,
    Kind::Copy,
    Kind::Dense,
    Kind::Reshape,
    Kind::Network,
];
/// Small ones, built within a minute each; `drawn_n` is random.
const FEW: [&str; 6] = ["tiny", "cramped", "odd", "two_bit", "drawn_1", "drawn_2"];
/// With so little memory that wide images go in rectangles.
const SMALL_BANKS: [&str; 5] = ["cramped", "drawn_1", "drawn_2", "drawn_4", "drawn_7"];
const MANY: [&str; 14] = [
    "tiny", "cramped", "odd", "two_bit", "drawn_1", "drawn_2", "drawn_3", "drawn_4", "drawn_5", "drawn_6",
    "drawn_7", "drawn_8", "drawn_9", "drawn_10",
];

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
    on_machine("tiny", &MIXED, 12, 240);
}

#[test]
fn random_graphs_on_the_zynq7020_machine() {
    on_machine("zynq7020", &MIXED, 20, 80);
}

#[test]
fn random_graphs_on_the_two_bit_machine() {
    on_machine("bitfusion", &MIXED, 12, 80);
}

#[test]
fn random_graphs_on_a_machine_with_cramped_buffers() {
    on_machine("cramped", &Kind::ALL, 12, 220);
}

#[test]
fn random_networks_on_random_machines() {
    on_drawn_machines(12, 330);
}

#[test]
fn random_networks_on_rtl() {
    on_rtl("few", &FEW, 10, 120, true);
}

/// A network whose layers `tiny` can do in rectangles only: every bit and every cycle.
#[test]
fn rows_that_no_band_holds_on_rtl() {
    let mut bench = Bench::rtl("tiny");
    let (graph, input) = network("wide");
    let sample = (graph, vec![input]);
    for all_tensors in [false, true] {
        let setting = Setting { all_tensors, ..Setting::plain() };
        let program = bench.run(&sample, &setting).expect("equal everywhere").expect("is not refused");
        let tiled = layers_in_rectangles(&program);
        assert!(tiled >= 2, "{tiled} layers load several parts of rows");
    }
}

/// Layers with a load of parts of several rows.
fn layers_in_rectangles(program: &Program) -> usize {
    let (mut layers, mut tiled) = (0, false);
    for i in &program.instrs {
        tiled |= i.op() == Some(Op::Load) && i.get("rows") > 1;
        if i.op() == Some(Op::PostMark) {
            layers += std::mem::take(&mut tiled) as usize;
        }
    }
    layers
}

#[test]
fn random_rectangles_on_the_machine_with_cramped_buffers() {
    on_machine("cramped", &[Kind::Wide], 12, 60);
}

#[test]
fn random_rectangles_on_rtl() {
    rectangles_on_rtl("rectangles", &["cramped"], 12, 24);
}

/// In parts, like `thousands_of_random_networks_on_rtl`.
#[test]
#[ignore = "hundreds of cases: make test-long"]
fn hundreds_of_random_rectangles_on_rtl() {
    rectangles_on_rtl("many rectangles", &SMALL_BANKS, 12, 400);
}

/// In parts: `BRICKWORK_SEED=501 BRICKWORK_CASES=500 cargo test --release ...`.
#[test]
#[ignore = "thousands of cases: make test-long"]
fn thousands_of_random_networks_on_rtl() {
    on_rtl("many", &MANY, 12, 2000, true);
}

#[test]
#[ignore = "simulates the largest configuration: make test-long"]
fn random_networks_on_zynq7020_rtl() {
    on_rtl("zynq7020", &["zynq7020"], 12, 60, false);
}

#[test]
#[ignore = "simulates the largest configuration of 2-bit bricks: make test-long"]
fn random_networks_on_bitfusion_rtl() {
    on_rtl("bitfusion", &["bitfusion"], 12, 60, false);
}
