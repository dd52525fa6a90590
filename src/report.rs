// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The result of `run` and `verify`: one object, printed as JSON or as a table.

use brickwork_sim::cosim::BuildCost;
use serde::Serialize;
use std::fmt::Write;

/// What a run or a comparison found.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub model: String,
    pub config: String,
    /// `golden`, `machine` or `rtl`.
    pub backend: &'static str,
    /// Every value is what it should be.
    pub equal: bool,
    pub inputs: usize,
    /// Values that differ, over all inputs.
    pub mismatches: u64,
    /// The first of them.
    pub first_mismatches: Vec<Mismatch>,
    /// Cycles of one input as the machine model counts them; `None` for the golden model alone.
    pub cycles_predicted: Option<u64>,
    /// Cycles of one input as the RTL counted them.
    pub cycles_measured: Option<u64>,
    /// Inputs whose measured cycles are not the predicted ones; `None` where that cannot be said (memory stalls, no RTL).
    pub cycle_mismatches: Option<usize>,
    /// Speed and cost of the simulation; `None` without RTL.
    pub simulation: Option<Simulation>,
    /// What the importer assumed.
    pub notes: Vec<String>,
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

/// One value that differs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Mismatch {
    pub input: usize,
    /// Tensor or model output.
    pub layer: String,
    /// `[y, x, channel]` in a tensor, the index in a model output.
    pub at: Vec<usize>,
    pub expected: String,
    pub got: String,
    /// What was compared with what.
    pub against: &'static str,
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

/// The cycles of a layer, each counted once, under the first name that holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LayerTime {
    /// The array works on the layer (pipeline included).
    pub array: u64,
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
    /// Names the cycles `first..end`.
    pub fn of(busy: &Busy, first: u64, end: u64) -> LayerTime {
        let mut time = LayerTime::default();
        let mut free = vec![(first, end)];
        for (queue, count) in
            [(2, &mut time.array), (1, &mut time.weights), (3, &mut time.post), (0, &mut time.memory)]
        {
            let rest = subtract(&free, &busy[queue]);
            *count = length(&free) - length(&rest);
            free = rest;
        }
        time.control = length(&free);
        time
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
    /// Everything is as it should be.
    pub fn good(&self) -> bool {
        self.equal && self.cycle_mismatches.unwrap_or(0) == 0
    }

    pub fn json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("plain data serializes");
        text.push('\n');
        text
    }

    /// For the terminal.
    pub fn table(&self) -> String {
        let mut text = String::new();
        let _ = writeln!(text, "{} on {}, backend {}", self.model, self.config, self.backend);
        if !self.layers.is_empty() {
            text.push('\n');
            text.push_str(&layer_table(&self.layers));
            text.push('\n');
        }
        for note in &self.notes {
            let _ = writeln!(text, "note: {note}");
        }
        for m in &self.first_mismatches {
            let _ = writeln!(
                text,
                "input {}: {} at {:?} is {}, {} says {}",
                m.input, m.layer, m.at, m.got, m.against, m.expected
            );
        }
        text.push_str(&self.verdict());
        text
    }

    fn verdict(&self) -> String {
        let mut text = match (self.equal, self.mismatches) {
            (true, _) => format!("equal: every value of {} inputs\n", self.inputs),
            (false, n) => format!("DIFFERENT: {n} values of {} inputs\n", self.inputs),
        };
        if let Some(predicted) = self.cycles_predicted {
            let _ = write!(text, "cycles per input: {predicted} predicted");
            if let Some(measured) = self.cycles_measured {
                let _ = write!(text, ", {measured} measured");
            }
            match self.cycle_mismatches {
                Some(0) => text.push_str(", equal for every input"),
                Some(n) => {
                    let _ = write!(text, ", DIFFERENT for {n} inputs");
                }
                None => {}
            }
            text.push('\n');
        }
        if let Some(Simulation { cycles_per_second, peak_bytes, build }) = self.simulation {
            let mib = |bytes: u64| bytes >> 20;
            let _ = writeln!(
                text,
                "simulation: {cycles_per_second:.0} cycles per second of CPU time, {} MiB; built in {:.0} s ({:.0} s of CPU time, {} MiB)",
                mib(peak_bytes),
                build.seconds,
                build.cpu_seconds,
                mib(build.peak_bytes)
            );
        }
        text
    }
}

/// The layers, one per line, under their headings.
pub fn layer_table(layers: &[Layer]) -> String {
    let head = [
        "layer",
        "op",
        "shape",
        "act x wgt",
        "MACs",
        "predicted",
        "measured",
        "used",
        "array",
        "weights",
        "post",
        "memory",
        "control",
        "exact",
    ];
    let rows: Vec<_> =
        std::iter::once(head.map(String::from).to_vec()).chain(layers.iter().map(Layer::row)).collect();
    let shown = |c: &usize| rows[1..].iter().any(|r| r[*c] != "-");
    let columns: Vec<usize> = (0..head.len()).filter(shown).collect();
    let kept = |r: &Vec<String>| columns.iter().map(|&c| r[c].clone()).collect();
    grid(&rows.iter().map(kept).collect::<Vec<_>>())
}

impl Layer {
    fn row(&self) -> Vec<String> {
        let number = |v: Option<u64>| v.map_or("-".into(), |v| v.to_string());
        let time = |f: fn(&LayerTime) -> u64| number(self.time.as_ref().map(f));
        let [h, w, c] = self.shape;
        vec![
            self.name.clone(),
            self.op.clone(),
            format!("{h}x{w}x{c}"),
            if self.wgt_bits == 0 {
                self.act_bits.to_string()
            } else {
                format!("{} x {}", self.act_bits, self.wgt_bits)
            },
            self.macs.to_string(),
            number(self.cycles_predicted),
            number(self.cycles_measured),
            self.utilization.map_or("-".into(), |u| format!("{:.1} %", 100.0 * u)),
            time(|t| t.array),
            time(|t| t.weights),
            time(|t| t.post),
            time(|t| t.memory),
            time(|t| t.control),
            self.exact.map_or("-", |e| if e { "yes" } else { "NO" }).into(),
        ]
    }
}

/// Columns of equal width; the first three columns to the left, the others to the right.
fn grid(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |c: usize| rows.iter().map(|r| r[c].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let cell = |(c, text): (usize, &String)| match c {
        0..3 => format!("{text:<w$}", w = widths[c]),
        _ => format!("{text:>w$}", w = widths[c]),
    };
    let line = |r: &Vec<String>| r.iter().enumerate().map(cell).collect::<Vec<_>>().join("  ");
    rows.iter().map(|r| format!("{}\n", line(r).trim_end())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cycle_has_one_name() {
        let busy: Busy = [vec![(0, 50)], vec![(10, 30), (60, 70)], vec![(20, 40)], vec![(35, 65)]];
        let time = LayerTime::of(&busy, 5, 100);
        assert_eq!(time, LayerTime { array: 20, weights: 20, post: 20, memory: 5, control: 30 });
        let whole = LayerTime::of(&busy, 22, 38);
        assert_eq!(whole, LayerTime { array: 16, ..LayerTime::default() });
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
                    (true, ..) => by_cycle.array += 1,
                    (_, true, ..) => by_cycle.weights += 1,
                    (_, _, true, _) => by_cycle.post += 1,
                    (.., true) => by_cycle.memory += 1,
                    _ => by_cycle.control += 1,
                }
            }
            assert_eq!(LayerTime::of(&busy, first, end), by_cycle, "{busy:?} {first}..{end}");
        }
    }
}
