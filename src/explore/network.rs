// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A network of the search: what every configuration needs of it is found once, the cycles of one configuration exactly.

use crate::evaluate;
use crate::report::traffic::{load_bytes, stores};
use crate::Failure;
use brickwork_compiler::ir::{Conv, Graph, Op, Pool, PoolKind};
use brickwork_compiler::lower::{Options, Planned};
use brickwork_compiler::program::Program;
use hdl_gen::isa::INSTR_BYTES;
use hdl_gen::Arch;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// A network, read and checked.
pub struct Network {
    pub graph: Graph,
    pub identity: Identity,
    /// Bit operations that have a weight other than 0.
    bit_operations: u64,
    /// Results of convolutions, three times those of additions.
    results: u64,
}

/// Which network it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    pub name: String,
    /// FNV-1a of the integer graph, in hexadecimal digits.
    pub hash: String,
}

/// What an evaluation gives, per network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Exact cycles of one inference, and bytes that it moves.
    Exact { cycles: Vec<u64>, bytes: Vec<u64> },
    /// More cycles than these, which is too many: the exact number was not wanted.
    Least(Vec<u64>),
    /// A network cannot be compiled.
    Refused(String),
}

/// Cycles of one inference and bytes that it moves.
pub type Exact = (u64, u64);

impl Network {
    /// Errors: the model cannot be read.
    pub fn load(path: &Path) -> Result<Network, Failure> {
        let graph = evaluate::load_model(path)?.graph;
        let stem = path.file_stem().map_or(graph.name.clone(), |s| s.to_string_lossy().into_owned());
        Network::new(stem, graph)
    }

    pub fn new(name: String, graph: Graph) -> Result<Network, Failure> {
        let bytes = serde_json::to_vec(&graph).map_err(Failure::other)?;
        let hash = bytes
            .iter()
            .fold(0xcbf2_9ce4_8422_2325u64, |h, b| (h ^ *b as u64).wrapping_mul(0x0000_0100_0000_01b3));
        let (bit_operations, results) = (bit_operations(&graph), results(&graph));
        let identity = Identity { name, hash: format!("{hash:016x}") };
        Ok(Network { graph, identity, bit_operations, results })
    }

    /// Cycles that no accelerator of this array stays below: every weight that is not 0 takes its bricks, every result its
    /// turn in post-processing.
    pub fn least_cycles(&self, arch: &Arch) -> u64 {
        let array = self.bit_operations.div_ceil(arch.binary_macs());
        array.max(self.results / arch.requant_lanes as u64)
    }

    /// Errors: why the network cannot be compiled.
    pub fn plan(&self, arch: &Arch) -> Result<Planned, String> {
        Planned::new(&self.graph, arch, &Options::default()).map_err(|e| self.refusal(&e[0]))
    }

    pub(super) fn refusal(&self, why: &dyn std::fmt::Display) -> String {
        format!("{}: {why}", self.identity.name)
    }
}

/// Bytes of one run: loads, instructions, and what is stored.
pub fn bytes_moved(arch: &Arch, program: &Program) -> u64 {
    let loads: u64 = program.instrs.iter().map(|i| load_bytes(arch, *i)).sum();
    loads + program.instrs.len() as u64 * INSTR_BYTES + stores(arch, program).iter().sum::<u64>()
}

fn bit_operations(graph: &Graph) -> u64 {
    graph
        .nodes
        .iter()
        .filter_map(|n| conv_of(&n.op))
        .map(|c| {
            let [h, w] = pixels(graph, c);
            let weights = c.weights.data.iter().filter(|w| **w != 0).count();
            let wgt_bits = if c.weights.bipolar { 1 } else { c.weights.ty.bits as usize };
            (h * w * weights * graph.tensors[c.input].ty.bits as usize * wgt_bits) as u64
        })
        .sum()
}

fn results(graph: &Graph) -> u64 {
    let node = |op: &Op| match op {
        Op::Conv(c) => pixels(graph, c).iter().product::<usize>() * graph.tensors[c.output].shape[2],
        Op::Add(a) => 3 * graph.tensors[a.output].len(),
        _ => 0,
    };
    graph.nodes.iter().map(|n| node(&n.op) as u64).sum()
}

fn conv_of(op: &Op) -> Option<&Conv> {
    match op {
        Op::Conv(c) => Some(c),
        _ => None,
    }
}

/// Result pixels of a convolution that are computed at least: those that a pool behind it looks at.
fn pixels(graph: &Graph, conv: &Conv) -> [usize; 2] {
    let [h, w, _] = graph.tensors[conv.output].shape;
    let windows = |p: &Pool| {
        let [ph, pw, _] = graph.tensors[p.output].shape;
        [(ph * p.kernel[0]).min(h), (pw * p.kernel[1]).min(w)]
    };
    let pools = graph.nodes.iter().filter_map(|n| match &n.op {
        Op::Pool(p) if p.input == conv.output && matches!(p.kind, PoolKind::Max) => Some(windows(p)),
        _ => None,
    });
    pools.fold([h, w], |a, b| [a[0].min(b[0]), a[1].min(b[1])])
}
