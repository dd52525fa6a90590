// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the report page shows: one value, which is also its JSON. Cycles are those of one input.

use super::graph::Network;
use super::memory::Memory;
use super::requantized::Requantized;
use super::roofline::Roofline;
use super::timeline::Timeline;
use super::what_if::WhatIf;
use super::{traffic, Busy, Layer, LayerTime, Report};
use crate::evaluate::{self, timed};
use brickwork_compiler::import::Imported;
use brickwork_compiler::program::{LayerInfo, Program};
use brickwork_sim::image::{MemoryTiming, RunResult};
use brickwork_sim::machine::record::Recording;
use hdl_gen::arch::BEAT_BYTES;
use hdl_gen::Arch;
use serde::Serialize;

/// Version of the JSON's form.
pub const FORMAT: u32 = 1;
/// Clocks that every report answers for, in MHz.
pub const CLOCKS_MHZ: [u32; 3] = [100, 150, 200];

/// A program that was run, with what was seen.
#[derive(Clone, Debug)]
pub struct Evidence {
    pub program: Program,
    /// The machine model's result, and what was at work when.
    pub predicted: RunResult,
    pub recording: Recording,
    /// The RTL's result and busy times.
    pub measured: Option<(RunResult, Busy)>,
    pub timing: MemoryTiming,
}

impl Evidence {
    /// The layers with their cycles.
    pub fn layers(&self, arch: &Arch) -> Vec<Layer> {
        let predicted = (&self.predicted, &self.recording.busy);
        let measured = self.measured.as_ref().map(|(r, b)| (r, b));
        let layers = self.program.info.layers.iter();
        layers.map(|info| timed(arch, &self.program, info, predicted, measured)).collect()
    }
}

#[derive(Clone, Debug, Serialize)]
pub struct Facts {
    pub format: u32,
    pub model: String,
    /// `compile`, `machine`, `rtl`.
    pub source: String,
    /// What was held against what, on how many inputs, and whether all was equal; `None` after `compile`.
    pub comparison: Option<Comparison>,
    pub config: Machine,
    pub cycles: Cycles,
    pub speeds: Vec<Speed>,
    /// Share of the array's bit products that the network's own were, 0 to 1.
    pub utilization: f64,
    pub limit: Limit,
    pub totals: Totals,
    pub layers: Vec<LayerFacts>,
    pub what_if: Vec<WhatIf>,
    pub timeline: Timeline,
    pub roofline: Roofline,
    /// `None` for a program file, which holds no network.
    pub network: Option<Network>,
    pub memory: Memory,
    pub requantization: Vec<Requantized>,
    pub notes: Vec<String>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    pub compared: Vec<String>,
    pub inputs: usize,
    pub equal: bool,
    pub mismatches: u64,
}

/// The configuration in short.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    pub name: String,
    pub part: String,
    pub clock_mhz: u32,
    pub rows: u32,
    pub lanes: u32,
    pub columns: u32,
    pub brick_bits: u32,
    pub binary_macs_per_cycle: u64,
    pub requantize_lanes: u32,
    pub read_ports: u32,
    /// Most bytes that one cycle brings through all read ports.
    pub read_bytes_per_cycle: u64,
    pub memory_latency_cycles: u32,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub struct Cycles {
    pub predicted: u64,
    pub measured: Option<u64>,
    /// The measured ones where there are any; all other numbers count from these.
    pub total: u64,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub struct Speed {
    pub mhz: u32,
    pub frames_per_second: f64,
    pub milliseconds: f64,
    /// The configuration's own clock.
    pub own: bool,
}

/// What takes most of the time.
#[derive(Clone, Debug, Serialize)]
pub struct Limit {
    /// `useful`, or a loss of [`LayerTime`].
    pub what: &'static str,
    /// Of the cycles, 0 to 1.
    pub share: f64,
    pub sentence: String,
}

#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Totals {
    pub macs: u64,
    /// MACs x activation bits x weight bits.
    pub bit_ops: u64,
    pub time: LayerTime,
    pub bytes_loaded: u64,
    pub bytes_stored: u64,
    pub bytes_fetched: u64,
    pub instructions: usize,
}

#[derive(Clone, Debug, Serialize)]
pub struct LayerFacts {
    #[serde(flatten)]
    pub layer: Layer,
    pub shape_in: [usize; 3],
    pub bit_ops: u64,
    /// Cycles `first..end` between the marks.
    pub first: u64,
    pub end: u64,
    pub limit: Limit,
    pub traffic: traffic::Layer,
    /// Of the activation banks (one copy), taken while the layer runs.
    pub bank_bytes: u64,
}

impl Facts {
    /// Puts everything together. `model`: the network, where there is one; `report`: what a comparison found.
    pub fn new(
        arch: &Arch,
        evidence: &Evidence,
        model: Option<&Imported>,
        report: Option<&Report>,
        notes: &[String],
    ) -> Facts {
        let Evidence { program, predicted, recording, measured, timing } = evidence;
        let measured = measured.as_ref();
        let total = measured.map_or(predicted.cycles, |m| m.0.cycles);
        let mut layers = layers(arch, evidence);
        if let Some(report) = report {
            for (facts, seen) in layers.iter_mut().zip(&report.layers) {
                facts.layer.exact = seen.exact;
            }
        }
        let totals = totals(&layers, program);
        let ideal: f64 = program.info.layers.iter().map(|l| evaluate::ideal(arch, l)).sum();
        let cycles = Cycles { predicted: predicted.cycles, measured: measured.map(|m| m.0.cycles), total };
        Facts {
            format: FORMAT,
            model: program.info.name.clone(),
            source: report.map_or("compile", |r| r.backend).into(),
            comparison: report.map(comparison),
            config: machine(arch, timing),
            cycles,
            speeds: speeds(arch.config.device.clock_mhz, total),
            utilization: ideal / total.max(1) as f64,
            limit: Limit::of(&totals.time, "The network"),
            totals,
            what_if: WhatIf::all(arch, evidence, model, totals.time.memory),
            timeline: Timeline::new(evidence, &layers),
            roofline: Roofline::new(arch, &layers),
            network: model.map(|m| Network::new(m, program)),
            memory: Memory::new(arch, program, recording, &layers),
            requantization: model.map_or(vec![], |m| super::requantized::all(m, program)),
            notes: notes.to_vec(),
            layers,
        }
    }

    pub fn json(&self) -> String {
        serde_json::to_string(self).expect("plain data serializes")
    }
}

fn comparison(report: &Report) -> Comparison {
    Comparison {
        compared: report.compared.clone(),
        inputs: report.inputs,
        equal: report.equal,
        mismatches: report.mismatches,
    }
}

fn machine(arch: &Arch, timing: &MemoryTiming) -> Machine {
    Machine {
        name: arch.config.name.clone(),
        part: arch.config.device.part.clone(),
        clock_mhz: arch.config.device.clock_mhz,
        rows: arch.rows,
        lanes: arch.lanes,
        columns: arch.columns,
        brick_bits: arch.brick_bits,
        binary_macs_per_cycle: arch.binary_macs(),
        requantize_lanes: arch.requant_lanes,
        read_ports: arch.read_ports,
        read_bytes_per_cycle: arch.read_ports as u64 * BEAT_BYTES,
        memory_latency_cycles: timing.latency_cycles,
    }
}

/// At the clocks of every report and at the configuration's own, in order.
fn speeds(own: u32, cycles: u64) -> Vec<Speed> {
    let mut clocks = CLOCKS_MHZ.to_vec();
    clocks.push(own);
    clocks.sort_unstable();
    clocks.dedup();
    let speed = |mhz: u32| Speed {
        mhz,
        frames_per_second: mhz as f64 * 1e6 / cycles.max(1) as f64,
        milliseconds: cycles as f64 / (mhz as f64 * 1e3),
        own: mhz == own,
    };
    clocks.into_iter().map(speed).collect()
}

fn layers(arch: &Arch, evidence: &Evidence) -> Vec<LayerFacts> {
    let program = &evidence.program;
    let result = evidence.measured.as_ref().map_or(&evidence.predicted, |m| &m.0);
    let traffic = traffic::per_layer(arch, program);
    let words = super::memory::bank_words(program);
    let one = |(i, (info, layer)): (usize, (&LayerInfo, Layer))| {
        let (first, end) = evaluate::times(program, result, info).unwrap_or((0, 0));
        let time = layer.time.unwrap_or_default();
        LayerFacts {
            shape_in: info.shape_in,
            bit_ops: info.macs * info.act_bits as u64 * info.wgt_bits as u64,
            first,
            end,
            limit: Limit::of(&time, "The layer").because(info, arch),
            traffic: traffic[i],
            bank_bytes: words[i] * arch.lanes as u64 / 8,
            layer,
        }
    };
    program.info.layers.iter().zip(evidence.layers(arch)).enumerate().map(one).collect()
}

fn totals(layers: &[LayerFacts], program: &Program) -> Totals {
    let mut t = Totals { instructions: program.instrs.len(), ..Totals::default() };
    for l in layers {
        t.macs += l.layer.macs;
        t.bit_ops += l.bit_ops;
        t.bytes_loaded += l.traffic.loaded();
        t.bytes_stored += l.traffic.stored;
        t.time = t.time.plus(&l.layer.time.unwrap_or_default());
    }
    t.bytes_fetched = t.instructions as u64 * hdl_gen::isa::INSTR_BYTES;
    t
}

impl Limit {
    /// The largest part of the time. Useful work counts only where no loss is larger.
    pub fn of(time: &LayerTime, subject: &str) -> Limit {
        let total = time.total().max(1) as f64;
        let (what, cycles) =
            time.parts().into_iter().rev().max_by_key(|p| p.1).expect("there are seven parts");
        let share = cycles as f64 / total;
        let useful = 100.0 * time.useful as f64 / total;
        let percent = 100.0 * share;
        let sentence = match what {
            "useful" => format!(
                "{subject} is limited by the array: its bricks do useful work {percent:.0} % of the time. Fewer bits or a larger array help."
            ),
            "idle" => format!(
                "{subject} is limited by the array's shape: it is fed, but {percent:.0} % of the time is lost to rows, lanes or columns without work (useful: {useful:.0} %)."
            ),
            "fill" => format!(
                "{subject} is limited by short passes: the array fills and drains {percent:.0} % of the time."
            ),
            "weights" => format!(
                "{subject} is limited by weights: {percent:.0} % of the time they are shifted in while the array has nothing else to do. Longer passes (deeper accumulators) hide this."
            ),
            "post" => format!(
                "{subject} is limited by post-processing: {percent:.0} % of the time results are finished while the array waits. More requantize lanes help."
            ),
            "memory" => format!(
                "{subject} is limited by memory: {percent:.0} % of the time a transfer is under way that nothing hides. What a faster memory buys is counted below."
            ),
            _ => format!(
                "{subject} is limited by control: {percent:.0} % of the time goes to instruction fetch, tokens, start and end."
            ),
        };
        Limit { what, share, sentence }
    }

    /// Adds why parts of the array have no work, where the layer's form says it.
    fn because(mut self, layer: &LayerInfo, arch: &Arch) -> Limit {
        let reason = match layer.op.as_str() {
            _ if self.what != "idle" => None,
            "depthwise" => Some("In a depthwise layer every output channel reads one lane; the weights of the others are 0.".to_string()),
            "conv" if !layer.shape_in[2].is_multiple_of(arch.lanes as usize) => Some(format!(
                "Its {} input channels fill no multiple of {} lanes.",
                layer.shape_in[2], arch.lanes
            )),
            "conv" => None,
            _ => Some("It has no weights of its own: passes with one-bit weights carry its values to post-processing.".to_string()),
        };
        self.sentence.extend(reason.into_iter().flat_map(|r| [" ".to_string(), r]));
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_part_is_the_limit() {
        let time = LayerTime { useful: 30, idle: 10, memory: 60, ..LayerTime::default() };
        let limit = Limit::of(&time, "The layer");
        assert_eq!((limit.what, limit.share), ("memory", 0.6));
        assert!(limit.sentence.contains("60 %"), "{}", limit.sentence);
        assert_eq!(Limit::of(&LayerTime { useful: 5, idle: 5, ..LayerTime::default() }, "x").what, "useful");
    }

    #[test]
    fn speeds_are_in_order_and_name_the_own_clock_once() {
        let at: Vec<(u32, bool)> = speeds(150, 1_000_000).iter().map(|s| (s.mhz, s.own)).collect();
        assert_eq!(at, [(100, false), (150, true), (200, false)]);
        assert_eq!(speeds(80, 1_000_000)[0].frames_per_second, 80.0);
    }
}
