// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Programs as lists of tasks. A task knows what it reads and writes; the tokens that keep tasks apart are computed, so
//! that every subset of the groups of a legal program is a legal program too.

use crate::rng::Rng;
use brickwork_sim::image::Image;
use hdl_gen::isa::{Instr, Op, Queue};
use hdl_gen::Arch;
use std::collections::BTreeSet;

/// What tasks can get into each other's way about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    /// Bank words.
    Bank,
    /// Weight buffer words.
    Wgt,
    /// Tap table entries.
    Tap,
    /// Parameter words of `requant_lanes` channels.
    Param,
    /// The function table (index 0).
    Table,
    /// Accumulator addresses.
    Acc,
    /// Read port of the accumulators (index 0): a `post` reads it, an accumulating pass "writes" it.
    AccPort,
    /// 64-bit words of a region in DRAM.
    Region(usize),
}

/// A set of resources.
#[derive(Clone, Debug, Default)]
pub struct Set(BTreeSet<u64>);

impl Set {
    pub fn add(&mut self, space: Space, indices: impl IntoIterator<Item = u32>) {
        let key = match space {
            Space::Bank => 0,
            Space::Wgt => 1,
            Space::Tap => 2,
            Space::Param => 3,
            Space::Table => 4,
            Space::Acc => 5,
            Space::AccPort => 6,
            Space::Region(r) => 7 + r as u64,
        };
        self.0.extend(indices.into_iter().map(|i| key << 32 | i as u64));
    }
    pub fn meets(&self, other: &Set) -> bool {
        !self.0.is_disjoint(&other.0)
    }
}

/// One instruction that takes time, with the configuration instructions before it.
#[derive(Clone, Debug)]
pub struct Task {
    pub config: Vec<Instr>,
    pub main: Instr,
    pub reads: Set,
    pub writes: Set,
    /// Queues of which all earlier tasks must be finished before this one starts.
    pub after: u8,
    /// Where the tokens go: on the first configuration instruction or the main one, on a nop behind or the main one.
    pub early_wait: bool,
    pub late_signal: bool,
}

impl Task {
    pub fn new(main: Instr) -> Self {
        Task {
            config: vec![],
            main,
            reads: Set::default(),
            writes: Set::default(),
            after: 0,
            early_wait: false,
            late_signal: false,
        }
    }
    pub fn queue(&self) -> Queue {
        self.main.op().and_then(|o| o.def().queue).expect("a task is an instruction of a queue")
    }
    fn conflicts(&self, earlier: &Task) -> bool {
        self.after & earlier.queue().bit() != 0
            || self.writes.meets(&earlier.writes)
            || self.writes.meets(&earlier.reads)
            || self.reads.meets(&earlier.writes)
    }
}

/// Tasks that stay or go together.
#[derive(Clone, Debug)]
pub struct Group {
    pub name: &'static str,
    pub tasks: Vec<Task>,
    /// False: everything else builds on it.
    pub droppable: bool,
}

/// A legal, race-free program and its memory.
#[derive(Clone, Debug)]
pub struct Case {
    pub seed: u64,
    pub groups: Vec<Group>,
    pub regions: [Vec<u8>; 4],
    /// Every task waits for all earlier ones; otherwise only for those that it would disturb.
    pub serialized: bool,
}

impl Case {
    pub fn image(&self, arch: &Arch) -> Image {
        let begin = Instr::new(Op::Begin).with("hash", arch.hash as i64).expect("any hash fits");
        let mut program = vec![begin];
        let list: Vec<(usize, &Task)> = self
            .groups
            .iter()
            .enumerate()
            .flat_map(|(g, group)| group.tasks.iter().map(move |t| (g, t)))
            .collect();
        for ((_, task), (wait, signal)) in list.iter().zip(link(&list, self.serialized)) {
            emit(task, wait, signal, &mut program);
        }
        program.push(Instr::new(Op::End));
        Image { program, regions: self.regions.clone() }
    }
}

/// `(wait, signal)` of each task. Token k of a pair of queues is given by the task that the k-th waiting task needs; every
/// token comes from an earlier task, so in-order dispatch cannot deadlock.
fn link(list: &[(usize, &Task)], serialized: bool) -> Vec<(u8, u8)> {
    let mut tokens = vec![(0, 0); list.len()];
    let mut synced = [[None; 4]; 4];
    for (i, (group, task)) in list.iter().enumerate() {
        let own = task.queue();
        for other in Queue::ALL.into_iter().filter(|q| *q != own) {
            let needed = list[..i].iter().rposition(|(g, t)| {
                // Inside a group a shift may stand before the pass that frees the shadow for it: these two synchronize
                // through the shadow, not by tokens.
                let by_shadow = g == group && other == Queue::Wgt && own == Queue::Pass;
                t.queue() == other && (task.conflicts(t) || (serialized && !by_shadow))
            });
            if needed > synced[other.index()][own.index()] {
                synced[other.index()][own.index()] = needed;
                tokens[i].0 |= other.bit();
                tokens[needed.expect("more than something")].1 |= own.bit();
            }
        }
    }
    tokens
}

fn emit(task: &Task, wait: u8, signal: u8, program: &mut Vec<Instr>) {
    let nop = Instr::new(match task.queue() {
        Queue::Load => Op::LoadNop,
        Queue::Wgt => Op::WgtNop,
        Queue::Pass => Op::PassNop,
        Queue::Post => Op::PostNop,
    });
    let mut list = task.config.clone();
    list.push(task.main);
    if task.late_signal && signal != 0 {
        list.push(nop);
    }
    let waiter = if task.early_wait || task.config.is_empty() { 0 } else { task.config.len() };
    list[waiter] = list[waiter].wait(wait);
    let last = list.len() - 1;
    list[last] = list[last].signal(signal);
    program.extend(list);
}

/// The same case with fewer groups that still `fails`: drops halves, then quarters, ... then single groups.
pub fn shrink(case: &Case, mut fails: impl FnMut(&Case) -> bool) -> Case {
    let mut best = case.clone();
    let mut size = best.groups.len().div_ceil(2);
    while size > 0 {
        let mut start = 0;
        while start < best.groups.len() {
            let mut smaller = best.clone();
            let mut index = 0;
            smaller.groups.retain(|g| {
                index += 1;
                !g.droppable || index <= start || index > start + size
            });
            if smaller.groups.len() < best.groups.len() && fails(&smaller) {
                best = smaller;
            } else {
                start += size;
            }
        }
        size /= 2;
    }
    best
}

/// Instruction list for messages.
pub fn listing(image: &Image) -> String {
    image.program.iter().enumerate().map(|(i, x)| format!("{i:4}  {x}\n")).collect()
}

/// Random places for the tokens.
pub fn scatter(task: &mut Task, rng: &mut Rng) {
    task.early_wait = rng.percent(50);
    task.late_signal = rng.percent(20);
}
