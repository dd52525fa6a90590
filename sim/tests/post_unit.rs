// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The emitted `post_unit` under Verilator against its machine model: contents of banks and memory always, every event in
//! its cycle where the memory does not stall. Random programs; `BRICKWORK_SEED` sets the seed, a failure prints it.

mod support;

use brickwork_sim::image::{region_base, Fault, MemoryTiming, RunOptions};
use brickwork_sim::machine::buffers::Buffers;
use brickwork_sim::machine::post::PostUnit;
use brickwork_sim::machine::unit::{Command, Unit};
use hdl_gen::isa::{Instr, Op};
use hdl_gen::numfmt::ChannelParams;
use hdl_gen::{Arch, Config};
use std::fmt::Write as _;
use support::post_bench::{Bench, Outcome};
use support::random::Random;

const REGION_BYTES: usize = 48 * 1024;

/// One program for the unit.
struct Case {
    /// Idle cycles before the command, the command.
    commands: Vec<(u64, Instr)>,
    options: RunOptions,
    flush_at: Option<u64>,
}

fn config(text: &str, change: impl FnOnce(&mut Config)) -> Arch {
    let mut config: Config = toml::from_str(text).expect("a configuration of ours");
    change(&mut config);
    Arch::new(&config)
}

fn small_buffers(c: &mut Config) {
    c.requantize.param_depth = 32;
    c.accumulators.depth = 64;
    c.banks.depth = 256;
}

#[test]
fn post_tiny() {
    check(&config(include_str!("../../configs/tiny.toml"), |c| c.requantize.param_depth = 32), "tiny", 400);
}

#[test]
fn post_zynq_lanes() {
    check(&config(include_str!("../../configs/zynq7020.toml"), small_buffers), "zynq", 250);
}

#[test]
fn post_odd() {
    check(&config(include_str!("../../configs/odd.toml"), small_buffers), "odd", 250);
}

#[test]
fn post_brick2() {
    let change = |c: &mut Config| {
        small_buffers(c);
        c.array.brick_bits = 2;
        c.requantize.bipolar = false;
    };
    check(&config(include_str!("../../configs/tiny.toml"), change), "brick2", 200);
}

#[test]
fn post_without_options() {
    let change = |c: &mut Config| {
        small_buffers(c);
        c.array.lanes = 32;
        c.array.columns = 64;
        c.requantize.lanes = 8;
        c.requantize.table = false;
        c.requantize.add = false;
        c.requantize.bipolar = false;
        c.axi.burst_beats = 64;
    };
    check(&config(include_str!("../../configs/tiny.toml"), change), "plain", 200);
}

/// Blocks of 20 channels: five beats, a bank word of 80 bits, which takes two words in DRAM.
#[test]
fn post_wide_bank_words() {
    let change = |c: &mut Config| {
        small_buffers(c);
        c.array.lanes = 20;
        c.requantize.table = false;
        c.axi.burst_beats = 2;
    };
    check(&config(include_str!("../../configs/tiny.toml"), change), "k20", 150);
}

fn check(arch: &Arch, name: &str, cases: usize) {
    let seed = std::env::var("BRICKWORK_SEED").map_or(1, |s| s.parse().expect("BRICKWORK_SEED is a number"));
    let mut bench = Bench::start(arch, name);
    let mut random = Random::new(seed);
    let mut buffers = Buffers::new(arch);
    let mut events = 0;
    for n in 0..cases {
        if n % 5 == 0 {
            fill(arch, &mut random, &mut buffers, bench.input());
        }
        let case = match n {
            0 => long_store(arch, 0),
            1 => long_store(arch, 200),
            _ => random_case(arch, &mut random),
        };
        let measured = bench.run(&lines(&case));
        let place = format!("{name}, seed {seed}, case {n}: {:#?}", case.commands);
        assert!(measured.rules.is_empty(), "{:?}\n{place}", measured.rules);
        let expected = model(arch, &case, &buffers, false);
        if let Some(cycle) = case.flush_at {
            dropped(&case, &expected, &measured, cycle, &place);
            continue;
        }
        assert_eq!(model(arch, &case, &buffers, true), expected, "skipped cycles\n{place}");
        compare(&case, &expected, &measured, &place);
        events += expected.events.len();
    }
    assert!(events > 20 * cases, "{name}: the programs hardly do anything: {events} events");
}

/// A flush in `cycle` drops the post at work: until then all is as expected, behind it nothing is read or written any more.
fn dropped(case: &Case, expected: &Outcome, measured: &Outcome, cycle: u64, place: &str) {
    let time = |e: &String| {
        let word = e.split(' ').nth(1).expect("kind, cycle");
        u64::from_str_radix(word, 16).expect("a hexadecimal cycle")
    };
    let before = |o: &Outcome| o.events.iter().filter(|e| time(e) < cycle).cloned().collect::<Vec<_>>();
    if case.options.timing.stall == 0 {
        assert_eq!(before(measured), before(expected), "before the flush in cycle {cycle}\n{place}");
    }
    let late = measured.events.iter().find(|e| e.starts_with(['f', 'b']) && time(e) > cycle);
    assert_eq!(late, None, "behind the flush in cycle {cycle}\n{place}");
}

fn compare(case: &Case, expected: &Outcome, measured: &Outcome, place: &str) {
    if case.options.timing.stall == 0 {
        let first = expected.events.iter().zip(&measured.events).position(|(e, m)| e != m);
        let first = first.unwrap_or(expected.events.len().min(measured.events.len()));
        let from = first.saturating_sub(3);
        let window = |o: &Outcome| o.events.iter().skip(from).take(10).cloned().collect::<Vec<_>>();
        assert!(
            expected.events == measured.events,
            "events from number {from}: model {:?}, RTL {:?}\n{place}",
            window(expected),
            window(measured)
        );
    }
    let count = |o: &Outcome, kind: &str| o.events.iter().filter(|e| e.starts_with(kind)).count();
    for kind in ["s", "m", "b", "f", "e"] {
        assert_eq!(count(expected, kind), count(measured, kind), "events `{kind}`\n{place}");
    }
    let difference = expected.contents.iter().find(|(at, v)| measured.contents.get(*at) != Some(v));
    let surplus = measured.contents.iter().find(|(at, v)| expected.contents.get(*at) != Some(v));
    assert!(
        difference.is_none() && surplus.is_none(),
        "model has {difference:x?}, RTL has {surplus:x?} (and at the model's place {:x?})\n{place}",
        difference.and_then(|(at, _)| measured.contents.get(at))
    );
}

/// Runs the model as the control would; `skip`: jumps over its quiet cycles.
fn model(arch: &Arch, case: &Case, contents: &Buffers, skip: bool) -> Outcome {
    let mut unit = PostUnit::new(arch, &case.options);
    let mut buffers = contents.clone();
    let blank = u64::MAX >> (64 - arch.lanes);
    buffers.banks.fill(blank);
    let mut regions: [Vec<u8>; 4] = std::array::from_fn(|_| vec![0; REGION_BYTES]);
    let mut outcome = Outcome::default();
    let (mut t, mut next, mut quiet) = (0u64, 0, 0);
    let mut delay = case.commands.first().map_or(0, |c| c.0);
    while quiet < 60 && t < 2_000_000 {
        let offered = case.commands.get(next).filter(|_| delay == 0).map(|c| c.1);
        if skip && offered.is_none_or(|i| !unit.ready(i)) {
            let most = if delay > 0 { delay } else { u64::MAX };
            let cycles = unit.quiet_cycles().min(most);
            if cycles > 0 && cycles < u64::MAX {
                unit.skip(cycles);
                t += cycles;
                delay = delay.saturating_sub(cycles);
                continue;
            }
        }
        let (mark, error) = (unit.mark(), unit.error());
        if unit.feeds() {
            outcome.events.push(format!("f {t:x}"));
        }
        if unit.writes_bank() {
            outcome.events.push(format!("b {t:x}"));
        }
        let command = offered.filter(|i| unit.ready(*i)).map(|instr| Command { instr, pc: next as u32 });
        quiet = if next == case.commands.len() && !unit.busy() { quiet + 1 } else { 0 };
        if let Some(c) = command {
            unit.execute(c, &mut buffers, &mut regions);
        }
        let signal = unit.tick(command);
        if signal != 0 {
            outcome.events.push(format!("s {t:x} {signal:x}"));
        }
        outcome.events.extend(mark.map(|id| format!("m {t:x} {id:x}")));
        outcome.events.extend(error.map(|(code, pc)| format!("e {t:x} {:x} {pc:x}", code as u32)));
        t += 1;
        delay = delay.saturating_sub(1);
        if command.is_some() {
            next += 1;
            delay = case.commands.get(next).map_or(0, |c| c.0);
        }
    }
    assert!(t < 2_000_000, "the model hangs");
    for (at, v) in buffers.banks.iter().enumerate().filter(|(_, v)| **v != blank) {
        outcome.contents.insert(format!("bank {at:x}"), *v);
    }
    for (r, region) in regions.iter().enumerate() {
        for (i, word) in region.chunks_exact(8).enumerate() {
            let v = u64::from_le_bytes(word.try_into().expect("eight bytes"));
            if v != 0 {
                outcome.contents.insert(format!("mem {r:x} {:x}", i * 8), v);
            }
        }
    }
    outcome
}

fn lines(case: &Case) -> String {
    let mut text = String::new();
    let o = &case.options;
    for r in 0..4 {
        let _ = writeln!(text, "region {r} {REGION_BYTES:x}");
    }
    for f in &o.faults {
        let _ = writeln!(text, "fault {:x} {:x} {}", f.start, f.bytes, if f.decerr { 3 } else { 2 });
    }
    for (pc, (delay, i)) in case.commands.iter().enumerate() {
        let _ = writeln!(text, "cmd {delay:x} {pc:x} {:x} {:x}", (i.0 >> 64) as u64, i.0 as u64);
    }
    if let Some(cycle) = case.flush_at {
        let _ = writeln!(text, "flush {cycle:x}");
    }
    let _ = writeln!(text, "run {:x} {:x} {:x}", o.timing.latency_cycles, o.timing.stall, o.timing.seed);
    text
}

/// New contents of accumulators, sums, parameters and table, in `buffers` and as lines for the bench.
fn fill(arch: &Arch, r: &mut Random, buffers: &mut Buffers, text: &mut String) {
    for pixel in 0..arch.acc_depth as usize {
        for group in 0..arch.groups as usize {
            let width = *r.pick(&[18, 36, 72]);
            for segment in 0..144 / width {
                let bits = r.below(width.min(63) as u64) as u32;
                let value = r.signed_bits(bits + 1);
                let (lo, value) = (segment * width, if r.chance(3) { -value } else { value });
                if width == 72 {
                    buffers.set_acc_value(group, pixel, lo, 36, value);
                    buffers.set_acc_value(group, pixel, lo + 36, 36, value >> 36);
                } else {
                    buffers.set_acc_value(group, pixel, lo, width, value);
                }
            }
            let [a, b, c] = buffers.acc[group * arch.acc_depth as usize + pixel];
            let _ = writeln!(text, "acc {group:x} {pixel:x} {a:x} {b:x} {:x}", c & 0xffff);
        }
        let bits = r.below(18) as u32 + 1;
        buffers.sum[pixel] = r.signed_bits(bits) as i32;
        let _ = writeln!(text, "sum {pixel:x} {:x}", buffers.sum[pixel] & 0x3ffff);
    }
    for (i, p) in buffers.params.iter_mut().enumerate() {
        *p = params(r);
        let low = p.bias as u32 as u64 | (p.multiplier as u32 as u64) << 32;
        let high = p.addend as u64 | (p.shift as u64) << 32;
        let _ = writeln!(text, "param {i:x} {high:x} {low:x}");
    }
    for (i, entry) in buffers.table.iter_mut().enumerate() {
        *entry = r.signed_bits(16) as i16;
        let _ = writeln!(text, "table {i:x} {:x}", *entry as u16);
    }
}

fn params(r: &mut Random) -> ChannelParams {
    let bits = r.below(32) as u32 + 1;
    let multiplier = match r.below(8) {
        0 => i32::MAX,
        1 => i32::MIN,
        2 => 1 << r.below(31),
        3 => -(1 << r.below(31)),
        4 => r.signed_bits(bits) as i32,
        _ => (1 << 30) | r.below(1 << 30) as i32,
    };
    let bias = match r.below(6) {
        0 => i32::MAX,
        1 => i32::MIN,
        2 => r.signed_bits(32) as i32,
        _ => r.signed_bits(12) as i32,
    };
    let addend = match r.below(6) {
        0 => u32::MAX,
        1 => 1 << r.below(32),
        2 => r.below(1 << 32) as u32,
        _ => 0,
    };
    let shift = if r.chance(3) { r.below(64) } else { r.below(10) } as u8;
    if r.chance(4) {
        return beside_halves(r, bias);
    }
    ChannelParams { bias, multiplier, addend, shift }
}

/// A power of two and a little: many products lie beside a half, about as far as float32's mantissa of 24 bits reaches.
fn beside_halves(r: &mut Random, bias: i32) -> ChannelParams {
    let place = 26 + r.below(5) as u32;
    let little = 1i32 << (place - (20 + r.below(6) as u32));
    let more = if r.chance(2) { 1 } else { 0 };
    let multiplier = match r.below(4) {
        0 => 1 << place,
        1 => (1 << place) - little + more,
        2 => -(1 << place) - little,
        _ => (1 << place) + little - more,
    };
    ChannelParams { bias, multiplier, addend: r.below(2) as u32, shift: *r.pick(&[0, 0, 0, 8]) }
}

/// More results than the store FIFO holds.
fn long_store(arch: &Arch, stall: u8) -> Case {
    let gap = arch.post_gap(1, true, true, 2, 1);
    let mode = instr(Op::PostMode, &[("int32", 1), ("raw", 1), ("dram", 1), ("gap", gap as i64)]);
    let dram = instr(Op::PostDram, &[("offset", 0x18), ("region", 2), ("words", 700), ("pitch", 711)]);
    let post = instr(Op::Post, &[("pixels", 2499), ("beats", 1)]).signal(5);
    Case {
        commands: vec![(0, mode), (0, dram), (0, post), (3, instr(Op::PostMark, &[("id", 77)]))],
        options: options(12, stall, vec![]),
        flush_at: None,
    }
}

fn options(latency_cycles: u32, stall: u8, faults: Vec<Fault>) -> RunOptions {
    RunOptions { timing: MemoryTiming { latency_cycles, stall, seed: 7 }, faults, ..RunOptions::default() }
}

fn instr(op: Op, fields: &[(&str, i64)]) -> Instr {
    fields.iter().fold(Instr::new(op), |i, (name, value)| i.with(name, *value).expect("a legal operand"))
}

fn random_case(arch: &Arch, r: &mut Random) -> Case {
    let mut commands = vec![(r.below(4), random_dram(r))];
    for _ in 0..r.below(4) + 1 {
        random_post(arch, r, &mut commands);
    }
    let stall = if r.chance(3) { 20 + r.below(180) as u8 } else { 0 };
    let faults = (0..r.below(12).saturating_sub(9)).map(|_| random_fault(r)).collect();
    let latency = if r.chance(4) { 1 } else { r.below(70) as u32 + 1 };
    Case { commands, options: options(latency, stall, faults), flush_at: r.chance(15).then(|| r.below(250)) }
}

fn random_fault(r: &mut Random) -> Fault {
    Fault {
        start: region_base(r.below(4) as usize) + 8 * r.below(500),
        bytes: 8 * (r.below(40) + 1),
        decerr: r.chance(2),
    }
}

fn random_dram(r: &mut Random) -> Instr {
    let near_page = 4096 - 8 * r.below(20) as i64;
    let offset = if r.chance(2) { near_page } else { 8 * r.below(500) as i64 };
    let words = r.below_rarely(2, 9, 300) as i64 + 1;
    let pitch = words + r.below(5) as i64;
    let region = r.below(4) as i64;
    instr(Op::PostDram, &[("offset", offset), ("region", region), ("words", words), ("pitch", pitch)])
}

/// Modes, addresses and one `post` that fits them.
fn random_post(arch: &Arch, r: &mut Random, commands: &mut Vec<(u64, Instr)>) {
    let wgt_log2 = r.below(4) as u32;
    let per_pass = arch.beats_per_pass(wgt_log2);
    let beat = r.below(per_pass as u64) as u32;
    let beats = r.below((per_pass - beat).min(7) as u64) as u32 + 1;
    let tiles = if r.chance(3) { r.below(4) as u32 + 1 } else { 1 };
    let add = arch.has_add && r.chance(4);
    let accumulators = if add || r.chance(2) { 1 } else { r.below(9) as u32 + 1 };
    let planes = r.below(16) as u32 + 1;
    let int32 = r.chance(6);
    let dram = int32 || r.chance(3);
    let slots = if add { 3 } else { accumulators };
    let needed = arch.post_gap(planes, int32, dram, tiles * beats, slots);
    let gap = needed + if r.chance(4) { r.below(16 - needed as u64) as u32 } else { 0 };
    commands.push((r.below(3), random_mode(r, wgt_log2, add, planes, int32, dram, gap)));
    commands.push((r.below(3), random_out(r)));
    if add {
        let names = [("beat", 10), ("acc", 12), ("param_b", 12), ("param_s", 12)];
        let fields = names.map(|(name, bits)| (name, r.below_rarely(4, 1 << bits, 4) as i64));
        commands.push((0, instr(Op::PostAdd, &fields)));
    }
    if r.chance(3) {
        commands.push((r.below(2), random_dram(r)));
    }
    let pixels = r.below_rarely(3, 60, 9) as i64;
    let first_beat = if r.chance(12) { r.below(1024) as i64 } else { beat as i64 };
    let post = instr(
        Op::Post,
        &[
            ("acc", r.below(4096) as i64),
            ("pixels", pixels),
            ("window", accumulators as i64 - 1),
            ("tiles", tiles as i64 - 1),
            ("tile_acc", r.below(4096) as i64),
            ("beats", beats as i64 - 1),
            ("beat", first_beat),
            ("param", r.below(4096) as i64),
            ("out", r.below(65536) as i64),
            ("last_lanes", r.below(arch.lanes as u64) as i64),
        ],
    );
    commands.push((r.below(5), post.signal(r.below(16) as u8)));
    match r.below(3) {
        0 => commands.push((r.below(3), instr(Op::PostMark, &[("id", r.below(65536) as i64)]).signal(2))),
        1 => commands.push((r.below(60), Instr::new(Op::PostNop).signal(r.below(16) as u8))),
        _ => {}
    }
}

fn random_mode(
    r: &mut Random,
    wgt_log2: u32,
    add: bool,
    planes: u32,
    int32: bool,
    dram: bool,
    gap: u32,
) -> Instr {
    let bits = if r.chance(3) { 17 } else { 9 };
    let (mut lo, mut hi) = (r.signed_bits(bits), r.signed_bits(bits));
    if r.chance(4) {
        (lo, hi) = (-65536, 65535);
    }
    if lo > hi && !r.chance(10) {
        (lo, hi) = (hi, lo);
    }
    let fields = [
        ("rounding", r.below(8) as i64),
        ("zp", if r.chance(3) { 0 } else { r.signed_bits(bits) }),
        ("lo", lo),
        ("hi", hi),
        ("raw", r.chance(5) as i64),
        ("table", r.chance(3) as i64),
        ("window", r.below(3) as i64),
        ("bipolar", r.chance(4) as i64),
        ("add", add as i64),
        ("wgt_log2", wgt_log2 as i64),
        ("shl20", r.chance(5) as i64),
        ("dram", dram as i64),
        ("int32", int32 as i64),
        ("planes", planes as i64 - 1),
        ("slots", r.below(6) as i64),
        ("gap", gap as i64),
    ];
    instr(Op::PostMode, &fields)
}

fn random_out(r: &mut Random) -> Instr {
    let nx = r.below_rarely(3, 4096, 6) as i64;
    let bits = if r.chance(3) { 16 } else { 8 };
    let step = |r: &mut Random| r.signed_bits(bits);
    instr(Op::PostOut, &[("nx", nx), ("dx", step(r)), ("dy", step(r)), ("db", step(r))])
}
