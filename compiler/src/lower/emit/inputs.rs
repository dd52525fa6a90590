// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Input rows: which are in the banks, which must be loaded, which a pass reads.

use super::super::layout::{beats_per_bank_word, Layout};
use super::super::nest::Chunk;
use super::super::place::{dram_bytes, rows_needed, SCRATCH};
use super::super::schedule::{Cost, Region};
use super::super::stage::Stage;
use super::{Emitter, Item, Result, LOAD_CYCLES};
use crate::ir::TensorId;
use hdl_gen::isa::{Instr, LoadDst, Op, Queue};
use std::ops::Range;

/// Rows of an input that are in the banks, for one band or for the whole run.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Loaded {
    /// Rows `first..next` are loaded.
    pub first: usize,
    pub next: usize,
}

impl Emitter<'_> {
    /// Rows in the banks at the start of a band, for each feed.
    pub(super) fn start_band(&self, index: usize, stage: &Stage, rows: &Range<usize>) -> Vec<Loaded> {
        let feeds = stage.feeds.iter().zip(&self.plan.bands[index].buffers);
        feeds
            .map(|(feed, buffer)| match buffer {
                Some(_) => {
                    let height = self.graph.tensors[feed.tensor].shape[0];
                    let first = rows_needed(feed, stage.window, rows, height).start;
                    Loaded { first, next: first }
                }
                None => Loaded::default(),
            })
            .collect()
    }

    /// Loads the input rows that a chunk needs and that are not there yet.
    pub(super) fn load_rows(
        &mut self,
        index: usize,
        stage: &Stage,
        chunk: &Chunk,
        loaded: &mut [Loaded],
    ) -> Result<()> {
        let rows = chunk.y..chunk.y + chunk.ny;
        for (f, feed) in stage.feeds.iter().enumerate() {
            let height = self.graph.tensors[feed.tensor].shape[0];
            let end = rows_needed(feed, stage.window, &rows, height).end;
            let root = self.plan.root[feed.tensor];
            let layout = self.feed_layout(index, f);
            match self.plan.bands[index].buffers[f] {
                // pass by pass
                Some(_) if self.plan.bands[index].tiles.is_some() => {}
                Some(_) if self.plan.bands[index].ring => {
                    for y in loaded[f].next..end {
                        self.load_ring_row(root, y, layout.row())?;
                    }
                    loaded[f].next = loaded[f].next.max(end);
                }
                Some(buffer) => {
                    let Loaded { first, next } = loaded[f];
                    if end > next {
                        let at = buffer + (next - first) * layout.row();
                        let span = Region::span(at, at + (end - next) * layout.row());
                        self.load_act(root, next * layout.row()..end * layout.row(), at, span)?;
                        loaded[f].next = end;
                    }
                }
                None => {
                    let home = &self.plan.homes[root];
                    let (Some(bank), Some(_)) = (home.bank, home.dram) else { continue };
                    // rows of this view of the input to plane-words, in whole bank words
                    let size = layout.size();
                    let want =
                        if end == height { size } else { (end * layout.row()).next_multiple_of(4).min(size) };
                    let have = self.inputs.get(&root).map_or(0, |l| l.next);
                    if want > have {
                        let region = Region::part(bank, root, (have, want), (0, usize::MAX));
                        self.load_act(root, have..want, bank + have, region)?;
                        self.inputs.insert(root, Loaded { first: 0, next: want });
                    }
                }
            }
        }
        Ok(())
    }

    /// Loads row `y` of a tensor to its place in the ring.
    fn load_ring_row(&mut self, root: TensorId, y: usize, row: usize) -> Result<()> {
        for part in ring_parts(y * row..(y + 1) * row, self.arch.plane_words as usize) {
            let at = part.start % self.arch.plane_words as usize;
            self.load_act(root, part.clone(), at, Region::span(at, at + part.len()))?;
        }
        Ok(())
    }

    /// Loads plane-words `words` of a tensor in DRAM to plane-word `at` of the banks.
    pub(super) fn load_act(
        &mut self,
        root: TensorId,
        words: Range<usize>,
        at: usize,
        to: Region,
    ) -> Result<()> {
        let Some(place) = self.plan.homes[root].dram else { return Ok(()) };
        let beats = beats_per_bank_word(self.arch.lanes);
        let mut first = words.start;
        while first < words.end {
            // a load counts to 65535 words
            let n = (words.end - first).min(4 * 0x8000);
            let instr = Instr::new(Op::Load)
                .with("offset", (place.offset + first / 4 * beats * 8) as i64)?
                .with("region", place.region)?
                .with("dst", LoadDst::Act as i64)?
                .with("base", ((at + first - words.start) / 4) as i64)?
                .with("words", n.div_ceil(4) as i64)?
                .with("rows", 1)?;
            let mut deps = self.banks.before_write(&to);
            let source = self.scratch_region(root, (first, first + n), (0, usize::MAX));
            if place.region == SCRATCH {
                deps.extend(self.scratch.before_read(&source));
            }
            let cost = Cost { duration: (n / 4 * beats) as u64 + LOAD_CYCLES / 2, latency: LOAD_CYCLES / 2 };
            let node = self.schedule.push(Queue::Load, instr, deps, cost);
            self.banks.write(to, node, Queue::Load);
            if place.region == SCRATCH {
                self.scratch.read(source, node, Queue::Load);
            }
            first += n;
        }
        Ok(())
    }

    /// A part of a tensor in the scratch region: plane-words `rows`, channel blocks.
    pub(super) fn scratch_region(
        &self,
        root: TensorId,
        rows: (usize, usize),
        blocks: (usize, usize),
    ) -> Region {
        let lo = self.plan.homes[root].dram.map_or(0, |d| d.offset);
        let hi = lo + dram_bytes(&self.layout(root).in_dram());
        Region { lo, hi, owner: root, rows, blocks }
    }

    /// The parts of the banks that a pass reads; none when it reads padding only.
    pub(super) fn source_regions(
        &self,
        item: &Item,
        index: usize,
        f: usize,
        blocks: (usize, usize),
        layout: &Layout,
    ) -> Vec<Region> {
        let feed = &item.stage.feeds[f];
        let chunk = &item.chunk;
        let rows = rows_needed(feed, item.stage.window, &(chunk.y..chunk.y + chunk.ny), layout.shape[0]);
        if rows.is_empty() {
            return Vec::new();
        }
        if self.plan.bands[index].ring {
            let memory = self.arch.plane_words as usize;
            let row = |y: usize| ring_parts(y * layout.row()..(y + 1) * layout.row(), memory);
            let span = |p: Range<usize>| Region::span(p.start % memory, p.start % memory + p.len());
            return rows.flat_map(row).map(span).collect();
        }
        if let Some(buffer) = self.plan.bands[index].buffers[f] {
            let row = |y: usize| buffer + (y - item.loaded[f].first) * layout.row();
            return vec![Region::span(row(rows.start), row(rows.end))];
        }
        let root = self.plan.root[feed.tensor];
        let Some(bank) = self.plan.homes[root].bank else { return Vec::new() };
        let blocks = if root == feed.tensor { blocks } else { (0, usize::MAX) };
        vec![Region::part(bank, root, (rows.start * layout.row(), rows.end * layout.row()), blocks)]
    }
}

/// Pieces of a range of addresses that do not cross a multiple of `size`.
fn ring_parts(range: Range<usize>, size: usize) -> Vec<Range<usize>> {
    let mut parts = Vec::new();
    let mut at = range.start;
    while at < range.end {
        let end = range.end.min((at / size + 1) * size);
        parts.push(at..end);
        at = end;
    }
    parts
}
