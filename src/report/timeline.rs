// SPDX-License-Identifier: Apache-2.0 OR MIT
//! When every instruction was at work, as compact lists.

use super::facts::{Evidence, LayerFacts};
use super::traffic;
use hdl_gen::isa::{Queue, INSTRUCTIONS};
use serde::Serialize;

/// The machine model's times; they are the RTL's where memory does not stall.
#[derive(Clone, Debug, Serialize)]
pub struct Timeline {
    pub cycles: u64,
    /// Names of the instructions.
    pub kinds: Vec<&'static str>,
    pub queues: Vec<Lane>,
    /// Cycles `first, end` of each layer.
    pub layers: Vec<[u64; 2]>,
}

/// The instructions of one queue.
#[derive(Clone, Debug, Serialize)]
pub struct Lane {
    pub name: &'static str,
    pub title: &'static str,
    /// Five numbers for each instruction: its start less that of the instruction before, its cycles, its kind, its layer,
    /// its number less that of the instruction before.
    pub spans: Vec<u64>,
}

/// What a reader calls the queues.
pub const TITLES: [&str; 4] = ["load", "weights", "array", "post and store"];

impl Timeline {
    pub fn new(evidence: &Evidence, layers: &[LayerFacts]) -> Timeline {
        let program = &evidence.program;
        let lane = |queue: Queue| {
            let owners = traffic::layers_of(program, queue);
            let mut spans = Vec::new();
            let (mut start, mut pc) = (0, 0);
            for (i, span) in evidence.recording.spans[queue.index()].iter().enumerate() {
                let op = program.instrs.get(span.pc as usize).and_then(|instr| instr.op());
                let kind = INSTRUCTIONS.iter().position(|d| Some(d.op) == op).unwrap_or(0);
                let layer = owners.get(i).copied().unwrap_or(0);
                spans.extend([span.start - start, span.end - span.start, kind as u64, layer as u64]);
                spans.push((span.pc - pc) as u64);
                (start, pc) = (span.start, span.pc);
            }
            Lane { name: queue.name(), title: TITLES[queue.index()], spans }
        };
        Timeline {
            cycles: evidence.predicted.cycles,
            kinds: INSTRUCTIONS.iter().map(|d| d.mnemonic).collect(),
            queues: Queue::ALL.map(lane).into(),
            layers: layers.iter().map(|l| [l.first, l.end]).collect(),
        }
    }
}
