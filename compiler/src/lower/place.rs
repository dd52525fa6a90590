// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Where every tensor lives: first-fit in the activation banks by lifetime; what does not fit is kept in DRAM and read in
//! bands of rows.

use super::cost::{self, Destination};
use super::error::{CompileError, CompileErrorKind};
use super::fold::Folded;
use super::layout::{beats_per_bank_word, Layout};
use super::prepare::{copy_stage, Prepared};
use super::stage::{merge_units, Feed, Stage};
use super::tiles::{needed, Tiles};
use super::Options;
use crate::ir::{Graph, Tensor, TensorId};
use crate::program::{Place, PlaceKind, Quant, TensorForm, TensorInfo};
use hdl_gen::Arch;
use std::ops::Range;

/// Memory regions (base address registers).
pub const CONSTANTS: i64 = 0;
pub const INPUT: i64 = 1;
pub const OUTPUT: i64 = 2;
pub const SCRATCH: i64 = 3;

/// A place in DRAM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DramPlace {
    pub region: i64,
    pub offset: usize,
}

/// Where a tensor (a root) is.
#[derive(Clone, Debug, Default)]
pub struct Home {
    /// First plane-word in the banks.
    pub bank: Option<usize>,
    /// Where readers load it from: a network input, or a tensor too large for the banks.
    pub dram: Option<DramPlace>,
    /// Where the host finds it.
    pub export: Option<(usize, TensorForm)>,
}

/// Buffers for inputs that live in DRAM, for one stage.
#[derive(Clone, Debug, Default)]
pub struct Bands {
    /// Result rows of a band; the whole grid where nothing is banded.
    pub rows: usize,
    /// First plane-word of the buffer of each feed that is read in bands.
    pub buffers: Vec<Option<usize>>,
    /// The only feed has the whole memory, in which its rows go round: row y at y * row pitch, modulo the memory.
    pub ring: bool,
    /// Rectangles instead, where no band of rows fits; the feeds with a buffer come through a ring.
    pub tiles: Option<Tiles>,
}

/// Everything placed.
pub struct Plan {
    pub stages: Vec<Stage>,
    pub bands: Vec<Bands>,
    pub root: Vec<TensorId>,
    pub homes: Vec<Home>,
    pub inputs: Vec<TensorInfo>,
    pub outputs: Vec<TensorInfo>,
    pub intermediates: Vec<TensorInfo>,
    pub input_bytes: usize,
    pub output_bytes: usize,
    pub scratch_bytes: usize,
    /// All of the above, for the report.
    pub places: Vec<Place>,
}

/// Bytes of a tensor in DRAM.
pub fn dram_bytes(layout: &Layout) -> usize {
    layout.size() / 4 * beats_per_bank_word(layout.lanes) * 8
}

/// Input rows that result rows `rows` read, clipped to the tensor.
pub fn rows_needed(feed: &Feed, window: [usize; 2], rows: &Range<usize>, height: usize) -> Range<usize> {
    needed(feed, window, 0, rows, height)
}

struct Placer<'a> {
    graph: &'a Graph,
    arch: &'a Arch,
    stages: &'a [Stage],
    root: &'a [TensorId],
    spilled: Vec<bool>,
    /// Stages that may be done in rectangles: nothing else helps.
    tiled: Vec<bool>,
}

/// A placed interval of plane-words.
type Span = Range<usize>;

/// Bank addresses of all roots and bands of all stages.
type Placed = (Vec<Option<usize>>, Vec<Bands>);

/// Estimated cycles that a change of bands costs beside its loads.
const BAND_CYCLES: usize = 300;
/// Transfers that hide behind compute weigh so much less than others.
const HIDDEN: usize = 8;

/// Places all tensors. Errors: a layer that does not fit even in bands of one row.
pub fn place(
    folded: &Folded,
    arch: &Arch,
    prepared: Prepared,
    options: &Options,
) -> Result<Plan, Vec<CompileError>> {
    let graph = &folded.graph;
    let Prepared { mut stages, root } = prepared;
    let mut copied = Vec::new();
    for t in &graph.outputs {
        let r = root[*t];
        if graph.inputs.contains(&r) && !copied.contains(&r) {
            copied.push(r);
            stages.push(copy_stage(graph, arch, r).map_err(|e| vec![e])?);
        }
    }
    let (spilled, tiled) = (vec![false; root.len()], vec![false; stages.len()]);
    let mut placer = Placer { graph, arch, stages: &stages, root: &root, spilled, tiled };
    let mut placed = loop {
        match placer.attempt() {
            Ok(done) => break done,
            Err((stage, need)) => match placer.victim(stage) {
                Some(t) => placer.spilled[t] = true,
                None if !placer.tiled[stage] => placer.tiled[stage] = true,
                None => {
                    let limit = arch.plane_words as usize;
                    let what =
                        "activation banks (plane-words) for one result pixel and the channels of one pass";
                    let kind = CompileErrorKind::DoesNotFit { what, need, limit };
                    return Err(vec![kind.at(&stages[stage].name)]);
                }
            },
        }
    };
    while let Some(better) = placer.improve(&placed.1) {
        placed = better;
    }
    let mut places = placer.places(&placed);
    let ((banks, bands), spilled) = (placed, placer.spilled);
    for stage in &mut stages {
        let output = root[stage.output];
        let leaves =
            spilled[output] || options.all_tensors || graph.outputs.iter().any(|t| root[*t] == output);
        if leaves && graph.tensors[output].ty.bits <= 16 {
            let layout = |t: TensorId| Layout::new(arch, graph.tensors[t].shape, graph.tensors[t].ty);
            let planes = stage.feeds.iter().map(|f| layout(f.tensor).planes).max().unwrap_or(1);
            let (_, most) = cost::best_merge(arch, stage, planes, Destination::dram(&layout(output)));
            merge_units(arch, stage, most);
        }
    }
    let mut plan = Plan {
        bands,
        homes: banks.into_iter().map(|bank| Home { bank, ..Home::default() }).collect(),
        inputs: Vec::new(),
        outputs: Vec::new(),
        intermediates: Vec::new(),
        input_bytes: 0,
        output_bytes: 0,
        scratch_bytes: 0,
        stages,
        root,
        places: Vec::new(),
    };
    plan.place_inputs(folded, arch, &spilled);
    plan.place_exports(folded, arch, options);
    plan.place_scratch(graph, arch, &spilled);
    places.extend(plan.memory_places(graph, arch));
    plan.places = places;
    Ok(plan)
}

impl Plan {
    fn place_inputs(&mut self, folded: &Folded, arch: &Arch, spilled: &[bool]) {
        let graph = &folded.graph;
        for t in &graph.inputs {
            let tensor = &graph.tensors[*t];
            let layout = Layout::new(arch, tensor.shape, tensor.ty);
            let layout = if spilled[*t] { layout.in_dram() } else { layout };
            self.homes[*t].dram = Some(DramPlace { region: INPUT, offset: self.input_bytes });
            let form = TensorForm::Planes(layout);
            self.inputs.push(info(folded, *t, self.input_bytes, form));
            self.input_bytes += dram_bytes(&layout);
        }
    }

    fn place_exports(&mut self, folded: &Folded, arch: &Arch, options: &Options) {
        let graph = &folded.graph;
        for t in &graph.outputs {
            let (offset, form) = self.export(graph, arch, self.root[*t]);
            self.outputs.push(info(folded, *t, offset, form));
        }
        if options.all_tensors {
            for node in &graph.nodes {
                let t = node.op.output();
                if t < folded.named
                    && !graph.inputs.contains(&self.root[t])
                    && self.stages.iter().any(|s| s.output == self.root[t])
                {
                    let (offset, form) = self.export(graph, arch, self.root[t]);
                    self.intermediates.push(info(folded, t, offset, form));
                }
            }
        }
    }

    /// Room in the output region for a root, once.
    fn export(&mut self, graph: &Graph, arch: &Arch, root: TensorId) -> (usize, TensorForm) {
        if let Some(export) = self.homes[root].export {
            return export;
        }
        let tensor = &graph.tensors[root];
        let [h, w, c] = tensor.shape;
        let (form, bytes) = match tensor.ty.bits > 16 {
            true => {
                let pitch = self.int32_pitch(arch, root);
                (TensorForm::Int32 { pitch, channels: c }, h * w * pitch * 4)
            }
            false => {
                let layout = Layout::new(arch, tensor.shape, tensor.ty).in_dram();
                (TensorForm::Planes(layout), dram_bytes(&layout))
            }
        };
        let export = (self.output_bytes, form);
        self.output_bytes += bytes.next_multiple_of(8);
        self.homes[root].export = Some(export);
        export
    }

    /// What lies in the memory regions, and which layers touch it there.
    fn memory_places(&self, graph: &Graph, arch: &Arch) -> Vec<Place> {
        let host =
            |t: &TensorInfo, kind| self.memory_place(graph, self.root[t.id], kind, (t.offset, t.bytes()));
        let inputs = self.inputs.iter().map(|t| host(t, PlaceKind::Input));
        let outputs = self.outputs.iter().chain(&self.intermediates);
        let outputs = outputs.map(|t| host(t, PlaceKind::Output));
        let scratch = self.homes.iter().enumerate().filter_map(|(t, home)| {
            let place = home.dram.filter(|d| d.region == SCRATCH)?;
            let tensor = &graph.tensors[t];
            let bytes = dram_bytes(&Layout::new(arch, tensor.shape, tensor.ty).in_dram());
            Some(self.memory_place(graph, t, PlaceKind::Scratch, (place.offset, bytes)))
        });
        inputs.chain(outputs).chain(scratch).collect()
    }

    fn memory_place(
        &self,
        graph: &Graph,
        root: TensorId,
        kind: PlaceKind,
        (first, length): (usize, usize),
    ) -> Place {
        let touches = |s: &Stage| {
            (kind != PlaceKind::Input && s.output == root)
                || (kind != PlaceKind::Output && s.feeds.iter().any(|f| self.root[f.tensor] == root))
        };
        let at = (self.stages.iter().position(touches), self.stages.iter().rposition(touches));
        let t = &graph.tensors[root];
        let layers = (at.0.unwrap_or(0), at.1.unwrap_or(0));
        Place { name: t.name.clone(), shape: t.shape, ty: t.ty, kind, first, length, layers }
    }

    /// 32-bit values of one pixel, whole beats of every unit.
    fn int32_pitch(&self, arch: &Arch, root: TensorId) -> usize {
        let lanes = arch.lanes as usize;
        self.stages
            .iter()
            .filter(|s| s.output == root)
            .flat_map(|s| &s.units)
            .map(|u| u.block * lanes + u.tiles * u.beats * arch.requant_lanes as usize)
            .max()
            .unwrap_or(0)
    }

    fn place_scratch(&mut self, graph: &Graph, arch: &Arch, spilled: &[bool]) {
        for t in (0..spilled.len()).filter(|t| spilled[*t] && !graph.inputs.contains(t)) {
            let tensor = &graph.tensors[t];
            self.homes[t].dram = Some(DramPlace { region: SCRATCH, offset: self.scratch_bytes });
            self.scratch_bytes += dram_bytes(&Layout::new(arch, tensor.shape, tensor.ty).in_dram());
        }
    }
}

fn info(folded: &Folded, t: TensorId, offset: usize, form: TensorForm) -> TensorInfo {
    let tensor = &folded.graph.tensors[t];
    let gather = folded.gathers.get(&t).cloned();
    // Importers that know no scale say 1 and 0.
    let Tensor { scale, zero_point, .. } = *tensor;
    let known = scale != 1.0 || zero_point != 0;
    TensorInfo {
        name: tensor.name.clone(),
        id: t,
        shape: folded.shapes[t],
        ty: tensor.ty,
        offset,
        form,
        gather,
        quant: known.then_some(Quant { scale, zero_point }),
    }
}

impl Placer<'_> {
    /// Stages during which a root must be in the banks; `None` when nothing reads it.
    fn lifetime(&self, root: TensorId) -> Option<(usize, usize)> {
        let reads = |s: &Stage| s.feeds.iter().any(|f| self.root[f.tensor] == root);
        let last = self.stages.iter().rposition(reads)?;
        let writes = |s: &Stage| !s.export_only && s.output == root;
        let first = self.stages.iter().position(writes).or_else(|| self.stages.iter().position(reads))?;
        Some((first, last))
    }

    fn size(&self, root: TensorId) -> usize {
        let t = &self.graph.tensors[root];
        Layout::new(self.arch, t.shape, t.ty).size()
    }

    /// What lies in the banks while which layers run.
    fn places(&self, (banks, bands): &Placed) -> Vec<Place> {
        let place = |root: TensorId, kind, first, length, layers| {
            let t = &self.graph.tensors[root];
            Place { name: t.name.clone(), shape: t.shape, ty: t.ty, kind, first, length, layers }
        };
        let whole = banks.iter().enumerate().filter_map(|(t, bank)| {
            Some(place(t, PlaceKind::Bank, (*bank)?, self.size(t), self.lifetime(t)?))
        });
        let mut places: Vec<Place> = whole.collect();
        for (i, (stage, b)) in self.stages.iter().zip(bands).enumerate() {
            for (feed, at) in stage.feeds.iter().zip(&b.buffers) {
                let Some(at) = *at else { continue };
                let length = match b.ring {
                    true => self.arch.plane_words as usize,
                    false => self.band_size(stage, feed, b.rows),
                };
                places.push(place(self.root[feed.tensor], PlaceKind::Rows, at, length, (i, i)));
            }
        }
        places
    }

    /// Bank addresses of all roots and bands of all stages, or the stage at which room is missing and how much it needs.
    fn attempt(&self) -> Result<Placed, (usize, usize)> {
        let mut live: Vec<(TensorId, usize, usize)> = (0..self.root.len())
            .filter(|t| self.root[*t] == *t && !self.spilled[*t])
            .filter_map(|t| self.lifetime(t).map(|(a, b)| (t, a, b)))
            .collect();
        live.sort_by_key(|(t, first, _)| (*first, *t));
        let placed = self.first_fit(&live).or_else(|e| {
            live.sort_by_key(|(t, ..)| (usize::MAX - self.size(*t), *t));
            self.first_fit(&live).map_err(|_| e)
        })?;
        let mut bands = Vec::new();
        for (i, stage) in self.stages.iter().enumerate() {
            let taken: Vec<Span> = live
                .iter()
                .filter(|(_, first, last)| (*first..=*last).contains(&i))
                .filter_map(|(t, ..)| placed[*t].map(|a| a..a + self.size(*t)))
                .collect();
            bands.push(self.bands(i, stage, &taken).map_err(|need| (i, need))?);
        }
        Ok((placed, bands))
    }

    /// Spills one tensor more, if transfers then weigh less.
    fn improve(&mut self, bands: &[Bands]) -> Option<Placed> {
        let now = self.cost(bands);
        let banded: Vec<usize> = (0..self.stages.len()).filter(|i| self.is_banded(*i, &bands[*i])).collect();
        let tried: Vec<TensorId> =
            (0..self.root.len()).filter(|t| banded.iter().any(|i| self.lives(*t, *i))).collect();
        let mut best: Option<(usize, TensorId, Placed)> = None;
        for t in tried {
            self.spilled[t] = true;
            if let Ok(placed) = self.attempt() {
                let cost = self.cost(&placed.1);
                if cost < best.as_ref().map_or(now, |b| b.0) {
                    best = Some((cost, t, placed));
                }
            }
            self.spilled[t] = false;
        }
        let (_, t, placed) = best?;
        self.spilled[t] = true;
        Some(placed)
    }

    /// A root that is in the banks during a stage.
    fn lives(&self, t: TensorId, stage: usize) -> bool {
        self.root[t] == t
            && !self.spilled[t]
            && self.lifetime(t).is_some_and(|(a, b)| (a..=b).contains(&stage))
    }

    fn is_banded(&self, stage: usize, bands: &Bands) -> bool {
        bands.rows < self.stages[stage].grid[0] && !bands.ring
    }

    /// What transfers cost: those between bands in full, others a part.
    fn cost(&self, bands: &[Bands]) -> usize {
        let mut sum = 0;
        for (i, (stage, b)) in self.stages.iter().zip(bands).enumerate() {
            let count = stage.grid[0].div_ceil(b.rows.max(1));
            let in_rows = || -> usize {
                stage
                    .feeds
                    .iter()
                    .filter(|f| self.spilled[self.root[f.tensor]])
                    .map(|f| match b.ring || count == 1 {
                        true => self.size(self.root[f.tensor]),
                        false => count * self.band_size(stage, f, b.rows),
                    })
                    .sum()
            };
            let loads = b.tiles.as_ref().map_or_else(in_rows, |t| t.traffic);
            let stores = match self.spilled[self.root[stage.output]] && !stage.export_only {
                true => self.size(self.root[stage.output]),
                false => 0,
            };
            sum += match self.is_banded(i, b) {
                true => loads / 4 + count * BAND_CYCLES,
                false => loads / 4 / HIDDEN,
            };
            sum += stores / 4 / HIDDEN;
        }
        sum
    }

    /// The ring of a stage, where it has a single feed and the memory for itself.
    fn ring(&self, stage: &Stage, taken: &[Span]) -> Option<Bands> {
        let [feed] = &stage.feeds[..] else { return None };
        let t = &self.graph.tensors[feed.tensor];
        let row = Layout::new(self.arch, t.shape, t.ty).in_dram().row();
        // rows of one result row and those of the next
        let rows = self.band_size(stage, feed, 1) / row + feed.geometry.step[0];
        let fits = rows * row <= self.arch.plane_words as usize;
        let plain = taken.is_empty() && feed.geometry.upsample == 1 && self.spilled[self.root[feed.tensor]];
        (plain && fits).then(|| Bands {
            rows: stage.grid[0],
            buffers: vec![Some(0)],
            ring: true,
            tiles: None,
        })
    }

    fn first_fit(&self, live: &[(TensorId, usize, usize)]) -> Result<Vec<Option<usize>>, (usize, usize)> {
        let mut placed: Vec<Option<usize>> = vec![None; self.root.len()];
        for (i, (t, first, last)) in live.iter().enumerate() {
            let taken: Vec<Span> = live[..i]
                .iter()
                .filter(|(_, f, l)| f <= last && first <= l)
                .filter_map(|(o, ..)| placed[*o].map(|a| a..a + self.size(*o)))
                .collect();
            placed[*t] = Some(self.gap(&taken, self.size(*t)).ok_or((*first, self.size(*t)))?);
        }
        Ok(placed)
    }

    /// Lowest free address for `size` plane-words.
    fn gap(&self, taken: &[Span], size: usize) -> Option<usize> {
        let candidates = taken.iter().map(|s| s.end).chain([0]);
        candidates
            .filter(|a| a + size <= self.arch.plane_words as usize)
            .filter(|a| taken.iter().all(|s| a + size <= s.start || s.end <= *a))
            .min()
    }

    /// The largest band of result rows whose input rows fit beside `taken`; the need of one row if none does.
    fn bands(&self, index: usize, stage: &Stage, taken: &[Span]) -> Result<Bands, usize> {
        let height = stage.grid[0];
        let fits = |rows: usize| -> Option<Vec<Option<usize>>> {
            let mut taken = taken.to_vec();
            let mut buffers = Vec::new();
            for feed in &stage.feeds {
                if !self.spilled[self.root[feed.tensor]] {
                    buffers.push(None);
                    continue;
                }
                let size = self.band_size(stage, feed, rows);
                let at = self.gap(&taken, size)?;
                taken.push(at..at + size);
                buffers.push(Some(at));
            }
            Some(buffers)
        };
        let upsample = stage.feeds.iter().map(|f| f.geometry.upsample).max().unwrap_or(1);
        let whole = |rows: usize| if rows >= upsample { rows - rows % upsample } else { 1 };
        if let Some(buffers) = fits(height) {
            return Ok(Bands { rows: height, buffers, ring: false, tiles: None });
        }
        if let Some(ring) = self.ring(stage, taken) {
            return Ok(ring);
        }
        let (mut low, mut high) = (0, height);
        while high - low > 1 {
            let middle = (low + high) / 2;
            match fits(middle) {
                Some(_) => low = middle,
                None => high = middle,
            }
        }
        match low {
            0 if self.tiled[index] => self.tiles(stage, taken),
            0 => Err(stage
                .feeds
                .iter()
                .filter(|f| self.spilled[self.root[f.tensor]])
                .map(|f| self.band_size(stage, f, 1))
                .chain(taken.iter().map(|s| s.len()))
                .sum()),
            _ => {
                let fit = (1..=low)
                    .rev()
                    .map(whole)
                    .find_map(|rows| Some(Bands { rows, buffers: fits(rows)?, ring: false, tiles: None }));
                fit.ok_or_else(|| self.arch.plane_words as usize + 1)
            }
        }
    }

    /// Rectangles whose inputs go through the largest free part of the banks; the need of the smallest if they do not fit.
    fn tiles(&self, stage: &Stage, taken: &[Span]) -> Result<Bands, usize> {
        let memory = self.arch.plane_words as usize;
        let starts = taken.iter().map(|s| s.end).chain([0]).filter(|a| taken.iter().all(|s| !s.contains(a)));
        let free = |a: usize| a..taken.iter().map(|s| s.start).filter(|s| *s >= a).min().unwrap_or(memory);
        let room = starts.map(free).max_by_key(|r| r.len()).unwrap_or(0..0);
        let layouts: Vec<Layout> = stage.feeds.iter().map(|f| self.layout(f.tensor).in_dram()).collect();
        let streamed: Vec<bool> = stage.feeds.iter().map(|f| self.spilled[self.root[f.tensor]]).collect();
        let first = room.start;
        let tiles = Tiles::plan(self.arch, stage, &layouts, &streamed, room)?;
        Ok(Bands {
            rows: stage.grid[0],
            buffers: streamed.iter().map(|s| s.then_some(first)).collect(),
            ring: false,
            tiles: Some(tiles),
        })
    }

    fn layout(&self, t: TensorId) -> Layout {
        let tensor = &self.graph.tensors[t];
        Layout::new(self.arch, tensor.shape, tensor.ty)
    }

    /// Plane-words of the input rows that `rows` result rows read at most.
    fn band_size(&self, stage: &Stage, feed: &Feed, rows: usize) -> usize {
        let t = &self.graph.tensors[feed.tensor];
        let layout = Layout::new(self.arch, t.shape, t.ty).in_dram();
        let most = (0..stage.grid[0])
            .step_by(rows)
            .map(|y| rows_needed(feed, stage.window, &(y..(y + rows).min(stage.grid[0])), t.shape[0]).len())
            .max()
            .unwrap_or(0);
        most.max(1) * layout.row()
    }

    /// The largest tensor in the banks during `stage`.
    fn victim(&self, stage: usize) -> Option<TensorId> {
        (0..self.root.len())
            .filter(|t| self.root[*t] == *t && !self.spilled[*t])
            .filter(|t| self.lifetime(*t).is_some_and(|(a, b)| (a..=b).contains(&stage)))
            .max_by_key(|t| (self.size(*t), *t))
    }
}
