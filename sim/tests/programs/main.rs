// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Random programs, instruction by instruction legal or illegal, on the generated Verilog.
//!
//! `BRICKWORK_CASES` sets how many each test runs, `BRICKWORK_SEED` the first seed, `BRICKWORK_CONFIG` the configuration (shipped, or see
//! `support/machines.rs`). A failure prints its seed and the
//! smallest program found that still fails; with `BRICKWORK_SHRINK=0` the first one.

mod coverage;
mod fuzz;
mod generate;
mod icarus;
mod illegal;
mod lint;
#[path = "../support/machines.rs"]
mod machines;
mod registers;
mod reset;
mod rng;
mod task;

/// Where `machines` looks for its random numbers.
mod random_graphs {
    pub use crate::rng::Rng;
}

use brickwork_sim::cosim::{BuildOptions, Cosim, CosimError, Reset};
use brickwork_sim::image::{Image, MemoryTiming, RunOptions, RunResult};
use brickwork_sim::machine::Machine;
use coverage::Coverage;
use fuzz::Fuzz;
use hdl_gen::isa::{Instr, LoadDst, Op, Queue};
use hdl_gen::Arch;
use task::{listing, shrink, Case, Set, Space, Task};

/// The architecture under test: `configs/$BRICKWORK_CONFIG.toml`, `tiny` without.
fn arch() -> Arch {
    machines::arch(&std::env::var("BRICKWORK_CONFIG").unwrap_or_else(|_| "tiny".into()))
}

fn env(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default)
}

/// Seeds of a test's cases; `salt` keeps the tests apart.
fn seeds(salt: u64, cases: u64) -> impl Iterator<Item = u64> {
    let first = env("BRICKWORK_SEED", 1) + salt * 1_000_000;
    first..first + env("BRICKWORK_CASES", cases)
}

fn build(arch: &Arch) -> Cosim {
    Cosim::build(arch, &BuildOptions::default()).unwrap_or_else(|e| panic!("{e}"))
}

fn timing(seed: u64, stall: u8) -> MemoryTiming {
    let latency_cycles = [1, 2, 3, 7, 19, 40, 100][(seed % 7) as usize];
    MemoryTiming { latency_cycles, stall, seed }
}

/// Memory and result after a run.
fn rtl(sim: &mut Cosim, image: &Image, options: &RunOptions) -> Result<(Image, RunResult), CosimError> {
    let mut image = image.clone();
    let result = sim.run_with(&mut image, &options.clone().into())?;
    Ok((image, result))
}

/// First difference of two memories.
fn memory_difference(expected: &Image, got: &Image) -> Option<String> {
    (0..4).find_map(|r| {
        let (a, b) = (&expected.regions[r], &got.regions[r]);
        let first = a.iter().zip(b).position(|(x, y)| x != y)?;
        let count = a.iter().zip(b).filter(|(x, y)| x != y).count();
        Some(format!(
            "region {r}: {count} bytes differ, first at 0x{first:x}: expected 0x{:02x}, got 0x{:02x}",
            a[first], b[first]
        ))
    })
}

/// Panics with the smallest failing part of `case`, if it fails. `check` gives the reason.
fn must_hold(arch: &Arch, case: &Case, mut check: impl FnMut(&Case) -> Option<String>) {
    let Some(first) = check(case) else { return };
    assert!(env("BRICKWORK_SHRINK", 1) != 0, "seed {}: {first}", case.seed);
    let small = shrink(case, |c| check(c).is_some());
    let reason = check(&small).unwrap_or_else(|| "not repeatable".into());
    let names: Vec<_> = small.groups.iter().map(|g| g.name).collect();
    panic!(
        "seed {} (serialized: {})\nwhole program: {first}\nshrunk to {names:?}: {reason}\n{}",
        case.seed,
        case.serialized,
        listing(&small.image(arch))
    );
}

/// What a run without stalls and serialized gives, the same program gives pipelined, with stalls, with other contents of
/// the machine at power-on, and after a reset in the middle.
#[test]
fn programs_agree_with_themselves() {
    let arch = arch();
    let mut sim = build(&arch);
    let mut other = Cosim::build(&arch, &BuildOptions { power_on_seed: 77, ..BuildOptions::default() })
        .unwrap_or_else(|e| panic!("{e}"));
    for seed in seeds(1, 8) {
        let case = generate::case(&arch, seed, 10);
        must_hold(&arch, &case, |case| {
            self_difference(&arch, &mut sim, &mut other, case).unwrap_or_else(|e| Some(e.to_string()))
        });
    }
}

fn self_difference(
    arch: &Arch,
    sim: &mut Cosim,
    other: &mut Cosim,
    case: &Case,
) -> Result<Option<String>, CosimError> {
    let options = |stall| RunOptions {
        timing: timing(case.seed, stall),
        watchdog_cycles: 20_000,
        ..RunOptions::default()
    };
    let slow = Case { serialized: true, ..case.clone() }.image(arch);
    let fast = Case { serialized: false, ..case.clone() }.image(arch);
    let (expected, first) = rtl(sim, &slow, &options(0))?;
    if first.error.is_some() {
        return Ok(Some(format!("serialized: {:?}", first.error)));
    }
    other.power_cycle();
    let moment = case.seed * 7919 % 6000;
    sim.run_and_reset(&mut fast.clone(), &options(60).into(), moment, Reset::Soft)?;
    for (name, anew, stall) in
        [("pipelined", false, 0), ("with stalls", false, 90), ("powered on anew", true, 0)]
    {
        let sim = if anew { &mut *other } else { &mut *sim };
        let (got, result) = rtl(sim, &fast, &options(stall))?;
        let marks = |r: &RunResult| r.marks.iter().map(|m| m.0).collect::<Vec<_>>();
        if result.error.is_some() {
            return Ok(Some(format!("{name}: {:?}", result.error)));
        }
        if marks(&first) != marks(&result) {
            return Ok(Some(format!("{name}: marks {:?}, serialized {:?}", marks(&result), marks(&first))));
        }
        if let Some(d) = memory_difference(&expected, &got) {
            return Ok(Some(format!("{name}: {d}")));
        }
    }
    Ok(None)
}

/// Loads a word again that a buffer holds, so that the last thing on the load unit's way to the banks is no bank word; its address is that of
/// a bank word that `later` groups read, if there is one.
fn word_once_more(arch: &Arch, groups: &[task::Group], later: &[task::Group]) -> task::Group {
    let last = |dst: LoadDst| {
        let tasks = groups.iter().flat_map(|g| &g.tasks);
        tasks.map(|t| t.main).rfind(|i| i.op() == Some(Op::Load) && i.get("dst") == dst as i64)
    };
    let single = |load: Instr, dst: LoadDst, word: i64| {
        let bytes = arch.load_beats(dst) as i64 * 8;
        let load = load.with("base", load.get("base") + word).and_then(|l| l.with("words", 1));
        load.and_then(|l| l.with("offset", l.get("offset") + word * bytes)).expect("a part of a load")
    };
    let words = |dst: LoadDst| {
        let load = last(dst);
        // A block that is striped over several ports stays whole.
        let each = move |l: Instr| {
            (0..l.get("words")).map(move |w| if arch.read_ports == 1 { single(l, dst, w) } else { l })
        };
        load.into_iter().flat_map(each)
    };
    let loads: Vec<Instr> = LoadDst::ALL.into_iter().filter(|d| *d != LoadDst::Act).flat_map(words).collect();
    let is_read = |load: &Instr| {
        let mut word = Set::default();
        word.add(Space::Bank, [load.get("base") as u32 % arch.bank_depth]);
        later.iter().flat_map(|g| &g.tasks).any(|t| t.reads.meets(&word))
    };
    let read: Vec<Instr> = loads.iter().copied().filter(is_read).collect();
    let chosen = if read.is_empty() { loads } else { read };
    let load = chosen[groups.len() * 7 % chosen.len()];
    let all = Queue::ALL.into_iter().map(Queue::bit).sum();
    task::Group { name: "once more", tasks: vec![Task { after: all, ..Task::new(load) }], droppable: false }
}

/// What a run leaves in the buffers the next one finds: a program cut into two runs gives what it gives as a whole. A run ends with all
/// units idle.
#[test]
fn a_program_in_two_runs_gives_the_same() {
    let arch = arch();
    let mut sim = build(&arch);
    for seed in seeds(9, 16) {
        let case = generate::case(&arch, seed, 8);
        let options =
            RunOptions { timing: timing(seed, 0), watchdog_cycles: 20_000, ..RunOptions::default() };
        let mut run = |image: &Image, about: &str| {
            let (memory, result) =
                rtl(&mut sim, image, &options).unwrap_or_else(|e| panic!("seed {seed}, {about}: {e}"));
            assert_eq!(result.error, None, "seed {seed}, {about}");
            let busy = sim.stats().busy.iter().flatten().find(|b| b.1 >= result.cycles);
            assert_eq!(busy, None, "seed {seed}, {about}: busy in the last cycle, {}", result.cycles);
            memory
        };
        let whole = run(&case.image(&arch), "whole");
        for cut in 1..case.groups.len() {
            let part = |groups: &[task::Group]| Case { groups: groups.to_vec(), ..case.clone() }.image(&arch);
            let first =
                [&case.groups[..cut], &[word_once_more(&arch, &case.groups[..cut], &case.groups[cut..])]]
                    .concat();
            let between = run(&part(&first), "first part");
            let second = Image { regions: between.regions, ..part(&case.groups[cut..]) };
            let difference = memory_difference(&whole, &run(&second, "second part"));
            assert_eq!(difference, None, "seed {seed}, cut at group {cut}");
        }
    }
}

/// Each kind of illegal program stops with its error at its instruction, and the machine works afterwards.
#[test]
fn illegal_programs_are_refused() {
    let arch = arch();
    let mut sim = build(&arch);
    for seed in seeds(2, 12) {
        let case = generate::case(&arch, seed, 3);
        let (expected, _) = rtl(&mut sim, &case.image(&arch), &illegal::options(seed))
            .unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        for kind in illegal::Kind::ALL {
            let Some(bad) = illegal::spoil(kind, &arch, &case, seed) else { continue };
            let (_, result) = rtl(&mut sim, &bad.image, &bad.options)
                .unwrap_or_else(|e| panic!("seed {seed} {kind:?}: {e}"));
            let (code, number) = result.error.unwrap_or_else(|| panic!("seed {seed} {kind:?}: no error"));
            assert_eq!(code, bad.code, "seed {seed} {kind:?} at {number}\n{}", listing(&bad.image));
            if let Some(at) = bad.number {
                assert_eq!(number, at, "seed {seed} {kind:?}\n{}", listing(&bad.image));
            }
            let (got, after) = rtl(&mut sim, &case.image(&arch), &illegal::options(seed))
                .unwrap_or_else(|e| panic!("seed {seed} after {kind:?}: {e}"));
            assert_eq!(after.error, None, "seed {seed} after {kind:?}");
            assert_eq!(memory_difference(&expected, &got), None, "seed {seed} after {kind:?}");
        }
    }
}

/// The machine model gives the RTL's results, marks, counters and cycles where the memory does not stall.
#[test]
fn the_machine_model_agrees_to_the_cycle() {
    let arch = arch();
    let mut sim = build(&arch);
    for seed in seeds(3, 30) {
        let case = generate::case(&arch, seed, 10);
        must_hold(&arch, &case, |case| {
            let options =
                RunOptions { timing: timing(case.seed, 0), watchdog_cycles: 20_000, ..RunOptions::default() };
            model_difference(&arch, &mut sim, &case.image(&arch), &options)
        });
    }
}

/// The model stops where the RTL stops: same code, same instruction, same cycle, same memory.
#[test]
fn the_machine_model_refuses_illegal_programs_alike() {
    let arch = arch();
    let mut sim = build(&arch);
    for seed in seeds(4, 12) {
        let case = generate::case(&arch, seed, 3);
        for kind in illegal::Kind::ALL {
            let Some(mut bad) = illegal::spoil(kind, &arch, &case, seed) else { continue };
            bad.options.timing.stall = 0;
            let difference = model_difference(&arch, &mut sim, &bad.image, &bad.options);
            assert_eq!(difference, None, "seed {seed} {kind:?}\n{}", listing(&bad.image));
        }
    }
}

/// Soft reset, soft reset in a soft reset, `aresetn`: at any moment; the next run is the same to the cycle.
#[test]
fn resets_at_any_moment_leave_no_trace() {
    reset::resets_leave_no_trace(&arch(), 6, 300);
}

#[test]
fn a_start_right_behind_a_reset_counts() {
    reset::a_start_right_behind_a_reset_counts(&arch(), 8, 100);
}

#[test]
#[ignore = "long: the largest shipped configuration"]
fn resets_of_zynq7020_at_any_moment_leave_no_trace() {
    reset::resets_leave_no_trace(&machines::arch("zynq7020"), 7, 300);
}

/// Programs of instructions with any field values, half of them with one of all possible faults.
#[test]
fn random_instructions_end_alike() {
    random_instructions("tiny", 5, 500);
}

/// The same on machines that other tests build, too.
#[test]
fn random_instructions_end_alike_on_odd_machines() {
    for (salt, name) in ["odd", "cramped", "two_bit", "drawn_1", "drawn_2"].into_iter().enumerate() {
        random_instructions(name, 10 + salt as u64, 60);
    }
}

#[test]
#[ignore = "long: thousands of programs, a dozen of machines"]
fn many_random_instructions_end_alike() {
    random_instructions("tiny", 20, 4000);
    for (salt, name) in ["odd", "cramped", "two_bit", "bitfusion", "zynq7020"].into_iter().enumerate() {
        random_instructions(name, 21 + salt as u64, 500);
    }
    for seed in 1..=10 {
        random_instructions(&format!("drawn_{seed}"), 30 + seed, 500);
    }
}

/// Programs and causes of errors on a machine; from 500 programs on `tiny` all of them must have been met. Which values can
/// be drawn depends on the machine: on the others the rarest value of a field may be missing.
fn random_instructions(name: &str, salt: u64, cases: u64) {
    let arch = machines::arch(name);
    let mut sim = build(&arch);
    let mut coverage = Coverage::default();
    let mut count = 0;
    for seed in seeds(salt, cases) {
        fuzz_case(&arch, &mut sim, seed, &mut coverage);
        count += 1;
    }
    println!("{name}: {coverage}");
    if name == "tiny" && count >= 500 {
        assert_eq!(coverage.missing(&arch), Vec::<String>::new(), "{name}: {coverage}");
    }
}

fn fuzz_case(arch: &Arch, sim: &mut Cosim, seed: u64, coverage: &mut Coverage) {
    let name = &arch.config.name;
    let case = fuzz::program(arch, seed);
    let result = fuzz_difference(arch, sim, &case).unwrap_or_else(|reason| {
        assert!(env("BRICKWORK_SHRINK", 1) != 0, "{name}, seed {seed} {:?}: {reason}", case.cause);
        let (small, reason) = shrink_fuzz(arch, sim, &case).unwrap_or((case.image.clone(), reason));
        panic!(
            "{name}, seed {seed} {:?}, defined: {}\n{reason}\n{}",
            case.cause,
            case.defined,
            listing(&small)
        )
    });
    let at = result.error.map_or(usize::MAX, |e| e.1 as usize);
    case.image.program.iter().take(at.saturating_add(1)).for_each(|i| coverage.instruction(*i));
    match result.error {
        None => coverage.complete += 1,
        Some((code, _)) => {
            coverage.failed += 1;
            case.cause.filter(|c| fuzz::code(*c) == code).into_iter().for_each(|c| coverage.cause(c));
        }
    }
}

/// The result, where RTL and model agree.
fn fuzz_difference(arch: &Arch, sim: &mut Cosim, case: &Fuzz) -> Result<RunResult, String> {
    let (memory, result) = rtl(sim, &case.image, &case.options).map_err(|e| e.to_string())?;
    let mut modelled = case.image.clone();
    let model = Machine::new(arch).run(&mut modelled, &case.options);
    if model != result {
        return Err(format!("RTL   {result:?}\nmodel {model:?}"));
    }
    match memory_difference(&memory, &modelled).filter(|_| case.defined) {
        Some(d) => Err(format!("the RTL is expected, the model got: {d}")),
        None => Ok(result),
    }
}

/// The shortest part of `case` found that still differs, and how.
fn shrink_fuzz(arch: &Arch, sim: &mut Cosim, case: &Fuzz) -> Option<(Image, String)> {
    let mut best = None;
    let mut keep = vec![true; case.len()];
    for n in (0..keep.len()).rev() {
        keep[n] = false;
        let smaller = case.only(&keep)?;
        match fuzz_difference(arch, sim, &smaller) {
            Err(reason) => best = Some((smaller.image, reason)),
            Ok(_) => keep[n] = true,
        }
    }
    best
}

fn model_difference(arch: &Arch, sim: &mut Cosim, image: &Image, options: &RunOptions) -> Option<String> {
    let (memory, result) = match rtl(sim, image, options) {
        Ok(pair) => pair,
        Err(e) => return Some(e.to_string()),
    };
    let mut modelled = image.clone();
    let model = Machine::new(arch).run(&mut modelled, options);
    if model != result {
        return Some(format!(
            "latency {}:\n RTL   {result:?}\n model {model:?}",
            options.timing.latency_cycles
        ));
    }
    memory_difference(&memory, &modelled).map(|d| format!("the RTL is expected, the model got: {d}"))
}

/// The generator's promise: programs are made of legal instructions, and every token given is taken.
#[test]
fn generated_programs_are_well_formed() {
    let arch = arch();
    for seed in seeds(0, 50) {
        let mut case = generate::case(&arch, seed, 12);
        for _ in 0..3 {
            let image = case.image(&arch);
            let mut balance = [[0i64; 4]; 4];
            for i in &image.program {
                let Some(q) = i.op().expect("legal opcode").def().queue else { continue };
                for other in hdl_gen::isa::Queue::ALL {
                    balance[q.index()][other.index()] += (i.signal_mask() >> other.index() & 1) as i64;
                    balance[other.index()][q.index()] -= (i.wait_mask() >> other.index() & 1) as i64;
                    assert!(
                        balance[other.index()][q.index()] >= 0,
                        "seed {seed}: a token is taken before it is given"
                    );
                }
            }
            assert_eq!(balance, [[0; 4]; 4], "seed {seed}: tokens are left over\n{}", listing(&image));
            case.groups.remove(case.groups.len() / 2);
            case.serialized = !case.serialized;
        }
    }
}
