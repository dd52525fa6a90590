// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What lies where on the chip, and what goes to and from memory, over time.

use super::facts::LayerFacts;
use super::graph::{shape_name, type_name};
use super::traffic;
use brickwork_compiler::program::{PlaceKind, Program};
use brickwork_sim::machine::record::{Recording, Span};
use hdl_gen::arch::BEAT_BYTES;
use hdl_gen::isa::{LoadDst, Op, Queue};
use hdl_gen::Arch;
use serde::Serialize;

/// Points in time for which the traffic is summed.
const BUCKETS: u64 = 240;

#[derive(Clone, Debug, Serialize)]
pub struct Memory {
    pub banks: Banks,
    pub weights: Weights,
    pub traffic: Traffic,
    pub regions: Vec<Region>,
}

/// The activation banks; every row has a copy of the same content.
#[derive(Clone, Debug, Serialize)]
pub struct Banks {
    pub plane_words: u32,
    pub plane_word_bits: u32,
    pub copies: u32,
    /// Most plane-words that are taken at a time.
    pub peak_words: u64,
    pub tensors: Vec<Held>,
}

/// A tensor, or rows of it, in the banks during the cycles `from..to`.
#[derive(Clone, Debug, Serialize)]
pub struct Held {
    pub name: String,
    pub shape: String,
    pub ty: String,
    /// Only the rows that the layer needs.
    pub rows: bool,
    /// First plane-word, number of plane-words.
    pub first: usize,
    pub length: usize,
    pub from: u64,
    pub to: u64,
    pub layers: (usize, usize),
}

/// The weight buffer.
#[derive(Clone, Debug, Serialize)]
pub struct Weights {
    pub depth: u32,
    pub word_bytes: u32,
    /// Five numbers for each block: cycle in which its load begins, cycle after its last use, first word, words, layer.
    pub blocks: Vec<[u64; 5]>,
}

/// Bytes in consecutive spans of time, each transfer spread evenly over the time that it takes.
#[derive(Clone, Debug, Serialize)]
pub struct Traffic {
    pub bucket_cycles: u64,
    /// Bytes that all read ports can bring in one such span.
    pub read_limit: u64,
    pub loaded: Vec<f64>,
    pub stored: Vec<f64>,
}

/// A region of the memory and the tensors in it.
#[derive(Clone, Debug, Serialize)]
pub struct Region {
    pub name: &'static str,
    pub bytes: usize,
    pub tensors: Vec<Stored>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Stored {
    pub name: String,
    pub shape: String,
    pub ty: String,
    pub offset: usize,
    pub bytes: usize,
}

/// For each layer the plane-words that are taken while it runs.
pub fn bank_words(program: &Program) -> Vec<u64> {
    let held = |i: usize| {
        let places = program.info.places.iter().filter(|p| in_banks(p.kind));
        places.filter(|p| (p.layers.0..=p.layers.1).contains(&i)).map(|p| p.length as u64).sum()
    };
    (0..program.info.layers.len()).map(held).collect()
}

fn in_banks(kind: PlaceKind) -> bool {
    matches!(kind, PlaceKind::Bank | PlaceKind::Rows)
}

impl Memory {
    pub fn new(arch: &Arch, program: &Program, recording: &Recording, layers: &[LayerFacts]) -> Memory {
        Memory {
            banks: banks(arch, program, layers),
            weights: Weights {
                depth: arch.wgt_depth,
                word_bytes: arch.wgt_word_bits / 8,
                blocks: weight_blocks(arch, program, recording),
            },
            traffic: Traffic::new(arch, program, recording),
            regions: regions(program),
        }
    }
}

fn banks(arch: &Arch, program: &Program, layers: &[LayerFacts]) -> Banks {
    let time = |i: usize| layers.get(i).map_or((0, 0), |l| (l.first, l.end));
    let held = program.info.places.iter().filter(|p| in_banks(p.kind)).map(|p| Held {
        name: p.name.clone(),
        shape: shape_name(p.shape),
        ty: type_name(p.ty),
        rows: p.kind == PlaceKind::Rows,
        first: p.first,
        length: p.length,
        from: time(p.layers.0).0,
        to: time(p.layers.1).1,
        layers: p.layers,
    });
    Banks {
        plane_words: arch.plane_words,
        plane_word_bits: arch.lanes,
        copies: arch.rows,
        peak_words: bank_words(program).into_iter().max().unwrap_or(0),
        tensors: held.collect(),
    }
}

/// Loads of weights, each until its last shift.
fn weight_blocks(arch: &Arch, program: &Program, recording: &Recording) -> Vec<[u64; 5]> {
    let depth = arch.wgt_depth as usize;
    let instr = |s: &Span| program.instrs[s.pc as usize];
    let owners = traffic::layers_of(program, Queue::Load);
    let loads = recording.spans[Queue::Load.index()].iter().zip(&owners);
    let loads = loads.filter(|(s, _)| traffic::destination(instr(s)) == Some(LoadDst::Wgt));
    let shifts = recording.spans[Queue::Wgt.index()].iter().filter(|s| instr(s).op() == Some(Op::WgtShift));
    let mut events: Vec<(u64, Span, Option<usize>)> = loads.map(|(s, l)| (s.start, *s, Some(*l))).collect();
    events.extend(shifts.map(|s| (s.start, *s, None)));
    events.sort_by_key(|e| (e.0, e.2.is_some()));
    let mut owner: Vec<Option<usize>> = vec![None; depth];
    let mut blocks: Vec<[u64; 5]> = Vec::new();
    for (_, span, layer) in events {
        let i = instr(&span);
        match layer {
            Some(layer) => {
                let (base, words) = (i.get("base") as usize, i.get("words") as usize);
                owner[base.min(depth)..(base + words).min(depth)].fill(Some(blocks.len()));
                blocks.push([span.start, span.end, base as u64, words as u64, layer as u64]);
            }
            None => {
                if let Some(block) = owner[i.get("addr") as usize % depth] {
                    blocks[block][1] = blocks[block][1].max(span.end);
                }
            }
        }
    }
    blocks
}

impl Traffic {
    fn new(arch: &Arch, program: &Program, recording: &Recording) -> Traffic {
        let all = recording.spans.iter().flatten().map(|s| s.end).max().unwrap_or(0);
        let bucket_cycles = all.div_ceil(BUCKETS).max(1);
        let instr = |s: &Span| program.instrs[s.pc as usize];
        let count = all.div_ceil(bucket_cycles) as usize;
        let (mut loaded, mut stored) = (vec![0.0; count], vec![0.0; count]);
        let mut free = 0;
        for span in &recording.spans[Queue::Load.index()] {
            // the next load is accepted while this one's data come
            let start = span.start.max(free).min(span.end - 1);
            spread(&mut loaded, bucket_cycles, (start, span.end), traffic::load_bytes(arch, instr(span)));
            free = span.end;
        }
        for (span, bytes) in recording.spans[Queue::Post.index()].iter().zip(traffic::stores(arch, program)) {
            spread(&mut stored, bucket_cycles, (span.start, span.end), bytes);
        }
        let read_limit = arch.read_ports as u64 * BEAT_BYTES * bucket_cycles;
        Traffic { bucket_cycles, read_limit, loaded, stored }
    }
}

/// Adds `bytes` evenly over the cycles `start..end`.
fn spread(buckets: &mut [f64], cycles: u64, (start, end): (u64, u64), bytes: u64) {
    if bytes == 0 || end <= start {
        return;
    }
    let rate = bytes as f64 / (end - start) as f64;
    for b in start / cycles..=(end - 1) / cycles {
        let overlap = end.min((b + 1) * cycles) - start.max(b * cycles);
        if let Some(bucket) = buckets.get_mut(b as usize) {
            *bucket += rate * overlap as f64;
        }
    }
}

fn regions(program: &Program) -> Vec<Region> {
    let info = &program.info;
    let stored = |kind: PlaceKind| {
        let places = info.places.iter().filter(move |p| p.kind == kind);
        let one = places.map(|p| Stored {
            name: p.name.clone(),
            shape: shape_name(p.shape),
            ty: type_name(p.ty),
            offset: p.first,
            bytes: p.length,
        });
        one.collect()
    };
    vec![
        Region { name: "constants", bytes: program.constants.len(), tensors: vec![] },
        Region { name: "input", bytes: info.input_bytes, tensors: stored(PlaceKind::Input) },
        Region { name: "output", bytes: info.output_bytes, tensors: stored(PlaceKind::Output) },
        Region { name: "scratch", bytes: info.scratch_bytes, tensors: stored(PlaceKind::Scratch) },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_spread_over_the_time_of_a_transfer() {
        let mut buckets = vec![0.0; 3];
        spread(&mut buckets, 10, (5, 25), 40);
        assert_eq!(buckets, [10.0, 20.0, 10.0]);
        spread(&mut buckets, 10, (29, 30), 7);
        assert_eq!(buckets, [10.0, 20.0, 17.0]);
    }
}
