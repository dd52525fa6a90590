// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Constants of the program: weights, taps, parameters and tables, and their loads.

use super::super::error::CompileErrorKind;
use super::super::layout::{stripe, Layout};
use super::super::place::CONSTANTS;
use super::super::schedule::{Cost, NodeId, Region, Ring, Tracker};
use super::super::stage::{PassSpec, Stage, Unit};
use super::super::tiles::slab_starts;
use super::{Emitter, Result, StageState, LOAD_CYCLES};
use crate::ir::ChannelParams;
use hdl_gen::isa::{Instr, LoadDst, Op, Queue};
use std::collections::BTreeMap;

/// A block of buffer words among the constants.
#[derive(Clone, Copy, Debug)]
pub(super) struct Constant {
    pub offset: usize,
    pub words: usize,
}

/// Consecutive passes whose weights (and taps, if not resident) are loaded together.
pub(super) struct Group {
    pub weights: Constant,
    pub taps: Option<Constant>,
    /// Where it is loaded now: first weight word and first tap.
    pub loaded: Option<(usize, usize)>,
}

/// One pass of the stage with what the emitter derived.
pub(super) struct PassInfo {
    pub group: usize,
    /// Words before it in its group's weights.
    pub weight_at: usize,
    /// Taps before it in its group's (or the stage's) taps.
    pub tap_at: usize,
    /// Channel block that its taps count from.
    pub block0: usize,
    pub blocks: (usize, usize),
    /// First channel block of the slab that it reads, where its input comes in slabs.
    pub slab: usize,
}

impl Emitter<'_> {
    /// Stores a block of buffer words among the constants, once.
    pub(super) fn constant(&mut self, dst: LoadDst, words: &[Vec<u64>]) -> Constant {
        let bytes = stripe(self.arch, dst, words);
        let next = self.constants.len();
        let offset = *self.known.entry(bytes.clone()).or_insert(next);
        if offset == next {
            self.constants.extend(&bytes);
        }
        Constant { offset, words: words.len() }
    }

    /// Emits a `load` of constants.
    pub(super) fn load(
        &mut self,
        dst: LoadDst,
        from: Constant,
        base: usize,
        deps: Vec<NodeId>,
    ) -> Result<NodeId> {
        let instr = Instr::new(Op::Load)
            .with("offset", from.offset as i64)?
            .with("region", CONSTANTS)?
            .with("dst", dst as i64)?
            .with("base", base as i64)?
            .with("words", from.words as i64)?
            .with("rows", 1)?;
        let beats = from.words as u64 * self.arch.load_beats(dst) as u64;
        let cost = Cost { duration: beats + LOAD_CYCLES / 2, latency: LOAD_CYCLES / 2 };
        Ok(self.schedule.push(Queue::Load, instr, deps, cost))
    }

    pub(super) fn prepare_stage(&mut self, index: usize, stage: &Stage) -> Result<StageState> {
        let layouts: Vec<Layout> = (0..stage.feeds.len()).map(|f| self.feed_layout(index, f)).collect();
        let passes: Vec<&PassSpec> = stage.units.iter().flat_map(|u| &u.passes).collect();
        let taps: Vec<Vec<Vec<u64>>> =
            passes.iter().map(|p| tap_words(p, &layouts[p.feed])).collect::<Result<_>>()?;
        let mut table = TapTable::default();
        let places: Vec<usize> = taps.iter().map(|t| table.place(t)).collect();
        let taps_resident = table.words.len() <= self.arch.tap_depth as usize / 2;
        let slabs = self.plan.bands[index].tiles.as_ref().map(|t| {
            let all: Vec<usize> = stage.feeds.iter().map(|f| self.layout(f.tensor).blocks()).collect();
            slab_starts(stage, &t.slabs, &all)
        });
        let mut state = StageState {
            index,
            groups: Vec::new(),
            passes: Vec::new(),
            weights_resident: false,
            taps: None,
            taps_at: None,
            wgt_at: None,
            params: Vec::new(),
            params_resident: None,
            tables: Vec::new(),
            targets: self.targets(stage),
            layouts,
            out_layout: self.layout(stage.output),
            counts: (0, 0, 0),
        };
        if taps_resident {
            state.taps = Some(self.constant(LoadDst::Tap, &table.words));
        }
        self.group_passes(&passes, &taps, &places, taps_resident, &mut state);
        for (pass, start) in state.passes.iter_mut().zip(slabs.into_iter().flatten()) {
            pass.slab = start;
        }
        let weight_words: usize = state.groups.iter().map(|g| g.weights.words).sum();
        state.weights_resident = taps_resident && weight_words <= self.arch.wgt_depth as usize;
        self.prepare_params(stage, &mut state)?;
        Ok(state)
    }

    /// Parameters (all units in one block where that fits half the buffer) and function tables.
    pub(super) fn prepare_params(&mut self, stage: &Stage, state: &mut StageState) -> Result<()> {
        let depth = self.arch.param_depth as usize;
        let words: Vec<usize> = stage.units.iter().map(|u| self.param_words(u)).collect();
        if let Some(need) = words.iter().copied().find(|w| *w > depth) {
            let what = "parameter words of one unit";
            return Err(CompileErrorKind::DoesNotFit { what, need, limit: depth });
        }
        let blocks: Vec<Vec<Vec<u64>>> =
            stage.units.iter().map(|u| u.params.iter().map(param_word).collect()).collect();
        state.params = match words.iter().sum::<usize>() <= depth / 2 {
            true => vec![self.constant(LoadDst::Param, &blocks.concat())],
            false => blocks.iter().map(|b| self.constant(LoadDst::Param, b)).collect(),
        };
        for unit in &stage.units {
            let table = unit.mode.table.as_ref().map(|t| {
                let words: Vec<Vec<u64>> = t.iter().map(|v| vec![*v as u16 as u64]).collect();
                self.constant(LoadDst::Table, &words)
            });
            state.tables.push(table);
        }
        Ok(())
    }

    pub(super) fn param_words(&self, unit: &Unit) -> usize {
        unit.params.len() / self.arch.requant_lanes as usize
    }

    /// Cuts the passes of a stage into groups of at most a quarter of the weight buffer.
    pub(super) fn group_passes(
        &mut self,
        passes: &[&PassSpec],
        taps: &[Vec<Vec<u64>>],
        places: &[usize],
        taps_resident: bool,
        state: &mut StageState,
    ) {
        let weight_limit = self.arch.wgt_depth as usize / 4;
        let tap_limit = self.arch.tap_depth as usize / 4;
        let mut first = 0;
        while first < passes.len() {
            let mut words: Vec<Vec<u64>> = Vec::new();
            let mut table = TapTable::default();
            let mut count = 0;
            while let Some(p) = passes.get(first + count) {
                let i = first + count;
                let full = words.len() + p.weights.len() > weight_limit
                    || (!taps_resident && table.words.len() + taps[i].len() > tap_limit);
                if count > 0 && full {
                    break;
                }
                let blocks = p.pairs.iter().map(|q| q.block);
                let block0 = blocks.clone().min().unwrap_or(0);
                state.passes.push(PassInfo {
                    group: state.groups.len(),
                    weight_at: words.len(),
                    tap_at: if taps_resident { places[i] } else { table.place(&taps[i]) },
                    block0,
                    blocks: (block0, blocks.max().unwrap_or(0) + 1),
                    slab: 0,
                });
                words.extend(p.weights.iter().cloned());
                count += 1;
            }
            let weights = self.constant(LoadDst::Wgt, &words);
            let taps = (!taps_resident).then(|| self.constant(LoadDst::Tap, &table.words));
            state.groups.push(Group { weights, taps, loaded: None });
            first += count;
        }
    }

    /// Brings a group of weights (and taps) into the buffers; first weight word and first tap.
    pub(super) fn load_group(&mut self, state: &mut StageState, g: usize) -> Result<(usize, usize)> {
        if let Some(at) = state.groups[g].loaded {
            return Ok(at);
        }
        let (weights, taps) = (state.groups[g].weights, state.groups[g].taps);
        let tap_at = match (taps, state.taps, state.taps_at) {
            (Some(own), ..) => self.load_to(LoadDst::Tap, own)?,
            (None, _, Some(at)) => at,
            (None, Some(all), None) => self.load_to(LoadDst::Tap, all)?,
            (None, None, None) => 0,
        };
        if taps.is_none() {
            state.taps_at = Some(tap_at);
        }
        let wgt_at = match state.weights_resident {
            true => {
                let total = state.groups.iter().map(|g| g.weights.words).sum();
                let first = match state.wgt_at {
                    Some(at) => at,
                    None => self.wgt.0.take("weight words of a layer", total)?,
                };
                state.wgt_at = Some(first);
                let before: usize = state.groups[..g].iter().map(|g| g.weights.words).sum();
                self.load_at(LoadDst::Wgt, weights, first + before)?
            }
            false => {
                // the ring may hand out their places
                state.groups.iter_mut().for_each(|g| g.loaded = None);
                self.load_to(LoadDst::Wgt, weights)?
            }
        };
        state.groups[g].loaded = Some((wgt_at, tap_at));
        Ok((wgt_at, tap_at))
    }

    /// Loads a constant block into the ring of its buffer; its first word.
    pub(super) fn load_to(&mut self, dst: LoadDst, from: Constant) -> Result<usize> {
        let len = self.ring_words(dst, from);
        let what = match dst {
            LoadDst::Wgt => "weight words of one group of outputs",
            LoadDst::Tap => "tap words of one pass",
            _ => "parameter words of one unit",
        };
        let at = self.ring(dst).0.take(what, len)?;
        self.load_at(dst, from, at)
    }

    /// Words of the ring (parameters: of `requant_lanes` channels) that a block takes.
    pub(super) fn ring_words(&self, dst: LoadDst, from: Constant) -> usize {
        match dst {
            LoadDst::Param => from.words / self.arch.requant_lanes as usize,
            _ => from.words,
        }
    }

    /// Loads a constant block to word `at` of a buffer.
    pub(super) fn load_at(&mut self, dst: LoadDst, from: Constant, at: usize) -> Result<usize> {
        let len = self.ring_words(dst, from);
        let region = Region::span(at, at + len);
        let deps = self.ring(dst).1.before_write(&region);
        let node = self.load(dst, from, at * (from.words / len.max(1)), deps)?;
        self.ring(dst).1.write(region, node, Queue::Load);
        Ok(at)
    }

    pub(super) fn ring(&mut self, dst: LoadDst) -> &mut (Ring, Tracker) {
        match dst {
            LoadDst::Wgt => &mut self.wgt,
            LoadDst::Tap => &mut self.taps,
            _ => &mut self.params,
        }
    }

    /// Parameter word of a unit, loaded if necessary.
    pub(super) fn load_params(&mut self, state: &mut StageState, stage: &Stage, u: usize) -> Result<usize> {
        if state.params.len() == stage.units.len() && stage.units.len() > 1 {
            return self.load_to(LoadDst::Param, state.params[u]);
        }
        let base = match state.params_resident {
            Some(base) => base,
            None => self.load_to(LoadDst::Param, state.params[0])?,
        };
        state.params_resident = Some(base);
        Ok(base + stage.units[..u].iter().map(|u| self.param_words(u)).sum::<usize>())
    }

    pub(super) fn load_table(&mut self, state: &StageState, unit: &Unit, u: usize) -> Result<()> {
        let (Some(table), Some(from)) = (&unit.mode.table, state.tables[u]) else { return Ok(()) };
        if self.table_now.as_ref() != Some(table) {
            let region = Region::span(0, 1);
            let deps = self.table.before_write(&region);
            let node = self.load(LoadDst::Table, from, 0, deps)?;
            self.table.write(region, node, Queue::Load);
            self.table_now = Some(table.clone());
        }
        Ok(())
    }
}

/// One channel's parameters as the parameter buffer holds them.
fn param_word(p: &ChannelParams) -> Vec<u64> {
    vec![p.bias as u32 as u64 | (p.multiplier as u32 as u64) << 32, p.addend as u64 | (p.shift as u64) << 32]
}

/// Tap entries of a pass, counted from its lowest channel block.
fn tap_words(pass: &PassSpec, layout: &Layout) -> Result<Vec<Vec<u64>>> {
    let block0 = pass.pairs.iter().map(|p| p.block).min().unwrap_or(0);
    pass.pairs
        .iter()
        .map(|p| {
            let reach = p.dy.max(p.dx);
            if reach > 511 {
                let what = "rows or columns from the first to the last kernel tap";
                return Err(CompileErrorKind::DoesNotFit { what, need: reach, limit: 511 });
            }
            let block = (p.block - block0) * layout.slots as usize;
            let addr = p.dy * layout.row() + p.dx * layout.pixel() + block + p.plane;
            Ok(vec![(addr & 0xffff) as u64 | (p.dy as u64) << 16 | (p.dx as u64) << 26])
        })
        .collect()
}

/// Tap entries, equal lists stored once.
#[derive(Default)]
struct TapTable {
    words: Vec<Vec<u64>>,
    lists: BTreeMap<Vec<Vec<u64>>, usize>,
}

impl TapTable {
    fn place(&mut self, list: &[Vec<u64>]) -> usize {
        if let Some(at) = self.lists.get(list) {
            return *at;
        }
        let at = self.words.len();
        self.words.extend(list.iter().cloned());
        self.lists.insert(list.to_vec(), at);
        at
    }
}
