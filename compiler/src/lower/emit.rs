// SPDX-License-Identifier: Apache-2.0 OR MIT
//! From placed stages to instructions: chunks, buffers, loads, passes, posts.

use super::error::{CompileError, CompileErrorKind};
use super::layout::{beats_per_bank_word, stripe, Layout};
use super::nest::{chunks, Chunk, Nest};
use super::place::{dram_bytes, rows_needed, Plan, CONSTANTS, OUTPUT, SCRATCH};
use super::schedule::{Cost, NodeId, Region, Ring, Schedule, Tracker};
use super::stage::{Mode, PassSpec, Stage, Unit};
use crate::ir::{ChannelParams, Graph, TensorId};
use crate::program::{LayerInfo, Program, ProgramInfo, TensorForm};
use hdl_gen::isa::{Instr, LoadDst, Op, Queue, WindowOp};
use hdl_gen::Arch;
use std::collections::BTreeMap;

type Result<T> = std::result::Result<T, CompileErrorKind>;

/// Estimated cycles (for ordering alone): start of a load, latency of the array, overhead of a post.
const LOAD_CYCLES: u64 = 50;
const PASS_LATENCY: u64 = 40;
const POST_CYCLES: u64 = 30;

/// Makes the program.
pub fn emit(graph: &Graph, arch: &Arch, plan: Plan) -> std::result::Result<Program, CompileError> {
    let mut e = Emitter::new(graph, arch, &plan);
    let mut layers = Vec::new();
    for (i, stage) in plan.stages.iter().enumerate() {
        let layer = e.stage(i, stage).map_err(|k| k.at(&stage.name))?;
        layers.push(layer);
    }
    let end = |op| Instr::new(op);
    let hash = end(Op::Begin)
        .with("hash", arch.hash as i64)
        .map_err(|k| CompileErrorKind::from(k).at(&graph.name))?;
    let (schedule, constants) = (e.schedule, e.constants);
    let instrs: Vec<Instr> = [hash].into_iter().chain(schedule.finish()).chain([end(Op::End)]).collect();
    let info = ProgramInfo {
        name: graph.name.clone(),
        arch_hash: arch.hash,
        arch_name: arch.config.name.clone(),
        input_bytes: plan.input_bytes,
        output_bytes: plan.output_bytes,
        scratch_bytes: plan.scratch_bytes,
        inputs: plan.inputs,
        outputs: plan.outputs,
        intermediates: plan.intermediates,
        layers,
    };
    Ok(Program { info, instrs, constants })
}

/// A block of buffer words among the constants.
#[derive(Clone, Copy, Debug)]
struct Constant {
    offset: usize,
    words: usize,
}

/// Consecutive passes whose weights (and taps, if not resident) are loaded together.
struct Group {
    weights: Constant,
    taps: Option<Constant>,
    /// Where it is loaded now: first weight word and first tap.
    loaded: Option<(usize, usize)>,
}

/// One pass of the stage with what the emitter derived.
struct PassInfo {
    group: usize,
    /// Words before it in its group's weights.
    weight_at: usize,
    /// Taps before it in its group's (or the stage's) taps.
    tap_at: usize,
    /// Channel block that its taps count from.
    block0: usize,
    blocks: (usize, usize),
}

/// Where results of a stage go.
#[derive(Clone, Copy, Debug)]
enum Target {
    /// First plane-word.
    Bank(usize),
    Dram {
        region: i64,
        offset: usize,
        form: TensorForm,
    },
}

/// State of a stage under way.
struct StageState {
    index: usize,
    groups: Vec<Group>,
    passes: Vec<PassInfo>,
    weights_resident: bool,
    /// All taps of the stage.
    taps: Option<Constant>,
    taps_at: Option<usize>,
    /// First weight word of the stage, where all its weights stay.
    wgt_at: Option<usize>,
    params: Vec<Constant>,
    params_resident: Option<usize>,
    tables: Vec<Option<Constant>>,
    targets: Vec<Target>,
    layouts: Vec<Layout>,
    out_layout: Layout,
    counts: (usize, usize, u64),
}

/// Rows of an input that are in the banks, for one band or for the whole run.
#[derive(Clone, Copy, Debug, Default)]
struct Loaded {
    /// Rows `first..next` are loaded.
    first: usize,
    next: usize,
}

struct Emitter<'a> {
    graph: &'a Graph,
    arch: &'a Arch,
    plan: &'a Plan,
    schedule: Schedule,
    constants: Vec<u8>,
    known: BTreeMap<Vec<u8>, usize>,
    wgt: (Ring, Tracker),
    taps: (Ring, Tracker),
    params: (Ring, Tracker),
    acc: (Ring, Tracker),
    table: Tracker,
    /// Table in the machine now.
    table_now: Option<Vec<i16>>,
    banks: Tracker,
    scratch: Tracker,
    /// Posts (readers) and accumulating passes (writers): they never run together.
    acc_port: Tracker,
    /// Last instruction of each configuring opcode.
    config: BTreeMap<Op, Instr>,
    /// Stage and pass whose weights are in the array, and the pass that took the last ones.
    in_array: Option<(usize, usize)>,
    last_swap: Option<NodeId>,
    /// Network inputs that stay in the banks: rows loaded.
    inputs: BTreeMap<TensorId, Loaded>,
}

fn wrap16(v: isize) -> i64 {
    (v as i64 + 0x8000).rem_euclid(0x1_0000) - 0x8000
}

impl<'a> Emitter<'a> {
    fn new(graph: &'a Graph, arch: &'a Arch, plan: &'a Plan) -> Self {
        let part = |depth: u32| (Ring::new(depth as usize), Tracker::default());
        Emitter {
            graph,
            arch,
            plan,
            schedule: Schedule::default(),
            constants: Vec::new(),
            known: BTreeMap::new(),
            wgt: part(arch.wgt_depth),
            taps: part(arch.tap_depth),
            params: part(arch.param_depth),
            acc: part(arch.acc_depth),
            table: Tracker::default(),
            table_now: None,
            banks: Tracker::default(),
            scratch: Tracker::default(),
            acc_port: Tracker::default(),
            config: BTreeMap::new(),
            in_array: None,
            last_swap: None,
            inputs: BTreeMap::new(),
        }
    }

    fn layout(&self, t: TensorId) -> Layout {
        let tensor = &self.graph.tensors[t];
        Layout::new(self.arch, tensor.shape, tensor.ty)
    }

    /// Layout in which a feed's tensor is read.
    fn feed_layout(&self, stage: usize, feed: usize) -> Layout {
        let layout = self.layout(self.plan.stages[stage].feeds[feed].tensor);
        match self.plan.bands[stage].buffers[feed] {
            Some(_) => layout.in_dram(),
            None => layout,
        }
    }

    /// Stores a block of buffer words among the constants, once.
    fn constant(&mut self, dst: LoadDst, words: &[Vec<u64>]) -> Constant {
        let bytes = stripe(self.arch, dst, words);
        let next = self.constants.len();
        let offset = *self.known.entry(bytes.clone()).or_insert(next);
        if offset == next {
            self.constants.extend(&bytes);
        }
        Constant { offset, words: words.len() }
    }

    /// Emits a `load` of constants.
    fn load(&mut self, dst: LoadDst, from: Constant, base: usize, deps: Vec<NodeId>) -> Result<NodeId> {
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

    /// Emits a configuring instruction unless it is in force already.
    fn configure(&mut self, queue: Queue, instr: Instr) {
        let op = instr.op().expect("made from an opcode");
        if self.config.insert(op, instr) != Some(instr) {
            self.schedule.push(queue, instr, vec![], Cost::default());
        }
    }

    fn stage(&mut self, index: usize, stage: &'a Stage) -> Result<LayerInfo> {
        let mut state = self.prepare_stage(index, stage)?;
        let areas = stage.units.iter().map(|u| u.areas).max().unwrap_or(1);
        let limit = self.chunk_limit(stage, &state, areas)?;
        let upsample = stage.feeds.iter().map(|f| f.geometry.upsample).max().unwrap_or(1);
        let bands = &self.plan.bands[index];
        for y in (0..stage.grid[0]).step_by(bands.rows.max(1)) {
            let rows = y..(y + bands.rows).min(stage.grid[0]);
            let mut loaded = self.start_band(index, stage, &rows);
            for mut chunk in chunks([rows.len(), stage.grid[1]], limit, upsample) {
                chunk.y += rows.start;
                self.load_rows(index, stage, &chunk, &mut loaded)?;
                let mut first = 0;
                for (u, unit) in stage.units.iter().enumerate() {
                    self.item(stage, &mut state, &chunk, u, first, &loaded)?;
                    first += unit.passes.len();
                }
            }
        }
        let mark = Instr::new(Op::PostMark).with("id", index as i64)?;
        self.schedule.push(Queue::Post, mark, vec![], Cost::default());
        Ok(LayerInfo {
            mark: index as u16,
            name: stage.name.clone(),
            op: stage.op.into(),
            shape_in: self.graph.tensors[stage.feeds[0].tensor].shape,
            shape_out: self.graph.tensors[stage.output].shape,
            act_bits: stage.act_bits,
            wgt_bits: stage.wgt_bits,
            macs: stage.macs,
            passes: state.counts.0,
            posts: state.counts.1,
            stream_cycles: state.counts.2,
        })
    }

    /// Results of one chunk: at most half the accumulators, and enough chunks that passes and posts overlap.
    fn chunk_limit(&self, stage: &Stage, state: &StageState, areas: usize) -> Result<usize> {
        let window: usize = stage.window.iter().product();
        let depth = self.arch.acc_depth as usize;
        let all = depth / areas / window;
        if all == 0 {
            let what = "accumulators for one pooling window";
            return Err(CompileErrorKind::DoesNotFit { what, need: areas * window, limit: depth });
        }
        let limit = (all / 2).max(1);
        let in_rows = stage.units.iter().flat_map(|u| &u.passes).any(|p| p.planes_in_rows);
        let steps = match in_rows {
            true => 1,
            false => state.layouts.iter().map(|l| self.arch.steps(l.planes)).max().unwrap_or(1) as usize,
        };
        let shift = self.arch.rows as usize * self.arch.groups as usize + self.arch.groups as usize;
        let least = match state.passes.len() {
            1 => 64,
            _ => shift.div_ceil(steps).max(64),
        };
        let results: usize = stage.grid.iter().product();
        let wanted = (results * stage.units.len()).div_ceil(4);
        Ok(limit.min(wanted.max(least.div_ceil(window))))
    }

    // ---- constants -------------------------------------------------------------------------------------------

    fn prepare_stage(&mut self, index: usize, stage: &Stage) -> Result<StageState> {
        let layouts: Vec<Layout> = (0..stage.feeds.len()).map(|f| self.feed_layout(index, f)).collect();
        let passes: Vec<&PassSpec> = stage.units.iter().flat_map(|u| &u.passes).collect();
        let taps: Vec<Vec<Vec<u64>>> =
            passes.iter().map(|p| tap_words(p, &layouts[p.feed])).collect::<Result<_>>()?;
        let mut table = TapTable::default();
        let places: Vec<usize> = taps.iter().map(|t| table.place(t)).collect();
        let taps_resident = table.words.len() <= self.arch.tap_depth as usize / 2;
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
        let weight_words: usize = state.groups.iter().map(|g| g.weights.words).sum();
        state.weights_resident = taps_resident && weight_words <= self.arch.wgt_depth as usize;
        self.prepare_params(stage, &mut state)?;
        Ok(state)
    }

    /// Parameters (all units in one block where that fits half the buffer) and function tables.
    fn prepare_params(&mut self, stage: &Stage, state: &mut StageState) -> Result<()> {
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

    fn param_words(&self, unit: &Unit) -> usize {
        unit.params.len() / self.arch.requant_lanes as usize
    }

    /// Cuts the passes of a stage into groups of at most a quarter of the weight buffer.
    fn group_passes(
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

    /// Where the results of a stage go.
    fn targets(&self, stage: &Stage) -> Vec<Target> {
        let home = &self.plan.homes[self.plan.root[stage.output]];
        let mut targets = Vec::new();
        if !stage.export_only {
            targets.extend(home.bank.map(Target::Bank));
            let layout = self.layout(stage.output).in_dram();
            let form = TensorForm::Planes(layout);
            targets.extend(home.dram.map(|d| Target::Dram { region: d.region, offset: d.offset, form }));
        }
        targets.extend(home.export.map(|(offset, form)| Target::Dram { region: OUTPUT, offset, form }));
        targets
    }

    // ---- inputs ----------------------------------------------------------------------------------------------

    /// Rows in the banks at the start of a band, for each feed.
    fn start_band(&self, index: usize, stage: &Stage, rows: &std::ops::Range<usize>) -> Vec<Loaded> {
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
    fn load_rows(&mut self, index: usize, stage: &Stage, chunk: &Chunk, loaded: &mut [Loaded]) -> Result<()> {
        let rows = chunk.y..chunk.y + chunk.ny;
        for (f, feed) in stage.feeds.iter().enumerate() {
            let height = self.graph.tensors[feed.tensor].shape[0];
            let end = rows_needed(feed, stage.window, &rows, height).end;
            let root = self.plan.root[feed.tensor];
            let layout = self.feed_layout(index, f);
            match self.plan.bands[index].buffers[f] {
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
                        let region = Region {
                            lo: bank,
                            hi: bank + self.layout(root).size(),
                            owner: root,
                            rows: (have, want),
                            blocks: (0, usize::MAX),
                        };
                        self.load_act(root, have..want, bank + have, region)?;
                        self.inputs.insert(root, Loaded { first: 0, next: want });
                    }
                }
            }
        }
        Ok(())
    }

    /// Loads plane-words `words` of a tensor in DRAM to plane-word `at` of the banks.
    fn load_act(
        &mut self,
        root: TensorId,
        words: std::ops::Range<usize>,
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
    fn scratch_region(&self, root: TensorId, rows: (usize, usize), blocks: (usize, usize)) -> Region {
        let lo = self.plan.homes[root].dram.map_or(0, |d| d.offset);
        let hi = lo + dram_bytes(&self.layout(root).in_dram());
        Region { lo, hi, owner: root, rows, blocks }
    }

    // ---- items -----------------------------------------------------------------------------------------------

    /// One chunk of one unit: its passes and its posts.
    fn item(
        &mut self,
        stage: &Stage,
        state: &mut StageState,
        chunk: &Chunk,
        u: usize,
        first_pass: usize,
        loaded: &[Loaded],
    ) -> Result<()> {
        let unit = &stage.units[u];
        let window: usize = stage.window.iter().product();
        let pixels = chunk.pixels() * window;
        let acc = self.acc.0.take(unit.areas * pixels);
        let area = Region::span(acc, acc + unit.areas * pixels);
        let mut last = None;
        for (p, pass) in unit.passes.iter().enumerate() {
            let at = acc + pass.area * pixels;
            last = Some(self.pass(stage, state, chunk, pass, first_pass + p, at, unit, loaded)?);
        }
        let param = self.load_params(state, stage, u)?;
        self.load_table(state, unit, u)?;
        for target in state.targets.clone() {
            let node = self.post(stage, state, chunk, unit, acc, param, target)?;
            last.into_iter().for_each(|l| self.schedule.depend(node, l));
            self.acc.1.read(area, node, Queue::Post);
            self.acc_port.read(Region::span(0, 1), node, Queue::Post);
            let words = self.param_words(unit);
            self.params.1.read(Region::span(param, param + words), node, Queue::Post);
            if unit.mode.table.is_some() {
                self.table.read(Region::span(0, 1), node, Queue::Post);
            }
        }
        Ok(())
    }

    /// Brings a group of weights (and taps) into the buffers; first weight word and first tap.
    fn load_group(&mut self, state: &mut StageState, g: usize) -> Result<(usize, usize)> {
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
                let first = *state.wgt_at.get_or_insert_with(|| self.wgt.0.take(total));
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
    fn load_to(&mut self, dst: LoadDst, from: Constant) -> Result<usize> {
        let len = self.ring_words(dst, from);
        let at = self.ring(dst).0.take(len);
        self.load_at(dst, from, at)
    }

    /// Words of the ring (parameters: of `requant_lanes` channels) that a block takes.
    fn ring_words(&self, dst: LoadDst, from: Constant) -> usize {
        match dst {
            LoadDst::Param => from.words / self.arch.requant_lanes as usize,
            _ => from.words,
        }
    }

    /// Loads a constant block to word `at` of a buffer.
    fn load_at(&mut self, dst: LoadDst, from: Constant, at: usize) -> Result<usize> {
        let len = self.ring_words(dst, from);
        let region = Region::span(at, at + len);
        let deps = self.ring(dst).1.before_write(&region);
        let node = self.load(dst, from, at * (from.words / len.max(1)), deps)?;
        self.ring(dst).1.write(region, node, Queue::Load);
        Ok(at)
    }

    fn ring(&mut self, dst: LoadDst) -> &mut (Ring, Tracker) {
        match dst {
            LoadDst::Wgt => &mut self.wgt,
            LoadDst::Tap => &mut self.taps,
            _ => &mut self.params,
        }
    }

    /// Parameter word of a unit, loaded if necessary.
    fn load_params(&mut self, state: &mut StageState, stage: &Stage, u: usize) -> Result<usize> {
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

    fn load_table(&mut self, state: &StageState, unit: &Unit, u: usize) -> Result<()> {
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

    #[allow(clippy::too_many_arguments)]
    fn pass(
        &mut self,
        stage: &Stage,
        state: &mut StageState,
        chunk: &Chunk,
        spec: &PassSpec,
        number: usize,
        acc: usize,
        unit: &Unit,
        loaded: &[Loaded],
    ) -> Result<NodeId> {
        let swap = self.in_array != Some((state.index, number));
        let shift = match swap {
            true => Some(self.shift(state, spec, number)?),
            false => None,
        };
        let feed = &stage.feeds[spec.feed];
        let layout = state.layouts[spec.feed];
        let nest = Nest::new(&layout, &feed.geometry, chunk, stage.window);
        self.shape(&nest, &layout, feed.pad_code)?;
        let info = &state.passes[number];
        let base = match self.plan.bands[state.index].buffers[spec.feed] {
            Some(buffer) => buffer as isize - (loaded[spec.feed].first * layout.row()) as isize,
            None => self.plan.homes[self.plan.root[feed.tensor]].bank.unwrap_or(0) as isize,
        };
        let addr = base + nest.addr + (info.block0 * layout.slots as usize) as isize;
        let steps = if spec.planes_in_rows { 1 } else { self.arch.steps(layout.planes) };
        let instr = Instr::new(Op::Pass)
            .with("addr", (addr as i64).rem_euclid(self.arch.plane_words as i64))?
            .with("y", nest.y as i64)?
            .with("x", nest.x as i64)?
            .with("acc", acc as i64)?
            .with("steps", steps as i64 - 1)?
            .with("act_signed", (layout.ty.signed && !spec.planes_in_rows) as i64)?
            .with("wgt_log2", unit.mode.wgt_log2 as i64)?
            .with("wgt_signed", spec.wgt_signed as i64)?
            .with("swap", swap as i64)?
            .with("overwrite", spec.overwrite as i64)?
            .with("shift8", spec.shift8 as i64)?;
        let source = self.source_region(state.index, stage, spec.feed, chunk, info.blocks, &layout, loaded);
        let written = Region::span(acc, acc + nest.pixels());
        let mut deps = self.acc.1.before_write(&written);
        if let Some(source) = &source {
            deps.extend(self.banks.before_read(source));
        }
        let port = Region::span(0, 1);
        if !spec.overwrite {
            deps.extend(self.acc_port.before_write(&port));
        }
        let duration = (nest.pixels() as u64) * steps as u64;
        let node = self.schedule.push(Queue::Pass, instr, deps, Cost { duration, latency: PASS_LATENCY });
        self.acc.1.write(written, node, Queue::Pass);
        if let Some(source) = source {
            self.banks.read(source, node, Queue::Pass);
        }
        if !spec.overwrite {
            self.acc_port.write(port, node, Queue::Pass);
        }
        if let Some(shift) = shift {
            self.schedule.start_after_end(node, shift);
            self.last_swap = Some(node);
            self.in_array = Some((state.index, number));
        }
        state.counts.0 += 1;
        state.counts.2 += duration;
        Ok(node)
    }

    /// Shifts the weights of a pass into the shadow registers.
    fn shift(&mut self, state: &mut StageState, spec: &PassSpec, number: usize) -> Result<NodeId> {
        let g = state.passes[number].group;
        let (wgt_at, tap_at) = self.load_group(state, g)?;
        let info = &state.passes[number];
        let (addr, tap) = (wgt_at + info.weight_at, tap_at + info.tap_at);
        let words = Region::span(addr, addr + spec.weights.len());
        let taps = Region::span(tap, tap + spec.pairs.len());
        let mut deps = self.wgt.1.before_read(&words);
        deps.extend(self.taps.1.before_read(&taps));
        let instr = Instr::new(Op::WgtShift)
            .with("addr", addr as i64)?
            .with("rows", spec.pairs.len() as i64)?
            .with("groups", spec.groups as i64)?
            .with("tap", tap as i64)?;
        let cost = Cost { duration: spec.weights.len() as u64, latency: 0 };
        let node = self.schedule.push(Queue::Wgt, instr, deps, cost);
        if let Some(swap) = self.last_swap {
            self.schedule.start_after_start(node, swap);
        }
        self.wgt.1.read(words, node, Queue::Wgt);
        self.taps.1.read(taps, node, Queue::Wgt);
        Ok(node)
    }

    /// `pass.shape` and the jumps.
    fn shape(&mut self, nest: &Nest, layout: &Layout, pad_code: i32) -> Result<()> {
        let [h, w, _] = layout.shape;
        let mut shape = Instr::new(Op::PassShape)
            .with("h", h as i64)?
            .with("w", w as i64)?
            .with("pad", layout.pad_bits(pad_code))?;
        for (name, l) in ["n0", "n1", "n2", "n3"].into_iter().zip(&nest.loops) {
            shape = shape.with(name, l.turns as i64 - 1)?;
        }
        self.configure(Queue::Pass, shape);
        for (op, names, loops) in [
            (Op::PassJump01, [["da0", "dy0", "dx0"], ["da1", "dy1", "dx1"]], &nest.loops[..2]),
            (Op::PassJump23, [["da2", "dy2", "dx2"], ["da3", "dy3", "dx3"]], &nest.loops[2..]),
        ] {
            let mut jump = Instr::new(op);
            for ([a, y, x], l) in names.into_iter().zip(loops) {
                let once = l.turns == 1;
                let pick = |v: isize| if once { 0 } else { v };
                jump = jump
                    .with(a, wrap16(pick(l.addr)))?
                    .with(y, pick(l.y) as i64)?
                    .with(x, pick(l.x) as i64)?;
            }
            if loops.iter().any(|l| l.turns > 1) {
                self.configure(Queue::Pass, jump);
            }
        }
        Ok(())
    }

    /// The part of the banks that a pass reads; `None` when it reads padding only.
    #[allow(clippy::too_many_arguments)]
    fn source_region(
        &self,
        index: usize,
        stage: &Stage,
        f: usize,
        chunk: &Chunk,
        blocks: (usize, usize),
        layout: &Layout,
        loaded: &[Loaded],
    ) -> Option<Region> {
        let feed = &stage.feeds[f];
        let rows = rows_needed(feed, stage.window, &(chunk.y..chunk.y + chunk.ny), layout.shape[0]);
        if rows.is_empty() {
            return None;
        }
        if let Some(buffer) = self.plan.bands[index].buffers[f] {
            let row = |y: usize| buffer + (y - loaded[f].first) * layout.row();
            return Some(Region::span(row(rows.start), row(rows.end)));
        }
        let root = self.plan.root[feed.tensor];
        let bank = self.plan.homes[root].bank?;
        let own = root == feed.tensor;
        Some(Region {
            lo: bank,
            hi: bank + self.layout(root).size(),
            owner: root,
            rows: (rows.start * layout.row(), rows.end * layout.row()),
            blocks: if own { blocks } else { (0, usize::MAX) },
        })
    }

    // ---- results ---------------------------------------------------------------------------------------------

    #[allow(clippy::too_many_arguments)]
    fn post(
        &mut self,
        stage: &Stage,
        state: &mut StageState,
        chunk: &Chunk,
        unit: &Unit,
        acc: usize,
        param: usize,
        target: Target,
    ) -> Result<NodeId> {
        let window: usize = stage.window.iter().product();
        let (pixels, accs) = (chunk.pixels(), chunk.pixels() * window);
        let out = state.out_layout;
        let first = unit.first_pixel + chunk.y * stage.grid[1] + chunk.x;
        let layout = match target {
            Target::Bank(_) => out,
            Target::Dram { .. } => out.in_dram(),
        };
        self.mode(unit, window, &layout, target)?;
        if unit.mode.add {
            let words = unit.tiles * unit.beats;
            let add = Instr::new(Op::PostAdd)
                .with("acc", (unit.tiles * accs) as i64)?
                .with("param_b", words as i64)?
                .with("param_s", 2 * words as i64)?;
            self.configure(Queue::Post, add);
        }
        let (address, written, deps) = match target {
            Target::Bank(bank) => self.bank_target(stage, unit, &layout, bank, first, pixels)?,
            Target::Dram { region, offset, form } => {
                self.dram_target(stage, unit, region, offset, form, first, pixels)?
            }
        };
        let mut deps = deps;
        deps.extend(self.params.1.before_read(&Region::span(param, param + self.param_words(unit))));
        if unit.mode.table.is_some() {
            deps.extend(self.table.before_read(&Region::span(0, 1)));
        }
        deps.extend(self.acc_port.before_read(&Region::span(0, 1)));
        let instr = Instr::new(Op::Post)
            .with("acc", acc as i64)?
            .with("pixels", pixels as i64 - 1)?
            .with("window", window as i64 - 1)?
            .with("tiles", unit.tiles as i64 - 1)?
            .with("tile_acc", accs as i64)?
            .with("beats", unit.beats as i64 - 1)?
            .with("beat", 0)?
            .with("param", param as i64)?
            .with("out", address)?
            .with("last_lanes", unit.last_lanes as i64 - 1)?;
        let slots = if unit.mode.add { 3 } else { 1 };
        let duration = (accs * unit.tiles * unit.beats * slots) as u64 + POST_CYCLES;
        let node = self.schedule.push(Queue::Post, instr, deps, Cost { duration, latency: 1 });
        match (target, written) {
            (Target::Bank(_), Some(region)) => self.banks.write(region, node, Queue::Post),
            (_, Some(region)) => self.scratch.write(region, node, Queue::Post),
            _ => {}
        }
        state.counts.1 += 1;
        Ok(node)
    }

    /// `post.mode`.
    fn mode(&mut self, unit: &Unit, window: usize, layout: &Layout, target: Target) -> Result<()> {
        let m: &Mode = &unit.mode;
        let dram = matches!(target, Target::Dram { .. });
        let int32 = matches!(target, Target::Dram { form: TensorForm::Int32 { .. }, .. });
        let slots = if m.add { 3 } else { window as u32 };
        let beats = (unit.tiles * unit.beats) as u32;
        let gap = self.arch.post_gap(layout.planes.min(16), int32, dram, beats, slots);
        let window_op = if window == 1 { WindowOp::None } else { m.window };
        let instr = Instr::new(Op::PostMode)
            .with("rounding", m.rounding as i64)?
            .with("zp", m.zero_point as i64)?
            .with("lo", m.clamp.0 as i64)?
            .with("hi", m.clamp.1 as i64)?
            .with("raw", m.raw as i64)?
            .with("table", m.table.is_some() as i64)?
            .with("window", window_op as i64)?
            .with("bipolar", m.bipolar as i64)?
            .with("add", m.add as i64)?
            .with("wgt_log2", m.wgt_log2 as i64)?
            .with("shl20", m.shl20 as i64)?
            .with("dram", dram as i64)?
            .with("int32", int32 as i64)?
            .with("planes", layout.planes.min(16) as i64 - 1)?
            .with("slots", layout.slots_code())?
            .with("gap", gap as i64)?;
        self.configure(Queue::Post, instr);
        Ok(())
    }

    /// Address of the first result in the banks, the region written, what must be finished before.
    #[allow(clippy::type_complexity)]
    fn bank_target(
        &mut self,
        stage: &Stage,
        unit: &Unit,
        layout: &Layout,
        bank: usize,
        first: usize,
        pixels: usize,
    ) -> Result<(i64, Option<Region>, Vec<NodeId>)> {
        let pixel = layout.pixel() as isize;
        let out = Instr::new(Op::PostOut)
            .with("nx", 0)?
            .with("dx", wrap16(pixel))?
            .with("dy", wrap16(pixel))?
            .with("db", layout.slots as i64)?;
        self.configure(Queue::Post, out);
        let address = bank + first * layout.pixel() + unit.block * layout.slots as usize;
        let region = Region {
            lo: bank,
            hi: bank + layout.size(),
            owner: stage.output,
            rows: (first * layout.pixel(), (first + pixels) * layout.pixel()),
            blocks: (unit.block, unit.block + unit.blocks),
        };
        let deps = self.banks.before_write(&region);
        Ok((address as i64, Some(region), deps))
    }

    /// The same for DRAM, where words are written in order.
    #[allow(clippy::too_many_arguments, clippy::type_complexity)]
    fn dram_target(
        &mut self,
        stage: &Stage,
        unit: &Unit,
        region: i64,
        offset: usize,
        form: TensorForm,
        first: usize,
        pixels: usize,
    ) -> Result<(i64, Option<Region>, Vec<NodeId>)> {
        // 64-bit words: of a pixel, of this unit in a pixel, before this unit in a pixel
        let (pitch, words, before) = match form {
            TensorForm::Int32 { pitch, .. } => {
                let lanes = self.arch.requant_lanes as usize;
                (pitch / 2, unit.tiles * unit.beats * lanes / 2, unit.block * self.arch.lanes as usize / 2)
            }
            TensorForm::Planes(l) => {
                let block = l.slots as usize / 4 * beats_per_bank_word(l.lanes);
                (l.blocks() * block, unit.blocks * block, unit.block * block)
            }
        };
        let (row, pitch_words) = if words == pitch { (words * pixels, 0) } else { (words, pitch) };
        let instr = Instr::new(Op::PostDram)
            .with("offset", (offset + (first * pitch + before) * 8) as i64)?
            .with("region", region)?
            .with("words", row as i64)?
            .with("pitch", pitch_words as i64)?;
        // the position moves with every post
        self.config.remove(&Op::PostDram);
        self.configure(Queue::Post, instr);
        if region != SCRATCH {
            return Ok((0, None, Vec::new()));
        }
        let pixel = self.layout(stage.output).in_dram().pixel();
        let rows = (first * pixel, (first + pixels) * pixel);
        let written = self.scratch_region(stage.output, rows, (unit.block, unit.block + unit.blocks));
        Ok((0, Some(written), self.scratch.before_write(&written)))
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
