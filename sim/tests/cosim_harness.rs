// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The harness itself: memory model, AXI checks, error paths. The device under test is a small copier that breaks one
//! rule on demand (`fixtures/copy_top.v`); these tests are how we know that each check can fail.

use brickwork_sim::cosim::{
    BuildOptions, Cosim, CosimError, CosimOptions, LiteAccess, Reset, Trace, TraceFrom,
};
use brickwork_sim::image::{region_base, Fault, Image, MemoryTiming, RunOptions};
use hdl_gen::emit::RtlFile;
use hdl_gen::isa::{ErrorCode, Instr, VERSION_VALUE};
use hdl_gen::{Arch, Config};

fn tiny() -> Arch {
    let config: Config = toml::from_str(include_str!("../../configs/tiny.toml")).expect("tiny.toml is valid");
    Arch::new(&config)
}

fn copier_text() -> String {
    include_str!("fixtures/copy_top.v")
        .replace("HASH = 64'h0;", &format!("HASH = 64'h{:016x};", tiny().hash))
        .replace("VERSION = 32'h0;", &format!("VERSION = 32'h{VERSION_VALUE:08x};"))
}

fn build(text: String, trace: bool) -> Result<Cosim, CosimError> {
    let rtl = vec![RtlFile { name: "brickwork_top.v".into(), text }];
    Cosim::build_rtl(&tiny(), rtl, &BuildOptions { trace, ..BuildOptions::default() })
}

fn copier() -> Cosim {
    build(copier_text(), false).expect("the copier builds")
}

fn image(mode: u16, beats: u16) -> Image {
    let bytes = beats as usize * 8;
    let input = (0..bytes).map(|i| (i * 7 + i / 256) as u8).collect();
    Image {
        program: vec![Instr((mode as u128) << 16 | beats as u128)],
        regions: [vec![], input, vec![0; bytes], vec![]],
    }
}

fn options(timing: MemoryTiming) -> CosimOptions {
    RunOptions { timing, ..RunOptions::default() }.into()
}

fn stalls(seed: u64) -> MemoryTiming {
    MemoryTiming { latency_cycles: 5, stall: 100, seed }
}

#[test]
fn copies_with_and_without_stalls() {
    let mut sim = copier();
    for seed in 0..20 {
        let timing = if seed == 0 { MemoryTiming::default() } else { stalls(seed) };
        let mut image = image(0, 1 + 37 * seed as u16);
        let result = sim.run(&mut image, &timing).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        assert_eq!(result.error, None, "seed {seed}");
        assert_eq!(image.regions[1], image.regions[2], "seed {seed}");
        assert_eq!(result.marks.len(), 1);
        assert_eq!(result.marks[0].0, 0x1234);
        assert_eq!(result.marks[0].1 + 1, result.cycles, "the mark comes in the last cycle");
    }
}

/// The rules in `axi.h`, counted by hand for a design that does one thing after another: per burst of n beats AR 1, wait
/// latency - 1, data n, AW 1, data n, wait latency - 1, B 1.
#[test]
fn keeps_its_timing_rules() {
    let mut sim = copier();
    for latency_cycles in [1, 2, 40] {
        for beats in [1u64, 16, 48] {
            let timing = MemoryTiming { latency_cycles, ..MemoryTiming::default() };
            let result = sim.run(&mut image(0, beats as u16), &timing).expect("runs");
            let (latency, bursts) = (latency_cycles as u64, beats.div_ceil(16));
            let fetch = 1 + (latency - 1) + 2;
            let copy = bursts * (1 + (latency - 1) + 1 + (latency - 1) + 1) + 2 * beats;
            assert_eq!(result.cycles, fetch + copy, "latency {latency} beats {beats}");
        }
    }
}

#[test]
fn a_bandwidth_limit_slows_down() {
    let mut sim = copier();
    let free = sim.run_with(&mut image(0, 512), &options(MemoryTiming::default())).expect("runs");
    let mut limited = options(MemoryTiming::default());
    limited.beats_per_256 = 64;
    let slow = sim.run_with(&mut image(0, 512), &limited).expect("runs");
    assert!(slow.cycles >= 4 * 2 * 512, "1024 beats at a quarter beat per cycle, not {} cycles", slow.cycles);
    assert!(free.cycles < slow.cycles);
}

#[test]
fn reports_ports_busy_times_and_speed() {
    let mut sim = copier();
    let result = sim.run(&mut image(0, 40), &MemoryTiming::default()).expect("runs");
    let stats = sim.stats();
    let beats: Vec<_> = stats.ports.iter().map(|p| (p.port.as_str(), p.bursts, p.beats)).collect();
    assert_eq!(beats, [("if", 1, 2), ("ld0", 3, 40), ("st", 3, 40)]);
    assert_eq!((stats.busy[0].len(), stats.busy[3].len()), (3, 3));
    assert!(stats.busy[1].is_empty());
    assert_eq!(stats.busy[3][2].1, result.cycles);
    // The run begins while the write of CTRL is being answered.
    assert!(stats.simulated_cycles + 4 >= result.cycles);
    assert!(stats.cycles_per_second() > 1000.0);
}

/// Every broken rule is found, by its name and what was wrong.
#[test]
fn finds_each_broken_rule() {
    let rules = [
        (1, "ld0", "VALID_STABLE", "arvalid"),
        (2, "ld0", "PAYLOAD_STABLE", "ar payload"),
        (3, "ld0", "BOUNDARY_4K", ""),
        (4, "st", "WLAST", "wlast is 1"),
        (5, "ld0", "SIZE", ""),
        (6, "ld0", "INCR", ""),
        (7, "ld0", "LENGTH", ""),
        (8, "st", "PAYLOAD_STABLE", "w payload"),
        (9, "st", "OUTSTANDING", "responses"),
        (10, "st", "DATA_WITHOUT_ADDRESS", ""),
        (11, "ld0", "ALIGN", ""),
        (12, "s_axil", "UNEXPECTED", "rvalid"),
        (15, "st", "VALID_STABLE", "awvalid"),
        (16, "st", "PAYLOAD_STABLE", "aw payload"),
        (17, "st", "VALID_STABLE", "wvalid"),
        (18, "st", "WLAST", "wlast is 0"),
        (19, "ld0", "OUTSTANDING", "read bursts"),
        (20, "s_axil", "VALID_STABLE", "bvalid"),
        (21, "s_axil", "VALID_STABLE", "rvalid"),
        (22, "s_axil", "UNEXPECTED", "bvalid"),
        (23, "s_axil", "EXOKAY", "bresp"),
        (24, "s_axil", "EXOKAY", "rresp"),
        (25, "s_axil", "NO_RESPONSE", ""),
        (26, "st", "OUTSTANDING", "lack their data"),
        (27, "ld0", "CACHE", "arcache is 2"),
        (28, "ld0", "PROT", "arprot is 1"),
        (29, "st", "CACHE", "awcache is 7"),
        (30, "st", "PROT", "awprot is 2"),
    ];
    let mut sim = copier();
    for (mode, port, rule, detail) in rules {
        // Some show at the end of the run; 520 beats reach a 4 KiB boundary.
        let at_end = [9, 10, 19, 26].contains(&mode);
        let timing = if at_end { MemoryTiming::default() } else { stalls(3) };
        let run = sim.run(&mut image(mode, if mode == 10 { 8 } else { 520 }), &timing);
        let found = match run.map(drop).and_then(|()| slow_access(&mut sim)) {
            Err(CosimError::Violations(list)) => list,
            other => panic!("mode {mode}: {other:?}"),
        };
        assert_eq!(
            (found[0].port.as_str(), found[0].rule.as_str()),
            (port, rule),
            "mode {mode}: {}",
            found[0]
        );
        assert!(found[0].detail.contains(detail), "mode {mode}: {}", found[0]);
        // The next run starts a new process.
        let mut good = image(0, 20);
        sim.run(&mut good, &stalls(1)).expect("runs again");
        assert_eq!(good.regions[1], good.regions[2]);
    }
}

/// A write and a read whose responses have to wait.
fn slow_access(sim: &mut Cosim) -> Result<(), CosimError> {
    let access = LiteAccess { write: Some((0x18, 0, 15)), read: Some(0), delays: [0, 0, 5, 0, 5] };
    sim.session()?.access(access).map(drop)
}

#[test]
fn finds_each_valid_in_reset() {
    let signals =
        [("if", "arvalid"), ("st", "awvalid"), ("st", "wvalid"), ("s_axil", "bvalid"), ("s_axil", "rvalid")];
    for (n, (port, signal)) in signals.into_iter().enumerate() {
        let text = copier_text()
            .replace("VALID_IN_RESET = 5'b00000", &format!("VALID_IN_RESET = 5'b{:05b}", 1 << n));
        let mut sim = build(text, false).expect("builds");
        match sim.run(&mut image(0, 1), &MemoryTiming::default()) {
            Err(CosimError::Violations(list)) => {
                assert_eq!((list[0].port.as_str(), list[0].rule.as_str()), (port, "RESET"), "{}", list[0]);
                assert!(list[0].detail.contains(signal), "{}", list[0]);
            }
            other => panic!("{signal}: {other:?}"),
        }
    }
}

#[test]
fn bus_errors_reach_the_design_and_soft_reset_brings_it_back() {
    let mut sim = copier();
    for (region, code) in [(1, ErrorCode::BusRead), (2, ErrorCode::BusWrite)] {
        let fault = Fault { start: region_base(region) + 200, bytes: 8, decerr: region == 1 };
        let run = RunOptions { timing: stalls(9), faults: vec![fault], ..RunOptions::default() };
        let mut broken = image(0, 40);
        let result = sim.run_with(&mut broken, &run.into()).expect("runs");
        assert_eq!(result.error, Some((code, 0)));
        assert_eq!(broken.regions[1][..128], broken.regions[2][..128], "the first burst is copied");
        assert_eq!(broken.regions[2][200..208], [0; 8], "the faulty beat is not stored");
        let mut good = image(0, 40);
        assert_eq!(sim.run(&mut good, &MemoryTiming::default()).expect("runs").error, None);
        assert_eq!(good.regions[1], good.regions[2]);
    }
}

#[test]
fn resets_in_the_middle() {
    let mut sim = copier();
    for cycles in (1..400).step_by(13) {
        let timing = stalls(cycles);
        let options = options(timing);
        let moment = sim.run_and_reset(&mut image(0, 600), &options, cycles, Reset::Soft).expect("resets");
        assert!(moment.running);
        let mut again = image(0, 33);
        assert_eq!(sim.run(&mut again, &timing).expect("runs").error, None, "after {cycles} cycles");
        assert_eq!(again.regions[1], again.regions[2], "after {cycles} cycles");
    }
    let last = sim.run_and_reset(&mut image(0, 1), &options(stalls(1)), 100_000, Reset::Soft);
    assert!(!last.expect("resets").running);
}

#[test]
fn memory_ends_at_the_end_of_a_region() {
    let mut sim = copier();
    let mut short = image(0, 10);
    short.regions[1].truncate(77);
    short.regions[2].truncate(75);
    short.regions[2].fill(0xff);
    sim.run(&mut short, &MemoryTiming::default()).expect("runs");
    assert_eq!(short.regions[2].len(), 75);
    assert_eq!(short.regions[1][..75], short.regions[2][..]);
    let mut longer = image(0, 10);
    longer.regions[1].truncate(77);
    sim.run(&mut longer, &MemoryTiming::default()).expect("runs");
    assert_eq!(longer.regions[2][77..], [0; 3], "beyond the end of a region reads give 0");
}

#[test]
fn a_design_that_hangs_or_dies_gives_an_error() {
    let mut sim = copier();
    match sim.run(&mut image(13, 1), &MemoryTiming::default()) {
        Err(CosimError::NotFinished { why, .. }) => assert!(why.contains("nothing moved"), "{why}"),
        other => panic!("{other:?}"),
    }
    match sim.run(&mut image(14, 1), &MemoryTiming::default()) {
        Err(CosimError::Died { stderr, .. }) => assert!(stderr.contains("brickwork_top.v"), "{stderr}"),
        other => panic!("{other:?}"),
    }
    let mut limited = options(MemoryTiming::default());
    limited.max_cycles = 50;
    match sim.run_with(&mut image(0, 100), &limited) {
        Err(CosimError::NotFinished { cycles: 50, .. }) => {}
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_design_that_does_not_compile_shows_the_log() {
    let text = copier_text().replace("reg [3:0]  state_q;", "");
    match build(text, false) {
        Err(e @ CosimError::BuildFailed { .. }) => {
            let message = e.to_string();
            assert!(message.contains("state_q") && message.contains("build.log"), "{message}");
        }
        other => panic!("{:?}", other.map(|_| ())),
    }
}

#[test]
fn another_design_is_refused() {
    let text = copier_text().replace("32'h4252_574b", "32'h1234_5678");
    match build(text, false).expect("builds").run(&mut image(0, 1), &MemoryTiming::default()) {
        Err(CosimError::WrongDesign { register: "ID", got: 0x1234_5678, .. }) => {}
        other => panic!("{other:?}"),
    }
}

#[test]
fn records_waveforms_on_demand() {
    let dir = std::env::temp_dir().join(format!("brickwork-trace-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("makes a directory");
    let mut traced = options(MemoryTiming::default());
    let trace = |from| Some(Trace { path: dir.join("t.fst"), from, cycles: 1000 });
    traced.trace = trace(TraceFrom::Cycle(0));
    assert!(matches!(copier().run_with(&mut image(0, 40), &traced), Err(CosimError::NoTrace)));

    let mut sim = build(copier_text(), true).expect("builds");
    let mut size = |sim: &mut Cosim, from| {
        traced.trace = trace(from);
        sim.run_with(&mut image(0, 40), &traced).expect("runs");
        std::fs::metadata(dir.join("t.fst")).expect("the trace exists").len()
    };
    let whole = size(&mut sim, TraceFrom::Cycle(0));
    let end = size(&mut sim, TraceFrom::Mark(0x1234));
    assert!(whole > end && end > 100, "whole {whole} bytes, from the mark {end} bytes");
    std::fs::remove_dir_all(&dir).expect("removes the directory");
}

#[test]
fn parallel_builds_of_one_design_share_it() {
    let dir = std::env::temp_dir().join(format!("brickwork-cache-{}", std::process::id()));
    let rtl = vec![RtlFile { name: "brickwork_top.v".into(), text: copier_text() }];
    let options = BuildOptions { cache_dir: Some(dir.clone()), ..BuildOptions::default() };
    let build =
        || Cosim::build_rtl(&tiny(), rtl.clone(), &options).expect("builds").executable().to_path_buf();
    let paths: Vec<_> = std::thread::scope(|s| {
        let threads: Vec<_> = (0..3).map(|_| s.spawn(build)).collect();
        threads.into_iter().map(|t| t.join().expect("no panic")).collect()
    });
    assert!(paths.iter().all(|p| *p == paths[0] && p.is_file()));
    std::fs::remove_dir_all(&dir).expect("removes the directory");
}
