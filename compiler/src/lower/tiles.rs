// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Stages whose input rows do not fit the banks: the result is made in rectangles, and the inputs of a rectangle go through a
//! ring in the banks, some channel blocks at a time.

use super::layout::{beats_per_bank_word, Layout};
use super::nest::{spans, Chunk};
use super::stage::{Feed, PassSpec, Stage};
use hdl_gen::Arch;
use std::ops::Range;

/// What is in the banks at once of one input of a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slab {
    /// Rows and columns.
    pub rect: [usize; 2],
    /// Channel blocks.
    pub blocks: usize,
}

/// The rectangles of a stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tiles {
    /// Result pixels of one, at most.
    pub size: [usize; 2],
    /// One for each feed.
    pub slabs: Vec<Slab>,
    /// Plane-words of the ring.
    pub ring: Range<usize>,
    /// Plane-words that are loaded in all.
    pub traffic: usize,
}

/// Input rows (axis 0) or columns (1) that results `range` read, clipped to the input's `size`.
pub fn needed(
    feed: &Feed,
    window: [usize; 2],
    axis: usize,
    range: &Range<usize>,
    size: usize,
) -> Range<usize> {
    let at = |p: usize, w: usize| {
        let pair = |v: usize| if axis == 0 { [v, 0] } else { [0, v] };
        feed.geometry.input(pair(p), pair(w))[axis]
    };
    let first = at(range.start, 0);
    let last = at(range.end - 1, window[axis] - 1) + feed.reach[axis] as isize;
    let clip = |v: isize| v.clamp(0, size as isize) as usize;
    clip(first)..clip(last + 1)
}

/// First input row and column in the banks for a chunk: a rectangle of constant size, moved inside the input.
pub fn corner(feed: &Feed, window: [usize; 2], chunk: &Chunk, slab: &Slab, [h, w]: [usize; 2]) -> [usize; 2] {
    let y = needed(feed, window, 0, &(chunk.y..chunk.y + chunk.ny), h).start;
    let x = needed(feed, window, 1, &(chunk.x..chunk.x + chunk.nx), w).start;
    [y.min(h - slab.rect[0].min(h)), x.min(w - slab.rect[1].min(w))]
}

/// Channel blocks that a pass reads.
pub fn blocks_of(pass: &PassSpec) -> Range<usize> {
    let blocks = pass.pairs.iter().map(|p| p.block);
    blocks.clone().min().unwrap_or(0)..blocks.max().unwrap_or(0) + 1
}

/// First block of the slab that each pass reads: the slab before where it has all of them.
pub fn slab_starts(stage: &Stage, slabs: &[Slab], all: &[usize]) -> Vec<usize> {
    let mut now: Vec<Option<usize>> = vec![None; slabs.len()];
    let passes = stage.units.iter().flat_map(|u| &u.passes);
    passes
        .map(|pass| {
            let (f, need) = (pass.feed, blocks_of(pass));
            let there = now[f].filter(|s| *s <= need.start && need.end <= s + slabs[f].blocks);
            let start = there.unwrap_or_else(|| need.start.min(all[f].saturating_sub(slabs[f].blocks)));
            now[f] = Some(start);
            start
        })
        .collect()
}

impl Tiles {
    /// The rectangles in order, each at most `size`.
    pub fn chunks(&self, grid: [usize; 2], upsample: usize) -> Vec<Chunk> {
        let [ys, xs] = [0, 1].map(|a| spans(grid[a], self.size[a], upsample));
        let row = |(y, ny): (usize, usize)| {
            xs.iter().map(move |(x, nx)| Chunk { y, ny, x: *x, nx: *nx }).collect::<Vec<_>>()
        };
        ys.into_iter().flat_map(row).collect()
    }

    /// The rectangles that take the fewest cycles by estimate, or the plane-words that the smallest needs at once.
    ///
    /// `layouts`: of the feeds in memory; `streamed`: those that come through the ring; `ring`: free plane-words.
    pub fn plan(
        arch: &Arch,
        stage: &Stage,
        layouts: &[Layout],
        streamed: &[bool],
        ring: Range<usize>,
    ) -> Result<Tiles, usize> {
        let areas = stage.units.iter().map(|u| u.areas).max().unwrap_or(1);
        let window: usize = stage.window.iter().product();
        let limit = (arch.acc_depth as usize / areas / window / 2).max(1);
        let [h, w] = stage.grid;
        let (mut best, mut least): (Option<(usize, Tiles)>, usize) = (None, usize::MAX);
        for nx in divisions(w).into_iter().filter(|n| *n <= limit) {
            for ny in divisions(h.min(limit / nx)) {
                match Tiles::of(arch, stage, layouts, streamed, ring.clone(), [ny, nx]) {
                    Err(need) => least = least.min(need),
                    Ok(tiles) => {
                        let cost = tiles.cost(arch, stage, layouts);
                        if best.as_ref().is_none_or(|b| cost < b.0) {
                            best = Some((cost, tiles));
                        }
                    }
                }
            }
        }
        best.map(|b| b.1).ok_or(least)
    }

    /// Tiles of one size, or the plane-words of an input that does not fit the ring.
    fn of(
        arch: &Arch,
        stage: &Stage,
        layouts: &[Layout],
        streamed: &[bool],
        ring: Range<usize>,
        size: [usize; 2],
    ) -> Result<Tiles, usize> {
        let upsample = stage.feeds.iter().map(|f| f.geometry.upsample).max().unwrap_or(1);
        let room = ring.len();
        let mut tiles = Tiles { size, slabs: Vec::new(), ring, traffic: 0 };
        for (f, feed) in stage.feeds.iter().enumerate() {
            let layout = &layouts[f];
            let rect = [0, 1].map(|a| {
                let most = spans(stage.grid[a], size[a], upsample)
                    .into_iter()
                    .map(|(p, n)| needed(feed, stage.window, a, &(p..p + n), layout.shape[a]).len())
                    .max();
                most.unwrap_or(0).max(1)
            });
            let passes = stage.units.iter().flat_map(|u| &u.passes).filter(|p| p.feed == f);
            let least = passes.map(|p| blocks_of(p).len()).max().unwrap_or(1);
            let block = rect[0] * rect[1] * layout.slots as usize;
            // two at a time, so that one is loaded while the other is read
            let blocks = (room / 2 / block).clamp(least, layout.blocks().max(least));
            if streamed[f] && blocks * block > room {
                return Err(blocks * block);
            }
            tiles.slabs.push(Slab { rect, blocks });
        }
        let chunks = tiles.chunks(stage.grid, upsample).len();
        tiles.traffic = chunks * tiles.traffic_of_one(arch, stage, layouts, streamed);
        Ok(tiles)
    }

    /// Plane-words that one rectangle loads.
    fn traffic_of_one(&self, arch: &Arch, stage: &Stage, layouts: &[Layout], streamed: &[bool]) -> usize {
        let size = |f: usize, blocks: usize| {
            let [y, x] = self.slabs[f].rect;
            y * x * blocks * layouts[f].slots as usize
        };
        let feeds = || (0..layouts.len()).filter(|f| streamed[*f]);
        let whole: usize = feeds().map(|f| size(f, self.slabs[f].blocks)).sum();
        let complete = feeds().all(|f| self.slabs[f].blocks >= layouts[f].blocks());
        debug_assert!(arch.plane_words as usize >= self.ring.len());
        if complete && whole <= self.ring.len() {
            return whole;
        }
        let all: Vec<usize> = layouts.iter().map(Layout::blocks).collect();
        let starts = slab_starts(stage, &self.slabs, &all);
        let passes = stage.units.iter().flat_map(|u| &u.passes);
        let (mut last, mut sum) = (None, 0);
        for (pass, start) in passes.zip(starts).filter(|(p, _)| streamed[p.feed]) {
            if last.replace((pass.feed, start)) != Some((pass.feed, start)) {
                sum += size(pass.feed, self.slabs[pass.feed].blocks);
            }
        }
        sum
    }

    /// Estimated cycles: the array's, or those of the loads.
    fn cost(&self, arch: &Arch, stage: &Stage, layouts: &[Layout]) -> usize {
        let pixels = self.size[0] * self.size[1] * stage.window[0] * stage.window[1];
        let chunks = stage.grid[0].div_ceil(self.size[0]) * stage.grid[1].div_ceil(self.size[1]);
        let (mut stream, mut weights) = (0, 0);
        for pass in stage.units.iter().flat_map(|u| &u.passes) {
            let planes = layouts[pass.feed].planes;
            let steps = if pass.planes_in_rows { 1 } else { arch.steps(planes) as usize };
            stream += (pixels * steps).max(pass.words() + arch.groups as usize);
            weights += pass.words();
        }
        // not the depth of the weight buffer nor the ports: plans are for all of them
        let beats = arch.wgt_word_bits.div_ceil(64) as usize;
        let loads = chunks * weights * beats + self.traffic / 4 * beats_per_bank_word(arch.lanes);
        (chunks * stream).max(loads) + chunks * stage.units.len() * UNIT_CYCLES
    }
}

/// Fixed cost of one unit in one rectangle.
const UNIT_CYCLES: usize = 60;

/// Sizes that cut `n` into even pieces, the largest first.
fn divisions(n: usize) -> Vec<usize> {
    let mut sizes: Vec<usize> = (1..=n).map(|pieces| n.div_ceil(pieces)).collect();
    sizes.dedup();
    sizes
}
