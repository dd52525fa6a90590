// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Random networks through lowering and an executor of the instructions' definitions, against the golden model.

#[path = "support/executor.rs"]
mod executor;
#[path = "support/random_graphs.rs"]
mod random_graphs;
#[path = "support/shrink.rs"]
mod shrink;

use brickwork_compiler::golden;
use brickwork_compiler::ir::{IntType, Op, PoolKind};
use brickwork_compiler::lower::{compile, CompileErrorKind, Options};
use brickwork_compiler::program::Program;
use executor::execute;
use hdl_gen::isa::{Instr, Queue};
use hdl_gen::{Arch, Config};
use random_graphs::{random_case, Kind};
use shrink::{describe, shrink, Sample};

/// `tiny` with the smallest buffers: tensors live in DRAM, weights, taps and parameters are loaded again and again.
fn cramped() -> Arch {
    let mut config = arch("tiny").config;
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

/// Refusals that a random graph may meet rightly.
fn may_refuse(kind: &CompileErrorKind) -> bool {
    use CompileErrorKind::*;
    match kind {
        AccumulatorTooWide { .. } | ResultTooWide { .. } | ConcatModes | NeedsFeature { .. } => true,
        DoesNotFit { need, limit, .. } => need > limit,
        _ => false,
    }
}

/// Runs one case; `Ok(false)` if it was refused.
fn run(arch: &Arch, (graph, inputs): &Sample, seed: u64, all: bool) -> Result<bool, String> {
    let options = Options { all_tensors: all, ..Options::default() };
    let program = match compile(graph, arch, &options) {
        Ok(p) => p,
        Err(errors) if errors.iter().all(|e| may_refuse(&e.kind)) => return Ok(false),
        Err(errors) => return Err(format!("refused: {}", errors[0])),
    };
    let values = match golden::run(graph, inputs) {
        Ok(v) => v,
        // an accumulator with its bias beyond the machine is refused by lowering, so this must not happen
        Err(e) => return Err(format!("golden model: {e}")),
    };
    let program = Program::from_bytes(&program.to_bytes()).map_err(|e| e.to_string())?;
    if std::env::var("BRICKWORK_PRINT").is_ok() {
        program.instrs.iter().for_each(|i| println!("{i}"));
    }
    let region = execute(arch, &program, inputs, seed)?;
    for (t, codes) in program.unpack_intermediates(&region) {
        compare(&t.name, t.shape, &codes, &values[t.id])?;
    }
    for (t, codes) in program.info.outputs.iter().zip(program.unpack_output(&region)) {
        compare(&t.name, t.shape, &codes, &values[t.id])?;
    }
    Ok(true)
}

fn compare(name: &str, [_, w, c]: [usize; 3], got: &[i32], expected: &[i32]) -> Result<(), String> {
    match (0..expected.len()).find(|i| got.get(*i) != Some(&expected[*i])) {
        None => Ok(()),
        Some(i) => Err(format!(
            "{name} at y {} x {} channel {}: expected {}, got {:?}; {} of {} differ",
            i / c / w,
            i / c % w,
            i % c,
            expected[i],
            got.get(i),
            (0..expected.len()).filter(|i| got.get(*i) != Some(&expected[*i])).count(),
            expected.len()
        )),
    }
}

/// Many seeds of one kind; a failing graph is shrunk.
fn many(arch: &Arch, kind: Kind, size: usize) {
    let cases: u64 = std::env::var("BRICKWORK_CASES").ok().and_then(|v| v.parse().ok()).unwrap_or(40);
    let first: u64 = std::env::var("BRICKWORK_SEED").ok().and_then(|v| v.parse().ok()).unwrap_or(1);
    let mut refused = 0;
    for seed in first..first + cases {
        let all = seed % 3 == 0;
        let sample = random_case(seed, kind, size);
        match run(arch, &sample, seed, all) {
            Ok(done) => refused += !done as u64,
            Err(why) => {
                let small = shrink(&sample, 2000, |s| run(arch, s, seed, all).is_err());
                let reason = run(arch, &small, seed, all).err().unwrap_or_default();
                panic!("{kind:?} seed {seed}: {why}\nshrunk: {reason}\n{}", describe(&small));
            }
        }
    }
    println!("{kind:?}: {refused} of {cases} refused");
    assert!(cases < 10 || refused * 2 < cases, "{refused} of {cases} refused");
}

/// The executor would see a missing dependency: without the tokens of any one queue pair results go wrong.
#[test]
fn without_the_tokens_of_a_queue_pair_results_go_wrong() {
    let mut banded = arch("tiny").config;
    banded.banks.depth = 128;
    let machines = [cramped(), Arch::new(&banded)];
    let mut noticed = std::collections::BTreeMap::new();
    for seed in 0..400 {
        if noticed.len() == 8 && noticed.values().all(|n| *n) {
            break;
        }
        let arch = machines[seed as usize % 2].clone();
        let (kind, size) = if seed % 4 == 1 { (Kind::Conv, 24) } else { (Kind::Chain, 10) };
        let (graph, inputs) = random_case(seed, kind, size);
        let Ok(program) = compile(&graph, &arch, &Options::default()) else { continue };
        let expected = execute(&arch, &program, &inputs, seed).expect("the program is right");
        for from in Queue::ALL {
            for to in Queue::ALL {
                let mut broken = program.clone();
                let mut used = false;
                for i in &mut broken.instrs {
                    let Some(queue) = i.op().and_then(|o| o.def().queue) else { continue };
                    let (wait, signal) = (i.wait_mask(), i.signal_mask());
                    let masks = 0xffu128 << 112;
                    let wait = if queue == to { wait & !from.bit() } else { wait };
                    let signal = if queue == from { signal & !to.bit() } else { signal };
                    used |= wait != i.wait_mask();
                    *i = Instr(i.0 & !masks).wait(wait).signal(signal);
                }
                if used {
                    let wrong =
                        (0..4).any(|s| execute(&arch, &broken, &inputs, s).ok().as_ref() != Some(&expected));
                    *noticed.entry((from, to)).or_insert(false) |= wrong;
                }
            }
        }
    }
    assert_eq!(noticed.len(), 8, "{noticed:?}");
    assert!(noticed.values().all(|n| *n), "{noticed:?}");
}

/// Layers of few channels, folded and not: the same codes.
#[test]
fn folding_pixels_changes_no_output() {
    let mut used = [0; 2];
    for seed in 0..150 {
        let arch = arch(["tiny", "odd", "zynq7020"][seed as usize % 3]);
        let mut b = random_graphs::Builder::new(seed);
        let shape = [b.rng.size(1, 9), 4 * b.rng.size(1, 5), b.rng.pick(&[1, 2, 3, 4])];
        let ty = b.act_type();
        let mut t = b.input(shape, ty);
        for _ in 0..b.rng.size(1, 3) {
            let channels = b.rng.pick(&[1, 2, 4, 8, 16]);
            t = b.conv(t, channels, false);
            if b.rng.one_in(4) {
                t = b.pool(t, true, true);
            }
        }
        b.graph.outputs.push(t);
        let inputs = b.inputs();
        let expected = golden::run(&b.graph, &inputs).expect("runs");
        for all_tensors in [false, true] {
            let program =
                |fold| compile(&b.graph, &arch, &Options { all_tensors, fold, ..Options::default() });
            let (Ok(folded), Ok(plain)) = (program(true), program(false)) else { continue };
            used[all_tensors as usize] += (folded.instrs != plain.instrs) as u32;
            for program in [folded, plain] {
                let program = Program::from_bytes(&program.to_bytes()).expect("it is a program file");
                let region = execute(&arch, &program, &inputs, seed).expect("the program is right");
                let outputs = program.info.outputs.iter().zip(program.unpack_output(&region));
                for (t, codes) in program.unpack_intermediates(&region).into_iter().chain(outputs) {
                    if let Err(why) = compare(&t.name, t.shape, &codes, &expected[t.id]) {
                        panic!("seed {seed}: {why}\n{}", describe(&(b.graph.clone(), inputs.clone())));
                    }
                }
            }
        }
    }
    assert!(used.iter().all(|n| *n > 40), "folded programs: {used:?}");
}

/// Most tokens of each pair of queues that are under way in program order, and none missing.
fn most_tokens(program: &Program) -> [[i32; 4]; 4] {
    let (mut now, mut most) = ([[0; 4]; 4], [[0; 4]; 4]);
    for i in &program.instrs {
        let Some(own) = i.op().and_then(|o| o.def().queue) else { continue };
        for other in Queue::ALL {
            if i.wait_mask() & other.bit() != 0 {
                now[other.index()][own.index()] -= 1;
                assert!(now[other.index()][own.index()] >= 0, "a wait stands before its signal: {i}");
            }
            if i.signal_mask() & other.bit() != 0 {
                let n = &mut now[own.index()][other.index()];
                *n += 1;
                most[own.index()][other.index()] = (*n).max(most[own.index()][other.index()]);
            }
        }
    }
    most
}

#[test]
fn damaged_program_files_are_refused() {
    let arch = arch("tiny");
    let (graph, _) = random_case(3, Kind::Chain, 6);
    let program = compile(&graph, &arch, &Options::default()).expect("compiles");
    let bytes = program.to_bytes();
    assert_eq!(
        bytes,
        compile(&graph, &arch, &Options::default()).expect("compiles").to_bytes(),
        "deterministic"
    );
    assert_eq!(Program::from_bytes(&bytes), Ok(program));
    for n in [0, 3, 31, 40, bytes.len() / 2, bytes.len() - 1] {
        assert!(Program::from_bytes(&bytes[..n]).is_err(), "cut to {n}");
    }
    for at in [0, 4, 9, 60, bytes.len() / 2, bytes.len() - 20, bytes.len() - 1] {
        let mut bad = bytes.clone();
        bad[at] ^= 0x10;
        assert!(Program::from_bytes(&bad).is_err(), "byte {at} changed");
    }
}

/// A pretended failure of padded maximum pools: only such a pool is left, on a few pixels of a bit or two.
#[test]
fn failing_graphs_are_shrunk_to_what_fails() {
    let padded = |op: &Op| matches!(op, Op::Pool(p) if p.kind == PoolKind::Max && p.pads != [0; 4]);
    let fails = |(graph, _): &Sample| graph.nodes.iter().any(|n| padded(&n.op));
    let failing: Vec<Sample> =
        (1..600).map(|seed| random_case(seed, Kind::Network, 10)).filter(fails).take(8).collect();
    assert_eq!(failing.len(), 8);
    for sample in failing {
        let small = shrink(&sample, 4000, fails);
        let text = describe(&small);
        assert!(fails(&small) && golden::run(&small.0, &small.1).is_ok(), "{text}");
        assert_eq!(small.0.nodes.len(), 1, "{text}");
        let codes: usize = small.0.tensors.iter().map(|t| t.len()).sum();
        assert!(codes <= 12 && small.0.tensors[0].ty.bits <= 1, "{text}");
    }
}

/// Hundreds of small units, whose accumulators and parameters come around late: a token for each of them would overflow
/// its counter (of 255). The queues hold tokens beyond those under way in program order.
#[test]
fn many_small_units_do_not_overflow_a_token_counter() {
    let arch = arch("zynq7020");
    let mut b = random_graphs::Builder::new(1);
    let x = b.input([4, 7, 29], IntType { bits: 1, signed: false });
    let y = b.reshape(x, [28, 29, 1]);
    b.graph.outputs.push(y);
    let inputs = b.inputs();
    let program = compile(&b.graph, &arch, &Options::default()).expect("compiles");
    let most = most_tokens(&program).into_iter().flatten().max().unwrap_or(0);
    assert!((100..=150).contains(&most), "{most} tokens");
    let codes = program.unpack_output(&execute(&arch, &program, &inputs, 1).expect("runs"));
    assert_eq!(codes[0], inputs[0], "a reshape changes no code");
}

macro_rules! property {
    ($($name:ident, $config:expr, $kind:ident, $size:expr;)*) => {
        $(#[test]
        fn $name() {
            many(&arch($config), Kind::$kind, $size);
        })*
    };
}

property! {
    convolutions_tiny, "tiny", Conv, 12;
    convolutions_odd, "odd", Conv, 16;
    convolutions_two_bit_bricks, "bitfusion", Conv, 16;
    raw_results, "tiny", RawConv, 12;
    raw_results_odd, "odd", RawConv, 12;
    chains_tiny, "tiny", Chain, 12;
    chains_odd, "odd", Chain, 14;
    chains_zynq, "zynq7020", Chain, 20;
    pools_tiny, "tiny", Pool, 12;
    pools_two_bit_bricks, "bitfusion", Pool, 12;
    global_sums, "tiny", GlobalSum, 12;
    additions_tiny, "tiny", Add, 12;
    additions_odd, "odd", Add, 12;
    concatenations_tiny, "tiny", Concat, 10;
    concatenations_odd, "odd", Concat, 10;
    copies_tiny, "tiny", Copy, 10;
    copies_two_bit_bricks, "bitfusion", Copy, 10;
    dense_layers, "tiny", Dense, 8;
    dense_layers_odd, "odd", Dense, 8;
    reshapes, "tiny", Reshape, 6;
    convolutions_cramped, "cramped", Conv, 16;
    chains_cramped, "cramped", Chain, 10;
    pools_cramped, "cramped", Pool, 12;
    additions_cramped, "cramped", Add, 16;
    concatenations_cramped, "cramped", Concat, 12;
    copies_cramped, "cramped", Copy, 12;
    dense_layers_cramped, "cramped", Dense, 8;
    networks_tiny, "tiny", Network, 10;
    networks_two_bit_bricks, "bitfusion", Network, 10;
    networks_cramped, "cramped", Network, 8;
}
