// SPDX-License-Identifier: Apache-2.0 OR MIT
//! From placed stages to instructions: chunks, buffers, loads, passes, posts.

mod constants;
mod inputs;
mod passes;
mod results;
mod slabs;

use super::error::{CompileError, CompileErrorKind};
use super::fold::Folded;
use super::layout::Layout;
use super::nest::{chunks, Chunk};
use super::place::Plan;
use super::proof;
use super::schedule::{Cost, NodeId, Region, Ring, Schedule, Tracker};
use super::stage::{Stage, Unit};
use crate::ir::{Graph, TensorId};
use crate::program::{LayerInfo, Program, ProgramInfo};
use constants::{Constant, Group, PassInfo};
use hdl_gen::isa::{Instr, Op, Queue};
use hdl_gen::Arch;
use inputs::Loaded;
use results::{targets, Target};
use slabs::SlabRing;
use std::collections::BTreeMap;
use std::ops::Range;

type Result<T> = std::result::Result<T, CompileErrorKind>;

/// Estimated cycles (for ordering alone): start of a load, latency of the array, overhead of a post.
const LOAD_CYCLES: u64 = 50;
const PASS_LATENCY: u64 = 40;
const POST_CYCLES: u64 = 30;

/// Chunks that a stage is cut into if they do not become too small: the next stage can begin when the first ones are done,
/// and waits for little behind the last one.
const CHUNKS: usize = 4;
/// Accumulators of a chunk below which the fixed costs of passes and posts weigh more than that.
const LEAST_ACCUMULATORS: usize = 32;

/// Makes the program.
pub fn emit(folded: &Folded, arch: &Arch, plan: &Plan) -> std::result::Result<Program, CompileError> {
    let graph = &folded.graph;
    let mut e = Emitter::new(folded, arch, plan);
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
        inputs: plan.inputs.clone(),
        outputs: plan.outputs.clone(),
        intermediates: plan.intermediates.clone(),
        layers,
        places: plan.places.clone(),
    };
    proof::check(arch, &info, constants.len(), &instrs).map_err(|k| k.at(&graph.name))?;
    Ok(Program { info, instrs, constants })
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

/// One chunk of one unit.
struct Item<'s> {
    stage: &'s Stage,
    unit: &'s Unit,
    chunk: Chunk,
    /// Rows in the banks, for each feed.
    loaded: &'s [Loaded],
    /// First accumulator.
    acc: usize,
}

impl Item<'_> {
    /// Accumulators of one result.
    fn window(&self) -> usize {
        self.stage.window.iter().product()
    }

    /// Accumulators of one area.
    fn accs(&self) -> usize {
        self.chunk.pixels() * self.window()
    }
}

struct Emitter<'a> {
    graph: &'a Graph,
    /// Shapes of the tensors in the network.
    shapes: &'a [[usize; 3]],
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
    /// Parts of inputs in the ring of the stage at hand.
    slabs: SlabRing,
}

impl<'a> Emitter<'a> {
    fn new(folded: &'a Folded, arch: &'a Arch, plan: &'a Plan) -> Self {
        let part = |depth: u32| (Ring::new(depth as usize), Tracker::default());
        Emitter {
            graph: &folded.graph,
            shapes: &folded.shapes,
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
            slabs: SlabRing::default(),
        }
    }

    fn layout(&self, t: TensorId) -> Layout {
        let tensor = &self.graph.tensors[t];
        Layout::new(self.arch, tensor.shape, tensor.ty)
    }

    /// Layout in which a feed's tensor is read.
    fn feed_layout(&self, stage: usize, feed: usize) -> Layout {
        let layout = self.layout(self.plan.stages[stage].feeds[feed].tensor);
        let bands = &self.plan.bands[stage];
        match (bands.buffers[feed], &bands.tiles) {
            (None, _) => layout,
            (Some(_), None) => layout.in_dram(),
            (Some(_), Some(tiles)) => slabs::layout(&layout, &tiles.slabs[feed]),
        }
    }

    /// Emits a configuring instruction unless it is in force already.
    fn configure(&mut self, queue: Queue, instr: Instr) {
        let op = instr.op().expect("made from an opcode");
        if self.config.insert(op, instr) != Some(instr) {
            self.schedule.push(queue, instr, vec![], Cost::default());
        }
    }

    fn stage(&mut self, index: usize, stage: &'a Stage) -> Result<LayerInfo> {
        let before = self.schedule.counts();
        let mut state = self.prepare_stage(index, stage)?;
        let areas = stage.units.iter().map(|u| u.areas).max().unwrap_or(1);
        let limit = self.chunk_limit(stage, &state, areas)?;
        self.slabs.start(&self.plan.bands[index]);
        for (rows, chunks) in self.order(index, stage, limit) {
            let mut loaded = self.start_band(index, stage, &rows);
            for chunk in chunks {
                self.load_rows(index, stage, &chunk, &mut loaded)?;
                let mut first = 0;
                for (u, unit) in stage.units.iter().enumerate() {
                    let item = Item { stage, unit, chunk, loaded: &loaded, acc: 0 };
                    self.item(item, &mut state, u, first)?;
                    first += unit.passes.len();
                }
            }
        }
        let mark = Instr::new(Op::PostMark).with("id", index as i64)?;
        self.schedule.push(Queue::Post, mark, vec![], Cost::default());
        let after = self.schedule.counts();
        Ok(LayerInfo {
            mark: index as u16,
            name: stage.name.clone(),
            op: stage.op.into(),
            shape_in: self.shapes[stage.feeds[0].tensor],
            shape_out: self.shapes[stage.output],
            act_bits: stage.act_bits,
            wgt_bits: stage.wgt_bits,
            macs: stage.macs,
            passes: state.counts.0,
            posts: state.counts.1,
            stream_cycles: state.counts.2,
            instrs: std::array::from_fn(|q| after[q] - before[q]),
        })
    }

    /// The chunks of a stage, band by band.
    fn order(&self, index: usize, stage: &Stage, limit: usize) -> Vec<(Range<usize>, Vec<Chunk>)> {
        let [height, width] = stage.grid;
        let upsample = stage.feeds.iter().map(|f| f.geometry.upsample).max().unwrap_or(1);
        let bands = &self.plan.bands[index];
        if let Some(tiles) = &bands.tiles {
            return vec![(0..height, tiles.chunks(stage.grid, upsample))];
        }
        let band = |y: usize| {
            let rows = y..(y + bands.rows).min(height);
            let chunks = chunks([rows.len(), width], limit, upsample);
            let moved = chunks.into_iter().map(|c| Chunk { y: c.y + rows.start, ..c }).collect();
            (rows, moved)
        };
        (0..height).step_by(bands.rows.max(1)).map(band).collect()
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
        // a pass should last longer than shifting the weights of the next one
        let shift = (self.arch.rows * self.arch.groups + self.arch.groups) as usize;
        let least = match state.passes.len() {
            1 => LEAST_ACCUMULATORS,
            _ => shift.div_ceil(steps).max(LEAST_ACCUMULATORS),
        };
        // of a band likewise: its rows are loaded while the chunks of the band before free their places
        let bands = &self.plan.bands[state.index];
        let results = bands.rows.min(stage.grid[0]) * stage.grid[1];
        let limit = if bands.ring { limit.min(self.ring_limit(stage, &state.layouts[0])) } else { limit };
        let wanted = results.div_ceil(CHUNKS);
        Ok(limit.min(wanted.max(least.div_ceil(window))))
    }

    /// Results of a chunk beside whose input rows the ring has room for those of the next, if there is any such chunk.
    fn ring_limit(&self, stage: &Stage, layout: &Layout) -> usize {
        let geometry = &stage.feeds[0].geometry;
        let rows = self.arch.plane_words as usize / layout.row();
        let first = (stage.window[0] - 1) * geometry.window_step[0] + stage.feeds[0].reach[0] + 1;
        let step = geometry.step[0];
        (rows.saturating_sub(first.saturating_sub(step)) / (2 * step)).max(1) * stage.grid[1]
    }

    /// One chunk of one unit: its passes and its posts. `first_pass`: passes of the units before.
    fn item(&mut self, item: Item, state: &mut StageState, u: usize, first_pass: usize) -> Result<()> {
        let unit = item.unit;
        let accs = unit.areas * item.accs();
        let item = Item { acc: self.acc.0.take("accumulators of one unit", accs)?, ..item };
        let area = Region::span(item.acc, item.acc + accs);
        let mut last = None;
        for (p, pass) in unit.passes.iter().enumerate() {
            last = Some(self.pass(&item, state, pass, first_pass + p)?);
        }
        let param = self.load_params(state, item.stage, u)?;
        self.load_table(state, unit, u)?;
        for (target, part) in targets(&state.targets, &item) {
            let node = self.post(&item, state, param, target, part)?;
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
}
