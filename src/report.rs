// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The result of `run` and `verify`: one object, printed as JSON or as a table ([`crate::table`]). The modules below make the
//! page that shows where every cycle went.

pub mod facts;
pub mod graph;
pub mod layered;
pub mod memory;
pub mod page;
pub mod requantized;
pub mod roofline;
pub mod timeline;
pub mod traffic;
pub mod what_if;

use crate::classes::Class;
use crate::compare::{Mismatch, Tally};
use crate::detector::Found;
use brickwork_sim::cosim::BuildCost;
use hdl_gen::Config;
use serde::Serialize;

/// What a run or a comparison found.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub model: String,
    pub config: String,
    /// `golden`, `machine` or `rtl`.
    pub backend: &'static str,
    /// Every value that was compared is what it should be.
    pub equal: bool,
    pub inputs: usize,
    /// Values that differ, over all inputs.
    pub mismatches: u64,
    /// The first of them.
    pub first_mismatches: Vec<Mismatch>,
    /// What was held against what; empty: nothing was.
    pub compared: Vec<String>,
    /// Cycles of one input as the machine model counts them; `None` for the golden model alone.
    pub cycles_predicted: Option<u64>,
    /// Cycles of one input as the RTL counted them.
    pub cycles_measured: Option<u64>,
    /// Inputs whose measured cycles are not the predicted ones; `None` where that cannot be said (memory stalls, no RTL).
    pub cycle_mismatches: Option<usize>,
    /// Clock of the configuration.
    pub clock_mhz: u32,
    /// Speed and cost of the simulation; `None` without RTL.
    pub simulation: Option<Simulation>,
    /// Inputs of a classifier whose best class is that of the array `labels`.
    pub labels_met: Option<usize>,
    /// For each input of a classifier, the best first (`run` only).
    pub top_classes: Vec<Vec<Class>>,
    /// For each input of a detector, the best first (`run` only).
    pub boxes: Vec<Vec<Found>>,
    /// What the importer assumed, what was done to pictures.
    pub notes: Vec<String>,
    /// The report page that was written.
    pub page: Option<String>,
    /// GTKWave's save file beside a recording.
    pub waves: Option<String>,
    pub layers: Vec<Layer>,
}

/// Speed and cost of the simulation.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Simulation {
    /// Simulated clock cycles per second of CPU time.
    pub cycles_per_second: f64,
    /// Most memory that the simulation process had.
    pub peak_bytes: u64,
    /// What building it took, now or when it was built.
    pub build: BuildCost,
}

/// One layer of the program.
#[derive(Clone, Debug, Serialize)]
pub struct Layer {
    pub name: String,
    pub op: String,
    /// `[h, w, c]` of the result.
    pub shape: [usize; 3],
    pub macs: u64,
    pub act_bits: u32,
    pub wgt_bits: u32,
    pub cycles_predicted: Option<u64>,
    pub cycles_measured: Option<u64>,
    /// Share of the array's bit products that the layer's own were, 0 to 1.
    pub utilization: Option<f64>,
    /// Where the cycles went.
    pub time: Option<LayerTime>,
    /// Every value of the layer is equal, in the program that stores all of them; `None`: they were not compared.
    pub exact: Option<bool>,
}

/// The cycles of a layer, each counted once. While the array works: `useful`, `idle`, `fill`; otherwise the first that holds
/// of `weights`, `post`, `memory`, `control`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LayerTime {
    /// As many as the layer's products take if every brick works (rounded).
    pub useful: u64,
    /// The array is fed, but lanes, rows or columns have no part of the layer.
    pub idle: u64,
    /// The array fills and drains.
    pub fill: u64,
    /// Weights are shifted in and the array has nothing else to do.
    pub weights: u64,
    /// Post-processing has results to finish.
    pub post: u64,
    /// A transfer from memory is under way.
    pub memory: u64,
    /// None of these: instruction fetch, tokens, start and end.
    pub control: u64,
}

/// Busy times per queue (load, wgt, pass, post), `first..end`, in order.
pub type Busy = [Vec<(u64, u64)>; 4];

impl LayerTime {
    /// Names and cycles, in the order in which reports show them.
    pub fn parts(&self) -> [(&'static str, u64); 7] {
        [
            ("useful", self.useful),
            ("idle", self.idle),
            ("fill", self.fill),
            ("weights", self.weights),
            ("post", self.post),
            ("memory", self.memory),
            ("control", self.control),
        ]
    }

    pub fn total(&self) -> u64 {
        self.parts().iter().map(|p| p.1).sum()
    }

    /// Both together.
    pub fn plus(&self, o: &LayerTime) -> LayerTime {
        LayerTime {
            useful: self.useful + o.useful,
            idle: self.idle + o.idle,
            fill: self.fill + o.fill,
            weights: self.weights + o.weights,
            post: self.post + o.post,
            memory: self.memory + o.memory,
            control: self.control + o.control,
        }
    }

    /// Names the cycles `first..end` of a layer that feeds the array for `stream` cycles and needs it for `ideal`.
    pub fn of(busy: &Busy, first: u64, end: u64, stream: u64, ideal: f64) -> LayerTime {
        let mut free = vec![(first, end)];
        let mut take = |queue: usize| {
            let rest = subtract(&free, &busy[queue]);
            let count = length(&free) - length(&rest);
            free = rest;
            count
        };
        let (array, weights, post, memory) = (take(2), take(1), take(3), take(0));
        let fed = stream.min(array);
        let useful = (ideal.round() as u64).min(fed);
        let (idle, fill) = (fed - useful, array - fed);
        LayerTime { useful, idle, fill, weights, post, memory, control: length(&free) }
    }
}

fn length(intervals: &[(u64, u64)]) -> u64 {
    intervals.iter().map(|(a, b)| b - a).sum()
}

/// The parts of `from` that no interval of `taken` covers; both in order, without overlap.
fn subtract(from: &[(u64, u64)], taken: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let mut rest = Vec::new();
    for &(mut start, end) in from {
        let first = taken.partition_point(|t| t.1 <= start);
        for &(a, b) in taken[first..].iter().take_while(|t| t.0 < end) {
            if a > start {
                rest.push((start, a));
            }
            start = b.min(end).max(start);
        }
        if start < end {
            rest.push((start, end));
        }
    }
    rest
}

impl Report {
    /// Without results.
    pub fn new(model: &str, config: &Config, backend: &'static str, inputs: usize) -> Report {
        Report {
            model: model.into(),
            config: config.name.clone(),
            backend,
            equal: true,
            inputs,
            mismatches: 0,
            first_mismatches: vec![],
            compared: vec![],
            cycles_predicted: None,
            cycles_measured: None,
            cycle_mismatches: None,
            clock_mhz: config.device.clock_mhz,
            simulation: None,
            labels_met: None,
            top_classes: vec![],
            boxes: vec![],
            notes: vec![],
            page: None,
            waves: None,
            layers: vec![],
        }
    }

    /// Takes over what a comparison found.
    pub fn count(&mut self, tally: Tally) {
        self.equal = tally.count == 0;
        self.mismatches = tally.count;
        self.first_mismatches = tally.first;
    }

    /// Everything is as it should be.
    pub fn good(&self) -> bool {
        self.equal && self.cycle_mismatches.unwrap_or(0) == 0
    }

    pub fn json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("plain data serializes");
        text.push('\n');
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cycle_has_one_name() {
        let busy: Busy = [vec![(0, 50)], vec![(10, 30), (60, 70)], vec![(20, 40)], vec![(35, 65)]];
        let time = LayerTime::of(&busy, 5, 100, 15, 3.4);
        let array = LayerTime { useful: 3, idle: 12, fill: 5, ..LayerTime::default() };
        assert_eq!(time, LayerTime { weights: 20, post: 20, memory: 5, control: 30, ..array });
        let whole = LayerTime::of(&busy, 22, 38, 100, 1.0);
        assert_eq!(whole, LayerTime { useful: 1, idle: 15, ..LayerTime::default() });
    }

    /// Against counting cycle by cycle, for intervals from a seeded generator.
    #[test]
    fn naming_by_intervals_equals_naming_by_cycles() {
        let mut state = 12345u64;
        let mut next = |n: u64| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 33) % n
        };
        for _ in 0..200 {
            let mut busy: Busy = Default::default();
            for list in &mut busy {
                let mut t = 0;
                for _ in 0..next(6) {
                    let start = t + next(12);
                    t = start + 1 + next(12);
                    list.push((start, t));
                }
            }
            let (first, end) = (next(20), 20 + next(60));
            let mut by_cycle = LayerTime::default();
            for cycle in first..end {
                let on = |q: usize| busy[q].iter().any(|(a, b)| (*a..*b).contains(&cycle));
                match (on(2), on(1), on(3), on(0)) {
                    (true, ..) => by_cycle.fill += 1,
                    (_, true, ..) => by_cycle.weights += 1,
                    (_, _, true, _) => by_cycle.post += 1,
                    (.., true) => by_cycle.memory += 1,
                    _ => by_cycle.control += 1,
                }
            }
            assert_eq!(LayerTime::of(&busy, first, end, 0, 0.0), by_cycle, "{busy:?} {first}..{end}");
        }
    }
}
