// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Resets at random moments: the same program runs afterwards as if nothing had been before.

use crate::rng::Rng;
use crate::{build, generate, memory_difference, rtl, seeds};
use brickwork_sim::cosim::protocol::Stop;
use brickwork_sim::cosim::{offset, read_result, Cosim, CosimError, Outstanding, Reset, ResetMoment};
use brickwork_sim::image::{Image, MemoryTiming, RunOptions, RunResult};
use brickwork_sim::machine::Machine;
use hdl_gen::Arch;

/// What resets have met with.
#[derive(Debug, Default)]
struct Met {
    /// Bursts of the program fetch, of the load unit, of results; the beats of one half through.
    fetching: u32,
    loading: u32,
    loading_half: u32,
    storing: u32,
    storing_half: u32,
    /// Busy units, by queue.
    busy: [u32; 4],
    several: u32,
    after_end: u32,
}

impl Met {
    fn add(&mut self, moment: &ResetMoment) {
        let any = |name: &str, under_way: fn(&Outstanding) -> u32| {
            moment.ports.iter().any(|p| p.port.starts_with(name) && under_way(p) > 0) as u32
        };
        let open = |name: &str| any(name, |p| p.bursts);
        let half = |name: &str| any(name, |p| p.partial_beats);
        self.fetching += open("if");
        self.loading += open("ld");
        self.loading_half += half("ld");
        self.storing += open("st");
        self.storing_half += half("st");
        for (q, count) in self.busy.iter_mut().enumerate() {
            *count += (moment.busy >> q & 1) as u32;
        }
        self.several += (moment.busy.count_ones() > 1) as u32;
        self.after_end += !moment.running as u32;
    }

    fn least(&self) -> u32 {
        let all = [
            self.fetching,
            self.loading,
            self.loading_half,
            self.storing,
            self.storing_half,
            self.several,
            self.after_end,
        ];
        all.into_iter().chain(self.busy).min().expect("not empty")
    }
}

/// One run to be broken off: how its memory behaves, and when its units were busy.
struct Plan {
    options: RunOptions,
    busy: [Vec<(u64, u64)>; 4],
    end: u64,
}

impl Plan {
    fn new(sim: &mut Cosim, image: &Image, options: RunOptions) -> (Plan, Image, RunResult) {
        let (memory, result) = rtl(sim, image, &options).unwrap_or_else(|e| panic!("{options:?}: {e}"));
        assert_eq!(result.error, None, "{options:?}");
        (Plan { options, busy: sim.stats().busy.clone(), end: result.cycles }, memory, result)
    }

    /// A cycle of the run; most of the time one in which a given unit is busy.
    fn moment(&self, rng: &mut Rng) -> u64 {
        let intervals = &self.busy[rng.pick(&[0, 1, 2, 3, 3])];
        match rng.below(20) {
            0 => self.end + rng.below(100) as u64,
            1..=3 => rng.below(self.end as u32) as u64,
            _ if intervals.is_empty() => rng.below(self.end as u32) as u64,
            _ => {
                let (first, last) = rng.pick(intervals);
                first + rng.below((last - first).max(1) as u32) as u64
            }
        }
    }
}

/// Resets `moments` runs of `arch`; each time the program runs again, with the result that the model predicts.
pub fn resets_leave_no_trace(arch: &Arch, salt: u64, moments: u64) {
    let mut sim = build(arch);
    let mut met = Met::default();
    let mut done = 0;
    for seed in seeds(salt, moments.div_ceil(20)) {
        let mut rng = Rng::new(seed);
        let image = generate::case(arch, seed, 5).image(arch);
        let mut options = |stall| RunOptions {
            timing: MemoryTiming { latency_cycles: 1 + rng.below(60), stall, seed },
            watchdog_cycles: 20_000,
            faults: vec![],
        };
        let (stalled, ..) = Plan::new(&mut sim, &image, options(120));
        let (exact, expected, result) = Plan::new(&mut sim, &image, options(0));
        assert_eq!(Machine::new(arch).run(&mut image.clone(), &exact.options), result, "seed {seed}");
        for _ in 0..20.min(moments) {
            let plan = if rng.percent(50) { &exact } else { &stalled };
            let cycle = plan.moment(&mut rng);
            let reset = match rng.below(3) {
                0 => Reset::Soft,
                1 => Reset::SoftTwice { cycles: rng.below(60) as u64 },
                _ => Reset::Pin { cycles: 16 + rng.below(20) },
            };
            let about = format!("seed {seed}: {reset:?} after {cycle} cycles, {:?}", plan.options.timing);
            let met_now = sim
                .run_and_reset(&mut image.clone(), &plan.options.clone().into(), cycle, reset)
                .unwrap_or_else(|e| panic!("{about}: {e}"));
            met.add(&met_now);
            done += 1;
            let about = format!("{about}, {met_now:?}");
            again(&mut sim, &image, &exact.options, &expected, &result, &about);
        }
    }
    println!("{met:?}");
    assert!(done < 200 || met.least() >= 3, "some moments were not met: {met:?}");
}

fn again(
    sim: &mut Cosim,
    image: &Image,
    options: &RunOptions,
    memory: &Image,
    result: &RunResult,
    about: &str,
) {
    let (got, second) = rtl(sim, image, options).unwrap_or_else(|e| panic!("after {about}: {e}"));
    assert_eq!(&second, result, "after {about}");
    assert_eq!(memory_difference(memory, &got), None, "after {about}");
}

/// Breaks `moments` runs off while a pass is about to signal, and starts again as soon as the machine takes a start: what was still on
/// its way through the array must not count.
pub fn a_start_right_behind_a_reset_counts(arch: &Arch, salt: u64, moments: u64) {
    let mut sim = build(arch);
    let mut interrupted = 0;
    for seed in seeds(salt, moments.div_ceil(20)) {
        let mut rng = Rng::new(seed);
        let image = generate::case(arch, seed, 5).image(arch);
        let options = RunOptions {
            timing: MemoryTiming { latency_cycles: 1 + rng.below(4), stall: 0, seed },
            watchdog_cycles: 20_000,
            faults: vec![],
        };
        let (plan, _, result) = Plan::new(&mut sim, &image, options);
        let expected = (result.cycles, None, result.counters);
        let passes = &plan.busy[2];
        for _ in 0..if passes.is_empty() { 0 } else { 20 } {
            let end = rng.pick(&passes.iter().map(|p| p.1).collect::<Vec<_>>());
            let cycle = end.saturating_sub(rng.below(30) as u64);
            let about = format!("seed {seed}, after {cycle} cycles");
            let got = restarted(&mut sim, &image, &plan.options, cycle, &mut interrupted)
                .unwrap_or_else(|e| panic!("{about}: {e}"));
            assert_eq!((got.cycles, got.error, got.counters), expected, "{about}");
        }
    }
    assert!(2 * interrupted >= moments, "only {interrupted} runs were broken off");
}

/// The registers behind the run that follows upon the one that was broken off.
fn restarted(
    sim: &mut Cosim,
    image: &Image,
    options: &RunOptions,
    cycle: u64,
    interrupted: &mut u64,
) -> Result<RunResult, CosimError> {
    sim.prepare(image, &options.clone().into())?;
    let session = sim.session()?;
    session.write_all(&[(offset("IRQ_STATUS"), 3), (offset("IRQ_ENABLE"), 3), (offset("CTRL"), 1)])?;
    *interrupted += (session.run(cycle)?.stop == Stop::Cycles) as u64;
    // A start is ignored while the reset is under way, and while the machine runs again.
    session.write_all(&[&[(offset("CTRL"), 2)][..], &[(offset("CTRL"), 1); 30]].concat())?;
    session.run(1_000_000)?;
    let found = read_result(session)?;
    sim.soft_reset()?;
    Ok(found)
}
