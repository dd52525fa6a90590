// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Inputs of rectangles: some channel blocks of some rows and columns at a time, in a ring of the banks.

use super::super::layout::{beats_per_bank_word, Layout};
use super::super::place::{Bands, SCRATCH};
use super::super::schedule::{Cost, Region, Ring};
use super::super::stage::PassSpec;
use super::super::tiles::{corner, needed, Slab};
use super::{Emitter, Item, Result, StageState, LOAD_CYCLES};
use hdl_gen::isa::{Instr, LoadDst, Op, Queue};

/// Most rows of one load.
const LOAD_ROWS: usize = 4095;
/// Images up to this size have coordinates of their own; in larger ones they count from the first pixel of a chunk.
const PLAIN_SIZE: usize = 2000;
/// Largest height or width in `pass.shape`.
const MOST_SIZE: usize = 4095;

/// What the ring holds.
#[derive(Default)]
pub(super) struct SlabRing {
    /// First plane-word, and the places.
    ring: Option<(usize, Ring)>,
    there: Vec<Part>,
}

/// A slab in the ring.
struct Part {
    feed: usize,
    corner: [usize; 2],
    block: usize,
    at: usize,
    len: usize,
}

impl SlabRing {
    /// For the next stage.
    pub fn start(&mut self, bands: &Bands) {
        self.there.clear();
        self.ring = bands.tiles.as_ref().map(|t| (t.ring.start, Ring::new(t.ring.len())));
    }
}

/// How a slab lies in the ring.
pub(super) fn layout(tensor: &Layout, slab: &Slab) -> Layout {
    let [y, x] = slab.rect;
    Layout { shape: [y, x, slab.blocks * tensor.lanes as usize], ..tensor.in_dram() }
}

/// Where a pass reads.
pub(super) struct Source {
    /// Plane-word of pixel (0, 0), channel block 0 of the pass.
    pub base: isize,
    /// Pixel that the coordinates count from.
    pub origin: [usize; 2],
    /// Rows and columns from there.
    pub size: [usize; 2],
    pub regions: Vec<Region>,
}

impl Emitter<'_> {
    /// Where a pass reads; loads what comes through the ring and is not there.
    pub(super) fn source(
        &mut self,
        item: &Item,
        state: &StageState,
        spec: &PassSpec,
        number: usize,
    ) -> Result<Source> {
        let (f, index, info) = (spec.feed, state.index, &state.passes[number]);
        let feed = &item.stage.feeds[f];
        let layout = state.layouts[f];
        let [h, w, _] = self.graph.tensors[feed.tensor].shape;
        let bands = &self.plan.bands[index];
        if let (Some(_), Some(tiles)) = (bands.buffers[f], &bands.tiles) {
            let from = corner(feed, item.stage.window, &item.chunk, &tiles.slabs[f], [h, w]);
            let at = self.slab(item, f, &tiles.slabs[f], from, info.slab)?;
            let offset = from[0] * layout.row() + from[1] * layout.pixel();
            let block = (info.block0 - info.slab) * layout.slots as usize;
            let regions = vec![Region::span(at, at + layout.size())];
            let size = [h - from[0], w - from[1]].map(|n| n.min(MOST_SIZE));
            return Ok(Source { base: (at + block) as isize - offset as isize, origin: from, size, regions });
        }
        let first = match bands.buffers[f] {
            Some(buffer) => buffer as isize - (item.loaded[f].first * layout.row()) as isize,
            None => self.plan.homes[self.plan.root[feed.tensor]].bank.unwrap_or(0) as isize,
        };
        let chunk = &item.chunk;
        let origin = match h.max(w) > PLAIN_SIZE {
            true => [
                needed(feed, item.stage.window, 0, &(chunk.y..chunk.y + chunk.ny), h).start,
                needed(feed, item.stage.window, 1, &(chunk.x..chunk.x + chunk.nx), w).start,
            ],
            false => [0, 0],
        };
        Ok(Source {
            base: first + (info.block0 * layout.slots as usize) as isize,
            origin,
            size: [h - origin[0], w - origin[1]].map(|n| n.min(MOST_SIZE)),
            regions: self.source_regions(item, index, f, info.blocks, &layout),
        })
    }

    /// The place of a slab in the ring, loaded where it is not there.
    fn slab(&mut self, item: &Item, f: usize, slab: &Slab, from: [usize; 2], block: usize) -> Result<usize> {
        let known = |p: &&Part| (p.feed, p.corner, p.block) == (f, from, block);
        if let Some(part) = self.slabs.there.iter().find(known) {
            return Ok(part.at);
        }
        let tensor = item.stage.feeds[f].tensor;
        let source = self.layout(tensor).in_dram();
        let len = layout(&source, slab).size();
        let Some((first, ring)) = &mut self.slabs.ring else { return Ok(0) };
        let at = *first + ring.take("plane words of the input of one result", len)?;
        self.slabs.there.retain(|p| p.at + p.len <= at || at + len <= p.at);
        self.slabs.there.push(Part { feed: f, corner: from, block, at, len });
        let mut to = at;
        for run in runs(&source, slab, from, block) {
            self.load_run(tensor, &run, block..block + slab.blocks, to)?;
            to += run.words * run.rows;
        }
        Ok(at)
    }

    /// Loads one run of a tensor in memory to plane-word `at` of the banks.
    fn load_run(
        &mut self,
        tensor: usize,
        run: &Run,
        blocks: std::ops::Range<usize>,
        at: usize,
    ) -> Result<()> {
        let root = self.plan.root[tensor];
        let Some(place) = self.plan.homes[root].dram else { return Ok(()) };
        let beats = beats_per_bank_word(self.arch.lanes);
        let instr = Instr::new(Op::Load)
            .with("offset", (place.offset + run.first / 4 * beats * 8) as i64)?
            .with("region", place.region)?
            .with("dst", LoadDst::Act as i64)?
            .with("base", (at / 4) as i64)?
            .with("words", (run.words / 4) as i64)?
            .with("rows", run.rows as i64)?
            .with("pitch", (run.pitch / 4 * beats) as i64)?;
        let region = Region::span(at, at + run.words * run.rows);
        let mut deps = self.banks.before_write(&region);
        let end = run.first + (run.rows - 1) * run.pitch + run.words;
        // blocks of another view of the same memory mean something else
        let blocks = if root == tensor { (blocks.start, blocks.end) } else { (0, usize::MAX) };
        let source = self.scratch_region(root, (run.first, end), blocks);
        if place.region == SCRATCH {
            deps.extend(self.scratch.before_read(&source));
        }
        let duration = (run.rows * (run.words / 4 * beats)) as u64 + LOAD_CYCLES / 2;
        let node = self.schedule.push(Queue::Load, instr, deps, Cost { duration, latency: LOAD_CYCLES / 2 });
        self.banks.write(region, node, Queue::Load);
        if place.region == SCRATCH {
            self.scratch.read(source, node, Queue::Load);
        }
        Ok(())
    }
}

/// Pieces of memory of one length, all in plane-words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    first: usize,
    words: usize,
    rows: usize,
    pitch: usize,
}

/// The parts of a tensor in memory that make up a slab, in the order in which they lie in it.
fn runs(source: &Layout, slab: &Slab, [y, x]: [usize; 2], block: usize) -> Vec<Run> {
    let (pixel, row, [ny, nx]) = (source.pixel(), source.row(), slab.rect);
    let slots = source.slots as usize;
    let first = y * row + x * pixel + block * slots;
    let whole_rows = nx == source.shape[1];
    let (words, rows, pitch, times) = match (slab.blocks >= source.blocks(), whole_rows) {
        (true, true) => (ny * row, 1, 0, 1),
        (true, false) => (nx * pixel, ny, row, 1),
        (false, true) => (slab.blocks * slots, ny * nx, pixel, 1),
        (false, false) => (slab.blocks * slots, nx, pixel, ny),
    };
    let mut runs = Vec::new();
    for i in 0..times {
        for done in (0..rows).step_by(LOAD_ROWS) {
            let first = first + i * row + done * pitch;
            runs.push(Run { first, words, rows: (rows - done).min(LOAD_ROWS), pitch });
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::IntType;
    use crate::lower::test_arch;

    #[test]
    fn runs_cover_a_slab_in_its_own_order() {
        let ty = IntType { bits: 5, signed: false };
        let source = Layout::new(&test_arch(), [6, 7, 30], ty).in_dram();
        let slots = source.slots as usize;
        for (rect, blocks, from, block) in [
            ([3, 7], 4, [2, 0], 0),
            ([3, 4], 4, [1, 3], 0),
            ([6, 7], 2, [0, 0], 1),
            ([2, 5], 3, [4, 2], 1),
            ([1, 1], 1, [5, 6], 3),
        ] {
            let slab = Slab { rect, blocks };
            let mut words = Vec::new();
            for run in runs(&source, &slab, from, block) {
                for r in 0..run.rows {
                    words.extend((0..run.words).map(|i| run.first + r * run.pitch + i));
                }
            }
            let mut expected = Vec::new();
            for y in from[0]..from[0] + rect[0] {
                for x in from[1]..from[1] + rect[1] {
                    let at = y * source.row() + x * source.pixel() + block * slots;
                    expected.extend(at..at + blocks * slots);
                }
            }
            assert_eq!(words, expected, "{rect:?} {blocks} {from:?} {block}");
        }
    }
}
