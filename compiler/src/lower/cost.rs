// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Estimated cycles of stages, for choices between equivalent ones.

use super::layout::{beats_per_bank_word, Layout};
use super::stage::{mergeable, Stage};
use crate::ir::Graph;
use hdl_gen::Arch;

/// Fixed cost of a post.
const POST_CYCLES: usize = 30;
/// Cycles from one run of words in memory to the next, beside the words.
const BURST_CYCLES: usize = 8;

/// Where the results of a stage go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    Banks,
    /// 64-bit words of one result pixel.
    Dram(usize),
}

impl Destination {
    /// The banks, unless a tensor is too large for them.
    pub fn of(arch: &Arch, layout: &Layout) -> Destination {
        match layout.size() > arch.plane_words as usize && layout.ty.bits <= 16 {
            true => Destination::dram(layout),
            false => Destination::Banks,
        }
    }

    /// Memory.
    pub fn dram(layout: &Layout) -> Destination {
        let layout = layout.in_dram();
        Destination::Dram(layout.pixel() / 4 * beats_per_bank_word(layout.lanes))
    }
}

/// Cycles of a stage whose feeds have `planes` planes: its passes, or its posts and the passes that cannot run beside
/// them. `merge`: how many units become tiles of one.
pub fn cycles(arch: &Arch, stage: &Stage, planes: u32, merge: usize, to: Destination) -> usize {
    let [height, width] = stage.grid;
    let window = stage.window[0] * stage.window[1];
    let (results, accs) = (height * width, height * width * window);
    let areas = merge * stage.units.iter().map(|u| u.areas).max().unwrap_or(1);
    let limit = (arch.acc_depth as usize / areas / window / 2).max(1);
    let chunks = match width > limit {
        true => height * width.div_ceil(limit),
        false => height.div_ceil(limit / width),
    };
    let passes: usize = stage.units.iter().map(|u| u.passes.len()).sum();
    let groups = stage.units.len().div_ceil(merge);
    let (mut stream, mut posts, mut exclusive) = (0, chunks * groups * POST_CYCLES, 0);
    for unit in &stage.units {
        posts += accs * unit.tiles * unit.beats * if unit.mode.add { 3 } else { 1 };
        for pass in &unit.passes {
            let steps = if pass.planes_in_rows { 1 } else { arch.steps(planes) as usize };
            let shift = if passes > 1 { chunks * (pass.words() + arch.groups as usize) } else { 0 };
            let cycles = (accs * steps).max(shift);
            stream += cycles;
            exclusive += if pass.overwrite { 0 } else { cycles };
        }
    }
    let store = match to {
        Destination::Banks => 0,
        Destination::Dram(words) if groups == 1 => results * words,
        Destination::Dram(words) => results * (words + groups * BURST_CYCLES),
    };
    stream.max(posts.max(store) + exclusive)
}

/// Cycles that the stages take at least, whatever the memory does: the steps of all passes, or the slots of all posts and
/// the steps of the passes that cannot run beside them.
pub fn least_cycles(arch: &Arch, graph: &Graph, stages: &[Stage]) -> u64 {
    let (mut stream, mut posts, mut exclusive) = (0, 0, 0);
    for stage in stages {
        let accs: usize = stage.grid.iter().chain(&stage.window).product();
        for unit in &stage.units {
            posts += accs * unit.tiles * unit.beats * if unit.mode.add { 3 } else { 1 };
            for pass in &unit.passes {
                let tensor = &graph.tensors[stage.feeds[pass.feed].tensor];
                let planes = Layout::new(arch, tensor.shape, tensor.ty).planes;
                let steps = if pass.planes_in_rows { 1 } else { arch.steps(planes) as usize };
                stream += accs * steps;
                exclusive += if pass.overwrite { 0 } else { accs * steps };
            }
        }
    }
    stream.max(posts + exclusive) as u64
}

/// The fewest cycles with units merged where they can be, and how many of them in one.
pub fn best_merge(arch: &Arch, stage: &Stage, planes: u32, to: Destination) -> (usize, usize) {
    let most = if to == Destination::Banks { 1 } else { mergeable(stage) };
    let window = stage.window[0] * stage.window[1];
    let room = arch.acc_depth as usize / 2 / window;
    (1..=most)
        .filter(|k| *k == 1 || *k <= room)
        .map(|k| (cycles(arch, stage, planes, k, to), k))
        .min()
        .unwrap_or((0, 1))
}
