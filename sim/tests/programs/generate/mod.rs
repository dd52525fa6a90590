// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Random legal programs: loads to all destinations, passes of all widths and modes, post-processing to banks and DRAM.

mod loads;
mod passes;
mod posts;

use crate::rng::Rng;
use crate::task::{scatter, Case, Group, Space, Task};
use hdl_gen::isa::{Instr, LoadDst, Op};
use hdl_gen::Arch;

/// Bytes of the regions 1 (input), 2 (output), 3 (scratch); region 0 grows with what the loads need.
const REGION_BYTES: [usize; 4] = [0, 20_000, 24_000, 12_008];

/// A case of `groups` random groups behind the loads that fill all buffers.
pub fn case(arch: &Arch, seed: u64, groups: usize) -> Case {
    let mut g = Generator {
        arch,
        rng: Rng::new(seed),
        constants: vec![],
        taps: vec![],
        active: (0, vec![]),
        next_tap: 0,
    };
    let mut list = vec![g.prologue()];
    for _ in 0..groups {
        let group = g.group();
        list.push(group);
    }
    for task in list.iter_mut().flat_map(|g| &mut g.tasks) {
        scatter(task, &mut g.rng);
    }
    let regions = std::array::from_fn(|i| match i {
        0 => std::mem::take(&mut g.constants),
        _ => g.rng.bytes(REGION_BYTES[i]),
    });
    Case { seed, groups: list, regions, serialized: g.rng.percent(25) }
}

#[derive(Clone, Copy)]
struct Tap {
    addr: i16,
    dy: i16,
    dx: i16,
}

struct Generator<'a> {
    arch: &'a Arch,
    rng: Rng,
    constants: Vec<u8>,
    /// What the tap table holds.
    taps: Vec<Tap>,
    /// Taps that the last pass took, and the alignment of addresses that they are fit for.
    active: (u32, Vec<Tap>),
    /// First entry of the table's upper half that this group has not loaded yet.
    next_tap: u32,
}

/// Makes an instruction; the generator keeps to the ranges of the fields.
fn instr(op: Op, fields: &[(&str, i64)]) -> Instr {
    fields
        .iter()
        .fold(Instr::new(op), |i, (name, value)| i.with(name, *value).unwrap_or_else(|e| panic!("{e}")))
}

/// Alignment of the plane-word addresses of blocks with `planes` planes.
fn alignment(planes: u32) -> u32 {
    planes.next_power_of_two().min(4)
}

impl Generator<'_> {
    /// Loads every buffer completely, in random order.
    fn prologue(&mut self) -> Group {
        let mut order = LoadDst::ALL;
        self.rng.shuffle(&mut order);
        let tasks = order
            .into_iter()
            .map(|dst| match dst {
                LoadDst::Act => self.load_act_whole(),
                _ => self.load_constants(dst, 0, self.arch.load_depth(dst)),
            })
            .collect();
        Group { name: "fill", tasks, droppable: false }
    }

    fn group(&mut self) -> Group {
        let (name, tasks) = match self.rng.below(100) {
            0..=11 => ("load act", vec![self.load_act()]),
            12..=23 => ("load constants", vec![self.reload()]),
            24..=31 => ("nop", vec![self.nop()]),
            _ => ("compute", self.compute()),
        };
        Group { name, tasks, droppable: true }
    }

    fn nop(&mut self) -> Task {
        let op = self.rng.pick(&[Op::LoadNop, Op::WgtNop, Op::PassNop, Op::PostNop]);
        let mut task = Task::new(Instr::new(op));
        task.after = self.rng.below(16) as u8 & !task.queue().bit();
        task
    }
}

/// What the passes of one compute group have in common.
struct Plan {
    wgt_log2: u32,
    groups: u32,
    tiles: u32,
    shape: [u32; 4],
    pixels: u32,
    acc: u32,
    tile_acc: u32,
    /// Beats from 0 on whose channels all lie in the groups in use.
    beats: u32,
}
