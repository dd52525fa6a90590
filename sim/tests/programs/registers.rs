// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The registers over AXI4-Lite: interrupts, byte strobes, order of channels, back-pressure, access while running.

use crate::rng::Rng;
use crate::{arch, build, generate, memory_difference, rtl};
use brickwork_sim::cosim::protocol::Stop;
use brickwork_sim::cosim::{offset, Cosim, LiteAccess};
use brickwork_sim::image::{Image, MemoryTiming, RunOptions};
use hdl_gen::isa::{ErrorCode, Instr, Op, Queue, REGISTERS};
use hdl_gen::Arch;

const BUSY: u32 = 1;
const DONE: u32 = 2;
const ERROR: u32 = 4;

fn options(stall: u8) -> RunOptions {
    let timing = MemoryTiming { latency_cycles: 20, stall, seed: 5 };
    RunOptions { timing, watchdog_cycles: 1 << 20, faults: vec![] }
}

fn read(sim: &mut Cosim, name: &str) -> u32 {
    sim.session().and_then(|s| s.read(offset(name))).unwrap_or_else(|e| panic!("{name}: {e}"))
}

fn write(sim: &mut Cosim, name: &str, value: u32) {
    strobed(sim, name, value, 15);
}

fn strobed(sim: &mut Cosim, name: &str, value: u32, strobes: u8) {
    let access = LiteAccess { write: Some((offset(name), value, strobes)), ..LiteAccess::default() };
    sim.session().and_then(|s| s.access(access)).unwrap_or_else(|e| panic!("{name}: {e}"));
}

/// Whether the interrupt comes within `cycles`.
fn interrupted(sim: &mut Cosim, cycles: u64) -> bool {
    let ran = sim.session().and_then(|s| s.run(cycles)).unwrap_or_else(|e| panic!("{e}"));
    ran.stop == Stop::Irq
}

/// Runs without interrupt until STATUS is no longer busy.
fn finished(sim: &mut Cosim) -> u32 {
    for _ in 0..1000 {
        assert!(!interrupted(sim, 100), "an interrupt that is not enabled");
        let status = read(sim, "STATUS");
        if status & BUSY == 0 {
            return status;
        }
        assert_eq!(status & DONE, 0, "busy and done");
    }
    panic!("the run does not end")
}

/// A program that takes some hundred cycles, and one that fails at instruction 2.
fn programs(arch: &Arch) -> (Image, Image) {
    let begin = Instr::new(Op::Begin).with("hash", arch.hash as i64).expect("64 bits");
    let nops = Queue::ALL.map(crate::illegal::nop);
    let good = [&[begin], &nops.repeat(20)[..], &[Instr::new(Op::End)]].concat();
    let bad = vec![begin, nops[0], Instr(0xff << 120), Instr::new(Op::End)];
    let image = |program| Image { program, ..Image::default() };
    (image(good), image(bad))
}

#[test]
fn the_interrupt_is_enabled_shown_and_cleared_by_bit() {
    let mut sim = build(&arch());
    let (good, bad) = programs(&arch());
    sim.prepare(&good, &options(0).into()).expect("prepares");
    write(&mut sim, "CTRL", 1);
    assert_eq!(finished(&mut sim), DONE);
    assert_eq!(read(&mut sim, "IRQ_STATUS"), 1);
    write(&mut sim, "IRQ_ENABLE", 2);
    assert!(!interrupted(&mut sim, 20), "enabled is the error only");
    write(&mut sim, "IRQ_ENABLE", 1);
    assert!(interrupted(&mut sim, 20));
    for (value, strobes) in [(0, 15), (2, 15), (3, 0b1110)] {
        strobed(&mut sim, "IRQ_STATUS", value, strobes);
        assert_eq!(read(&mut sim, "IRQ_STATUS"), 1, "{value} with strobes {strobes:04b} clears nothing");
    }
    assert!(interrupted(&mut sim, 20));
    write(&mut sim, "IRQ_STATUS", 1);
    assert_eq!((read(&mut sim, "IRQ_STATUS"), read(&mut sim, "STATUS")), (0, DONE));
    assert!(!interrupted(&mut sim, 20));

    // Done and error of two runs stand side by side.
    write(&mut sim, "IRQ_ENABLE", 3);
    write(&mut sim, "CTRL", 1);
    assert_eq!(read(&mut sim, "STATUS") & DONE, 0, "a start takes `done` back");
    assert!(interrupted(&mut sim, 10_000));
    sim.prepare(&bad, &options(0).into()).expect("prepares");
    write(&mut sim, "IRQ_ENABLE", 0);
    write(&mut sim, "CTRL", 1);
    assert_eq!(finished(&mut sim), ERROR);
    assert_eq!(read(&mut sim, "IRQ_STATUS"), 3);
    assert_eq!(
        (read(&mut sim, "ERROR_CODE"), read(&mut sim, "ERROR_INSTR")),
        (ErrorCode::BadOpcode as u32, 2)
    );
    write(&mut sim, "IRQ_STATUS", 1);
    assert_eq!(read(&mut sim, "IRQ_STATUS"), 2);
    write(&mut sim, "IRQ_ENABLE", 1);
    assert!(!interrupted(&mut sim, 20), "enabled is done only");
    write(&mut sim, "IRQ_ENABLE", 2);
    assert!(interrupted(&mut sim, 20));

    // After an error nothing starts; the soft reset clears status and interrupt, not the settings.
    let cycles = read(&mut sim, "CYCLES_LO");
    write(&mut sim, "CTRL", 1);
    assert_eq!((read(&mut sim, "STATUS"), read(&mut sim, "CYCLES_LO")), (ERROR, cycles));
    write(&mut sim, "CTRL", 3);
    assert!(!interrupted(&mut sim, 100), "a reset clears the interrupt, and start beside reset is no start");
    let registers = ["STATUS", "IRQ_STATUS", "ERROR_CODE", "ERROR_INSTR", "IRQ_ENABLE"];
    assert_eq!(registers.map(|r| read(&mut sim, r)), [0, 0, 0, 0, 2]);
}

#[test]
fn the_watchdog_counts_from_the_start_on() {
    let mut sim = build(&arch());
    let (good, _) = programs(&arch());
    let options = RunOptions { watchdog_cycles: 500, ..options(0) };
    sim.prepare(&good, &options.into()).expect("prepares");
    write(&mut sim, "IRQ_ENABLE", 0);
    assert!(!interrupted(&mut sim, 2000), "nothing runs");
    write(&mut sim, "CTRL", 1);
    assert_eq!(finished(&mut sim), DONE);
}

#[test]
fn start_and_reset_need_their_byte() {
    let mut sim = build(&arch());
    let (good, _) = programs(&arch());
    sim.prepare(&good, &options(0).into()).expect("prepares");
    strobed(&mut sim, "CTRL", 1, 0b1110);
    assert_eq!(read(&mut sim, "STATUS"), 0);
    strobed(&mut sim, "CTRL", 1, 0b0001);
    assert_eq!(read(&mut sim, "STATUS"), BUSY);
    strobed(&mut sim, "CTRL", 2, 0b1110);
    strobed(&mut sim, "CTRL", 1, 0b1111); // a start while running is none
    assert_eq!(finished(&mut sim), DONE);
}

/// STATUS stays busy for the two cycles in which nothing is left to flush and for the four of the units' reset: a read that comes one
/// cycle later each time meets every one of them.
#[test]
fn a_soft_reset_is_busy_until_the_units_are_reset() {
    let mut sim = build(&arch());
    sim.prepare(&programs(&arch()).0, &options(0).into()).expect("prepares");
    let busy = |delay: u8| {
        let write = Some((offset("CTRL"), 2, 15));
        let access = LiteAccess { write, read: Some(offset("STATUS")), delays: [0, 0, 0, delay, 0] };
        let status = sim.session().and_then(|s| s.access(access)).unwrap_or_else(|e| panic!("{delay}: {e}"));
        if status & BUSY != 0 {
            '1'
        } else {
            '0'
        }
    };
    let seen: String = (0..20).map(busy).collect();
    assert_eq!(seen.trim_matches('0'), "111111", "STATUS.busy by cycle: {seen}");
    assert!(seen.starts_with('0') && seen.ends_with('0'), "{seen}");
}

/// The first accesses after `aresetn` count.
#[test]
fn registers_can_be_written_right_after_a_reset() {
    let mut sim = build(&arch());
    let (good, _) = programs(&arch());
    sim.prepare(&good, &options(0).into()).expect("prepares");
    let program = read(&mut sim, "PROGRAM");
    for first in ["PROGRAM", "CTRL"] {
        let session = sim.session().expect("runs");
        session.exec(&[brickwork_sim::cosim::protocol::Command::Reset { cycles: 16 }]).expect("resets");
        if first == "CTRL" {
            write(&mut sim, "CTRL", 1);
            assert_eq!(read(&mut sim, "STATUS") & BUSY, BUSY, "started at once, at address 0");
            sim.soft_reset().expect("resets");
            continue;
        }
        write(&mut sim, "PROGRAM", program);
        assert_eq!(read(&mut sim, "PROGRAM"), program);
        write(&mut sim, "CTRL", 1);
        assert_eq!(finished(&mut sim), DONE);
    }
}

/// What software may expect of the registers that it can write.
struct Expected {
    values: Vec<(u32, u32)>,
}

impl Expected {
    /// Bits that a register keeps.
    fn mask(name: &str) -> u32 {
        match name {
            "IRQ_ENABLE" => 3,
            "PROGRAM" => !15,
            "WATCHDOG" => !0,
            n if n.starts_with("BASE") => !7,
            _ => 0,
        }
    }

    fn new(sim: &mut Cosim) -> Self {
        let names = REGISTERS.iter().filter(|r| Expected::mask(r.name) != 0);
        Expected { values: names.map(|r| (r.offset, read(sim, r.name))).collect() }
    }

    fn get(&self, at: u32) -> Option<u32> {
        self.values.iter().find(|v| v.0 == at).map(|v| v.1)
    }

    fn write(&mut self, at: u32, value: u32, strobes: u8) {
        let Some(register) = REGISTERS.iter().find(|r| r.offset == at) else { return };
        let Some(cell) = self.values.iter_mut().find(|v| v.0 == at) else { return };
        let bytes: u32 = (0..4).filter(|b| strobes >> b & 1 == 1).map(|b| 0xff << (8 * b)).sum();
        let mask = bytes & Expected::mask(register.name);
        cell.1 = (cell.1 & !mask) | (value & mask);
    }
}

/// Random writes and reads, also at once, with random delays of all channels; against a model of the registers.
fn traffic(sim: &mut Cosim, rng: &mut Rng, accesses: u32, running: bool) {
    let mut expected = Expected::new(sim);
    for n in 0..accesses {
        let any = |rng: &mut Rng| match rng.percent(90) {
            true => REGISTERS[rng.below(REGISTERS.len() as u32) as usize].offset,
            false => 4 * rng.below(1024),
        };
        let name = |at: u32| REGISTERS.iter().find(|r| r.offset == at).map_or("none", |r| r.name);
        let at = any(rng);
        let kept = match name(at) {
            "CTRL" => true,
            // A run goes on undisturbed: no interrupt, no watchdog.
            "IRQ_ENABLE" | "WATCHDOG" => running,
            _ => false,
        };
        let write = (!kept && rng.percent(70)).then(|| (at, rng.next() as u32, rng.below(16) as u8));
        let at = any(rng);
        let read = (write.is_none() || rng.percent(60)).then_some(at);
        let delays = std::array::from_fn(|_| rng.pick(&[0, 0, 0, 1, 2, 3, 9]));
        let access = LiteAccess { write, read, delays };
        let before = read.and_then(|r| expected.get(r));
        if let Some((at, value, strobes)) = write {
            let locked = running && name(at) != "WATCHDOG";
            if !locked {
                expected.write(at, value, strobes);
            }
        }
        let got = sim.session().and_then(|s| s.access(access)).unwrap_or_else(|e| panic!("{access:?}: {e}"));
        let Some(at) = read else { continue };
        let allowed = [before, expected.get(at)];
        match name(at) {
            "none" | "CTRL" => assert_eq!(got, 0, "access {n} {access:?}"),
            _ if before.is_none() => {}
            _ => assert!(allowed.contains(&Some(got)), "access {n} {access:?}: {got:#x}, not {allowed:x?}"),
        }
    }
    for (at, value) in &expected.values {
        let got = sim.session().and_then(|s| s.read(*at)).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(got, *value, "register {at:#x} at the end");
    }
}

#[test]
fn accesses_in_any_order_and_pace_do_what_the_register_map_says() {
    let mut sim = build(&arch());
    let (good, _) = programs(&arch());
    for stall in [0, 120] {
        sim.prepare(&good, &options(stall).into()).expect("prepares");
        traffic(&mut sim, &mut Rng::new(stall as u64 + 11), 600, false);
        write(&mut sim, "IRQ_ENABLE", 0);
    }
}

/// A run does not care for what happens on its registers meanwhile: the settings of a run are locked, reads change nothing.
#[test]
fn accesses_while_running_disturb_nothing() {
    let arch = arch();
    let mut sim = build(&arch);
    let image = generate::case(&arch, 77, 6).image(&arch);
    let (memory, result) = rtl(&mut sim, &image, &options(0)).expect("runs");
    for seed in 0..3 {
        let mut rng = Rng::new(seed);
        sim.prepare(&image, &options(0).into()).expect("prepares");
        write(&mut sim, "IRQ_STATUS", 3);
        write(&mut sim, "IRQ_ENABLE", 0);
        write(&mut sim, "CTRL", 1);
        let mut seen = 0;
        // What is written after the end counts: `traffic` stops some time before.
        while seen + 1500 < result.cycles as u32 {
            traffic(&mut sim, &mut rng, 10, true);
            assert!(!interrupted(&mut sim, rng.below(60) as u64), "an interrupt that is not enabled");
            let cycles = read(&mut sim, "CYCLES_LO");
            assert!(cycles >= seen, "time runs backwards");
            seen = cycles;
        }
        assert_eq!((finished(&mut sim), read(&mut sim, "CYCLES_LO") as u64), (DONE, result.cycles));
        let mut got = image.clone();
        sim.read_back(&mut got).expect("reads");
        assert_eq!(memory_difference(&memory, &got), None, "seed {seed}");
    }
}
