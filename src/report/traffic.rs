// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Which instructions belong to which layer, and what they move between memory and chip.

use brickwork_compiler::program::Program;
use hdl_gen::arch::BEAT_BYTES;
use hdl_gen::isa::{Instr, LoadDst, Op, Queue};
use hdl_gen::Arch;
use serde::Serialize;

/// Bytes of one layer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Layer {
    pub activations: u64,
    pub weights: u64,
    /// Requantization parameters, taps and tables.
    pub parameters: u64,
    pub stored: u64,
}

impl Layer {
    pub fn loaded(&self) -> u64 {
        self.activations + self.weights + self.parameters
    }

    pub fn all(&self) -> u64 {
        self.loaded() + self.stored
    }
}

/// For each instruction of a queue (in order) the index of its layer.
pub fn layers_of(program: &Program, queue: Queue) -> Vec<usize> {
    let layers = program.info.layers.iter().enumerate();
    layers.flat_map(|(i, l)| std::iter::repeat_n(i, l.instrs[queue.index()])).collect()
}

/// The instructions of a queue, in order.
pub fn of_queue(program: &Program, queue: Queue) -> impl Iterator<Item = Instr> + '_ {
    program.instrs.iter().copied().filter(move |i| i.op().and_then(|o| o.def().queue) == Some(queue))
}

/// Bytes that a `load` reads.
pub fn load_bytes(arch: &Arch, instr: Instr) -> u64 {
    let Some(dst) = destination(instr) else { return 0 };
    let beats = (arch.load_beats(dst) * arch.load_ports(dst)) as u64;
    instr.get("words") as u64 * instr.get("rows") as u64 * beats * BEAT_BYTES
}

/// Where a `load` writes.
pub fn destination(instr: Instr) -> Option<LoadDst> {
    (instr.op() == Some(Op::Load)).then(|| LoadDst::from_bits(instr.get("dst") as u64)).flatten()
}

/// Bytes that a `post` stores under the `post.mode` in force.
pub fn store_bytes(arch: &Arch, mode: Option<Instr>, post: Instr) -> u64 {
    let Some(mode) = mode.filter(|m| m.flag("dram") || m.flag("int32")) else { return 0 };
    let n = |field: &str| post.get(field) as u64 + 1;
    let (pixels, beats) = (n("pixels"), n("tiles") * n("beats"));
    let cycles = arch.post_write_cycles(mode.get("planes") as u32 + 1, mode.flag("int32"), true) as u64;
    let pieces = if mode.flag("int32") { beats } else { beats.div_ceil(arch.block_beats() as u64) };
    pixels * pieces * cycles * BEAT_BYTES
}

/// Bytes that each instruction of the post queue stores.
pub fn stores(arch: &Arch, program: &Program) -> Vec<u64> {
    let mut mode = None;
    let mut one = |i: Instr| match i.op() {
        Some(Op::PostMode) => {
            mode = Some(i);
            0
        }
        Some(Op::Post) => store_bytes(arch, mode, i),
        _ => 0,
    };
    of_queue(program, Queue::Post).map(&mut one).collect()
}

/// The bytes of every layer.
pub fn per_layer(arch: &Arch, program: &Program) -> Vec<Layer> {
    let mut bytes = vec![Layer::default(); program.info.layers.len()];
    for (layer, instr) in layers_of(program, Queue::Load).into_iter().zip(of_queue(program, Queue::Load)) {
        let n = load_bytes(arch, instr);
        match destination(instr) {
            Some(LoadDst::Act) => bytes[layer].activations += n,
            Some(LoadDst::Wgt) => bytes[layer].weights += n,
            Some(_) => bytes[layer].parameters += n,
            None => {}
        }
    }
    for (layer, n) in layers_of(program, Queue::Post).into_iter().zip(stores(arch, program)) {
        bytes[layer].stored += n;
    }
    bytes
}
