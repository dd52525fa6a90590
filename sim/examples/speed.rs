// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Measures the simulation: `cargo run --release -p brickwork-sim --example speed -- CONFIG.toml [ROUNDS]`.
//!
//! The program keeps every unit of the machine busy at once, which is what costs most: while one pass streams, the next one's
//! weights are shifted in, the results of the one before are requantized and packed into the banks, and activations are
//! loaded. It runs on the machine model, too; the cycle counts must be equal. Prints simulated clock cycles per second of
//! CPU time of the simulation process.

use brickwork_sim::cosim::{BuildOptions, Cosim};
use brickwork_sim::image::{Image, MemoryTiming, RunOptions};
use brickwork_sim::machine::Machine;
use hdl_gen::isa::{Instr, LoadDst, Op, Queue};
use hdl_gen::{Arch, Config};
use std::error::Error;

/// Bit planes of activations, and bits of the weights.
const PLANES: u32 = 4;
const WGT_LOG2: u32 = 2;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("give the configuration, a TOML file")?;
    let rounds = arguments.next().map_or(Ok(2200), |n| n.parse())?;
    let text = std::fs::read_to_string(&path)?;
    let config = Config::from_toml(&text, &path).map_err(|e| format!("{e:?}"))?;
    let arch = Arch::new(&config);

    let mut cosim = Cosim::build(&arch, &BuildOptions::default())?;
    let build = cosim.build_cost();
    println!(
        "{}: built in {:.0} s, {:.0} s of CPU time, peak memory of a process {} MiB",
        config.name,
        build.seconds,
        build.cpu_seconds,
        build.peak_bytes >> 20
    );

    let mut image = workload(&arch, rounds)?;
    let options = RunOptions { timing: MemoryTiming::default(), ..RunOptions::default() };
    let predicted = Machine::new(&arch).run(&mut image.clone(), &options);
    let result = cosim.run(&mut image, &options.timing)?;
    if let Some((code, at)) = result.error {
        return Err(format!("the machine stopped at instruction {at}: {code}").into());
    }
    if result != predicted {
        return Err(format!("{} cycles predicted, {} measured", predicted.cycles, result.cycles).into());
    }
    let (stats, c) = (cosim.stats(), result.counters);
    let share = |busy: u32| 100.0 * busy as f64 / result.cycles as f64;
    println!(
        "busy: array {:.0} %, weights {:.0} %, post-processing {:.0} %, load {:.0} %",
        share(c.pass_busy),
        share(c.wgt_busy),
        share(c.post_busy),
        share(c.load_busy)
    );
    println!(
        "{} cycles in {:.2} s of CPU time: {:.0} cycles/s; peak memory {} MiB",
        stats.simulated_cycles,
        stats.cpu_time.as_secs_f64(),
        stats.cycles_per_second(),
        stats.peak_bytes >> 20
    );
    Ok(())
}

/// `rounds` times: a weight shift, a pass that takes the weights, a `post` of its results, a load of activations; all
/// over random data.
fn workload(arch: &Arch, rounds: u32) -> Result<Image, Box<dyn Error>> {
    let steps = arch.steps(PLANES);
    let beats = arch.beats_per_pass(WGT_LOG2);
    // As many pixels as the weights of a pass take to be shifted in.
    let pixels = (arch.rows * arch.groups).div_ceil(steps).min(arch.acc_depth / 2);
    let mut program = vec![Instr::new(Op::Begin).with("hash", arch.hash as i64)?];
    let mut constants = Vec::new();
    for dst in LoadDst::ALL {
        let (words, offset) = (arch.load_depth(dst), constants.len() as i64);
        constants.extend(noise(words * arch.load_beats(dst) * arch.load_ports(dst)));
        if dst == LoadDst::Tap {
            // Small offsets: most of what the rows read lies inside the image.
            constants[offset as usize..].chunks_mut(8).for_each(|tap| tap[2..].fill(0));
        }
        program.push(load(dst, offset, 0, words)?);
    }
    let all = Queue::Wgt.bit() | Queue::Pass.bit() | Queue::Post.bit();
    program.push(Instr::new(Op::LoadNop).signal(all));
    program.push(Instr::new(Op::WgtNop).wait(Queue::Load.bit()));
    program.push(Instr::new(Op::PassNop).wait(Queue::Load.bit()));
    program.push(Instr::new(Op::PostNop).wait(Queue::Load.bit()));
    program.extend(modes(arch, pixels)?);
    for round in 0..rounds {
        let acc = (round % 2 * (arch.acc_depth / 2)) as i64;
        program.push(shift(arch, round)?);
        let pass = pass(arch, round, acc)?.signal(Queue::Post.bit());
        program.push(if round < 2 { pass } else { pass.wait(Queue::Post.bit()) });
        let post = Instr::new(Op::Post)
            .with("acc", acc)?
            .with("pixels", pixels as i64 - 1)?
            .with("beats", beats as i64 - 1)?
            .with("out", (arch.plane_words / 2) as i64)?
            .with("last_lanes", arch.lanes as i64 - 1)?
            .wait(Queue::Pass.bit());
        program.push(if round + 2 < rounds { post.signal(Queue::Pass.bit()) } else { post });
        program.push(load(LoadDst::Act, 0, (round % 8 * 64) as i64, 64)?);
    }
    program.push(Instr::new(Op::End));
    Ok(Image { program, regions: [constants, vec![], vec![], vec![]] })
}

/// What stays the same in all rounds: shape of the passes, arithmetic of the `post`s.
fn modes(arch: &Arch, pixels: u32) -> Result<[Instr; 4], Box<dyn Error>> {
    let gap = arch.post_gap(PLANES, false, false, arch.beats_per_pass(WGT_LOG2), 1);
    Ok([
        Instr::new(Op::PassShape)
            .with("n0", pixels as i64 - 1)?
            .with("h", 1)?
            .with("w", 4095)?
            .with("pad", 0x5a5a)?,
        Instr::new(Op::PassJump01).with("da0", PLANES as i64)?.with("dx0", 1)?,
        Instr::new(Op::PostMode)
            .with("rounding", 3)?
            .with("lo", -8)?
            .with("hi", 7)?
            .with("wgt_log2", WGT_LOG2 as i64)?
            .with("planes", PLANES as i64 - 1)?
            .with("slots", 2)?
            .with("gap", gap as i64)?,
        Instr::new(Op::PostOut)
            .with("nx", pixels as i64 - 1)?
            .with("dx", PLANES as i64)?
            .with("db", PLANES as i64)?,
    ])
}

fn shift(arch: &Arch, round: u32) -> Result<Instr, Box<dyn Error>> {
    let words = arch.rows * arch.groups;
    Ok(Instr::new(Op::WgtShift)
        .with("addr", (round * words % arch.wgt_depth) as i64)?
        .with("rows", arch.rows as i64)?
        .with("groups", arch.groups as i64)?
        .with("tap", (round % 8) as i64)?)
}

fn pass(arch: &Arch, round: u32, acc: i64) -> Result<Instr, Box<dyn Error>> {
    Ok(Instr::new(Op::Pass)
        .with("addr", (round % 8 * 64 * PLANES) as i64)?
        .with("acc", acc)?
        .with("steps", arch.steps(PLANES) as i64 - 1)?
        .with("act_signed", 1)?
        .with("wgt_log2", WGT_LOG2 as i64)?
        .with("wgt_signed", 1)?
        .with("swap", 1)?
        .with("overwrite", 1)?)
}

fn load(dst: LoadDst, offset: i64, base: i64, words: u32) -> Result<Instr, Box<dyn Error>> {
    Ok(Instr::new(Op::Load)
        .with("offset", offset)?
        .with("dst", dst as i64)?
        .with("base", base)?
        .with("words", words as i64)?
        .with("rows", 1)?)
}

/// Random bytes, `words` times 8.
fn noise(words: u32) -> Vec<u8> {
    let mut state = 1u64;
    let word = |_| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state ^ state >> 29).to_le_bytes()
    };
    (0..words).flat_map(word).collect()
}
