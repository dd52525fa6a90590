// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Folds pixels into channels, so that layers of few channels fill lanes and columns. Graph to graph; no value changes.
//!
//! *Folded tensors.* `[h, w, c]` becomes `[h, w / f, f * c]`: the same codes in the same order, f neighbours in one pixel. A
//! convolution between folded tensors makes f results at once; its kernel is sparse.
//!
//! *Gathered inputs.* A network input that one convolution reads is stored with every tap of a kernel row (or of the
//! whole kernel) of f neighbouring results in the channels of one pixel ([`Gather`]); who packs the input does it.

use super::cost::{self, Destination};
use super::layout::{beats_per_bank_word, Layout};
use super::ops::Context;
use super::prepare::{fusable_pool, readers};
use super::Options;
use crate::ir::{Conv, Graph, Node, Op, Pool, Requant, Reshape, TensorId, Weights};
use crate::program::{Gather, GatherAxis};
use hdl_gen::Arch;
use std::collections::BTreeMap;

/// Results that may become one.
const FACTORS: [usize; 5] = [1, 2, 4, 8, 16];
/// Most output channels of a folded layer.
const MOST_CHANNELS: usize = 512;
/// A load that hides behind compute weighs so much less.
const HIDDEN: usize = 8;

/// The graph that is lowered.
pub struct Folded {
    pub graph: Graph,
    /// How network inputs are stored, where not as they are.
    pub gathers: BTreeMap<TensorId, Gather>,
    /// Multiply-accumulates and kind of the convolutions that were rewritten, by output.
    pub layers: BTreeMap<TensorId, (u64, &'static str)>,
    /// Shapes that the tensors have in the network.
    pub shapes: Vec<[usize; 3]>,
    /// Tensors of the network; those behind are folded ones.
    pub named: usize,
}

/// A way to do one convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Candidate {
    /// Results in one.
    fold: usize,
    gather: Option<Taps>,
}

/// What the channels of a gathered input hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Taps {
    KernelRow,
    Kernel,
}

/// A convolution rewritten.
struct Rewritten {
    conv: Conv,
    input: [usize; 3],
    /// Of the convolution's result, and of the pool's behind it.
    output: [usize; 3],
    pooled: Option<[usize; 3]>,
    gather: Option<Gather>,
}

struct Folder<'a> {
    arch: &'a Arch,
    original: &'a Graph,
    kept: &'a [bool],
    fuse: bool,
    readers: Vec<usize>,
    /// Neighbours in one pixel, of each tensor.
    fold: Vec<usize>,
    out: Folded,
    /// Reshapes behind a node.
    behind: BTreeMap<usize, Node>,
}

/// Folds what becomes faster. `kept`: tensors that must exist in full.
pub fn fold(graph: &Graph, arch: &Arch, options: &Options, kept: &[bool]) -> Folded {
    let mut folder = Folder {
        arch,
        original: graph,
        kept,
        fuse: options.fuse,
        readers: readers(graph),
        fold: vec![1; graph.tensors.len()],
        out: Folded {
            graph: graph.clone(),
            gathers: BTreeMap::new(),
            layers: BTreeMap::new(),
            shapes: graph.tensors.iter().map(|t| t.shape).collect(),
            named: graph.tensors.len(),
        },
        behind: BTreeMap::new(),
    };
    if options.fold {
        (0..graph.nodes.len()).for_each(|at| folder.node(at));
    }
    let Folder { mut out, mut behind, .. } = folder;
    let nodes = std::mem::take(&mut out.graph.nodes);
    for (at, node) in nodes.into_iter().enumerate() {
        out.graph.nodes.push(node);
        out.graph.nodes.extend(behind.remove(&at));
    }
    out
}

impl Folder<'_> {
    fn node(&mut self, at: usize) {
        let Op::Conv(conv) = &self.original.nodes[at].op else { return };
        let pool = match self.fuse && !self.kept[conv.output] && self.readers[conv.output] == 1 {
            true => fusable_pool(self.original, self.arch, conv),
            false => None,
        };
        let last = pool.map_or(conv.output, |(_, p)| p.output);
        let best = self
            .candidates(conv, pool.map(|p| p.1))
            .into_iter()
            .filter_map(|c| {
                let r = self.rewrite(conv, pool.map(|p| p.1), c);
                Some((self.cost(&r, pool.map(|p| p.1))?, c.fold, r))
            })
            .min_by_key(|(cost, fold, _)| (*cost, *fold));
        if let Some((_, fold, r)) = best {
            self.apply(at, pool, last, fold, r);
        }
    }

    /// Ways to do a convolution, the plain one first.
    fn candidates(&self, conv: &Conv, pool: Option<&Pool>) -> Vec<Candidate> {
        let input = &self.original.tensors[conv.input];
        let given = self.fold[conv.input];
        let mut out = Vec::new();
        for fold in self.folds(conv, pool, given) {
            if given > 1 || fold == 1 || pool.is_none() {
                out.push(Candidate { fold, gather: None });
            }
            let padded = conv.pads != [0; 4];
            let gathers = given == 1
                && self.original.inputs.contains(&conv.input)
                && self.readers[conv.input] == 1
                && !self.original.outputs.contains(&conv.input)
                && conv.groups == 1
                && conv.weights.shape[1..3] != [1, 1]
                && (!padded || input.ty.contains(conv.pad_code as i64));
            if gathers {
                let all = [Taps::KernelRow, Taps::Kernel];
                out.extend(all.map(|t| Candidate { fold, gather: Some(t) }));
            }
        }
        out
    }

    /// Possible folds of the result of a convolution whose input has `given` pixels in one.
    fn folds(&self, conv: &Conv, pool: Option<&Pool>, given: usize) -> Vec<usize> {
        let last = pool.map_or(conv.output, |p| p.output);
        let [_, w, c] = self.original.tensors[last].shape;
        let log2 = conv.weights.ty.bits.next_power_of_two().ilog2().min(3);
        // beyond one pass there is nothing to win
        let full = self.arch.channels_per_pass(log2) as usize;
        let may = |f: usize| {
            let possible =
                w % f == 0 && f * c <= MOST_CHANNELS && !(conv.requant.raw || conv.weights.bipolar);
            let useful = f * c <= full || f <= given;
            let aligned = (conv.stride[1] * f).is_multiple_of(given) && (given == 1 || pool.is_none());
            aligned && (f == 1 || (possible && useful && (self.is_free(last) || self.accepted(last, f))))
        };
        FACTORS.into_iter().filter(|f| may(*f)).collect()
    }

    /// Whether a tensor has the same layout however many of its pixels are one.
    fn is_free(&self, t: TensorId) -> bool {
        self.original.tensors[t].shape[2].is_multiple_of(self.arch.lanes as usize)
    }

    /// Whether all readers of a tensor can take `f` of its pixels in one, a full block of lanes or less.
    fn accepted(&self, t: TensorId, f: usize) -> bool {
        let [_, w, c] = self.original.tensors[t].shape;
        let reads = |n: &&Node| n.op.inputs().contains(&t);
        let takes = |n: &Node| match &n.op {
            Op::Conv(conv) => {
                let pooled = self.fuse
                    && !self.kept[conv.output]
                    && self.readers[conv.output] == 1
                    && fusable_pool(self.original, self.arch, conv).is_some();
                !conv.weights.bipolar && !pooled && !self.folds(conv, None, f).is_empty()
            }
            _ => false,
        };
        !self.kept[t]
            && c * f <= self.arch.lanes as usize
            && w % f == 0
            && self.readers[t] > 0
            && self.original.nodes.iter().filter(reads).all(takes)
    }

    fn rewrite(&self, conv: &Conv, pool: Option<&Pool>, candidate: Candidate) -> Rewritten {
        let (rewritten, window) = match candidate.gather {
            Some(taps) => self.gathered(conv, pool, candidate.fold, taps),
            None => (self.folded(conv, candidate.fold), 1),
        };
        let [oh, ow, oc] = self.original.tensors[conv.output].shape;
        let pooled = pool.map(|p| {
            let [h, w, c] = self.original.tensors[p.output].shape;
            [h, w / candidate.fold, c * candidate.fold]
        });
        let width = pooled.map_or(ow / candidate.fold, |p| p[1] * window);
        let width = if candidate.fold == 1 { ow } else { width };
        Rewritten { output: [oh, width, oc * candidate.fold], pooled, ..rewritten }
    }

    /// A convolution that takes and makes folded pixels.
    fn folded(&self, conv: &Conv, fold: usize) -> Rewritten {
        let given = self.fold[conv.input];
        let [h, w, ic] = self.original.tensors[conv.input].shape;
        let input = [h, w / given, ic * given];
        let rest = |conv| Rewritten { conv, input, output: [0; 3], pooled: None, gather: None };
        if (given, fold) == (1, 1) {
            return rest(conv.clone());
        }
        let kw = conv.weights.shape[2];
        let left = conv.pads[1] as isize;
        // input column of a tap of result q in folded pixel 0
        let column = |q: usize, kx: usize| (conv.stride[1] * q + kx * conv.dilation[1]) as isize - left;
        let pixel = |q, kx| column(q, kx).div_euclid(given as isize);
        let (first, last) = (pixel(0, 0), pixel(fold - 1, kw - 1));
        let stride = conv.stride[1] * fold / given;
        let place = |q: usize, [ky, kx]: [usize; 2], i: usize| {
            let lane = column(q, kx).rem_euclid(given as isize) as usize;
            ([ky, (pixel(q, kx) - first) as usize], lane * ic + i)
        };
        let [kh, width] = [conv.weights.shape[1], (last - first + 1) as usize];
        let weights = spread(conv, ic, fold, [kh, width, ic * given], place);
        let results = self.original.tensors[conv.output].shape[1] / fold;
        let right = ((results - 1) * stride) as isize + last + 1 - (w / given) as isize;
        rest(Conv {
            weights,
            stride: [conv.stride[0], stride],
            dilation: [conv.dilation[0], 1],
            pads: [conv.pads[0], (-first).max(0) as usize, conv.pads[2], right.max(0) as usize],
            groups: 1,
            requant: repeat(&conv.requant, fold),
            ..conv.clone()
        })
    }

    /// A convolution of a gathered input, and the columns of a window in the order in which the input has them.
    fn gathered(&self, conv: &Conv, pool: Option<&Pool>, fold: usize, taps: Taps) -> (Rewritten, usize) {
        let [h, _, ic] = self.original.tensors[conv.input].shape;
        let [oh, ow, _] = self.original.tensors[conv.output].shape;
        let [_, kh, kw, _] = conv.weights.shape;
        let ([sy, sx], [dy, dx]) = (conv.stride, conv.dilation);
        let window = if fold == 1 { 1 } else { pool.map_or(1, |p| p.kernel[1]) };
        let results =
            if fold == 1 { ow } else { pool.map_or(ow, |p| self.original.tensors[p.output].shape[1]) };
        let mut offsets: Vec<usize> =
            (0..fold).flat_map(|q| (0..kw).map(move |kx| sx * window * q + kx * dx)).collect();
        offsets.sort_unstable();
        offsets.dedup();
        let cols = GatherAxis {
            turns: window,
            inner: sx,
            outer: sx * window * fold,
            origin: -(conv.pads[1] as isize),
            offsets,
        };
        let (rows, height) = match taps {
            Taps::KernelRow => (GatherAxis { turns: 1, inner: 0, outer: 1, origin: 0, offsets: vec![0] }, h),
            Taps::Kernel => {
                let offsets = (0..kh).map(|ky| ky * dy).collect();
                let origin = -(conv.pads[0] as isize);
                (GatherAxis { turns: 1, inner: 0, outer: sy, origin, offsets }, oh)
            }
        };
        let n = cols.offsets.len();
        let width = if fold == 1 { ow } else { results / fold * window };
        let input = [height, width, rows.offsets.len() * n * ic];
        let column = |q: usize, kx: usize| {
            let at = sx * window * q + kx * dx;
            cols.offsets.iter().position(|o| *o == at).unwrap_or(0)
        };
        let place = |q: usize, [ky, kx]: [usize; 2], i: usize| match taps {
            Taps::KernelRow => ([ky, 0], column(q, kx) * ic + i),
            Taps::Kernel => ([0, 0], (ky * n + column(q, kx)) * ic + i),
        };
        let kernel = if taps == Taps::Kernel { 1 } else { kh };
        let weights = spread(conv, ic, fold, [kernel, 1, input[2]], place);
        let (stride, dilation, pads) = match taps {
            Taps::KernelRow => ([sy, 1], [dy, 1], [conv.pads[0], 0, conv.pads[2], 0]),
            Taps::Kernel => ([1, 1], [1, 1], [0; 4]),
        };
        let requant = repeat(&conv.requant, fold);
        let gather = Gather { rows, cols, pad_code: conv.pad_code };
        let conv = Conv { weights, stride, dilation, pads, requant, ..conv.clone() };
        (Rewritten { conv, input, output: [0; 3], pooled: None, gather: Some(gather) }, window)
    }

    /// Estimated cycles; `None`: cannot be done.
    fn cost(&mut self, r: &Rewritten, pool: Option<&Pool>) -> Option<usize> {
        let mut shapes = vec![(r.conv.input, r.input), (r.conv.output, r.output)];
        shapes.extend(pool.zip(r.pooled).map(|(p, shape)| (p.output, shape)));
        self.swap_shapes(&mut shapes);
        let context = Context { arch: self.arch, graph: &self.out.graph, packed: false };
        let stage = context.conv("", &r.conv, pool);
        let tensor = &self.out.graph.tensors[r.conv.input];
        let layout = Layout::new(self.arch, tensor.shape, tensor.ty);
        let from_dram = self.original.inputs.contains(&r.conv.input);
        let load = if from_dram { layout.size() / 4 * beats_per_bank_word(layout.lanes) } else { 0 };
        let cycles = stage.ok().map(|s| {
            let to = Destination::of(self.arch, &context.layout(s.output));
            cost::cycles(self.arch, &s, layout.planes, 1, to).max(load) + load / HIDDEN
        });
        self.swap_shapes(&mut shapes);
        cycles
    }

    fn swap_shapes(&mut self, shapes: &mut [(TensorId, [usize; 3])]) {
        for (t, shape) in shapes {
            std::mem::swap(&mut self.out.graph.tensors[*t].shape, shape);
        }
    }

    /// Puts a rewritten convolution into the graph.
    fn apply(&mut self, at: usize, pool: Option<(usize, &Pool)>, last: TensorId, fold: usize, r: Rewritten) {
        let Op::Conv(original) = &self.original.nodes[at].op else { return };
        if r.conv == *original {
            return;
        }
        let [oh, ow, oc] = self.original.tensors[original.output].shape;
        let [_, kh, kw, icg] = original.weights.shape;
        let kind = if original.groups > 1 && icg == 1 { "depthwise" } else { "conv" };
        let macs = (oh * ow * oc * kh * kw * icg) as u64;
        self.out.graph.tensors[r.conv.input].shape = r.input;
        self.out.gathers.extend(r.gather.map(|g| (r.conv.input, g)));
        let mut conv = r.conv;
        self.out.graph.tensors[conv.output].shape = r.output;
        let shape = r.pooled.unwrap_or(r.output);
        if fold > 1 && self.is_free(last) {
            // the network's shape again: another name of the same memory
            let folded = self.out.graph.tensors.len();
            let tensor = self.out.graph.tensors[last].clone();
            self.out.graph.tensors.push(crate::ir::Tensor { shape, ..tensor });
            self.out.shapes.push(self.out.shapes[last]);
            self.out.graph.tensors[last].shape = self.out.shapes[last];
            let place = pool.map_or(at, |p| p.0);
            match pool {
                None => conv.output = folded,
                Some((p, pool)) => {
                    self.out.graph.nodes[p].op = Op::Pool(Pool { output: folded, ..pool.clone() })
                }
            }
            let name = format!("{}.unfold", self.original.nodes[place].name);
            let op = Op::Reshape(Reshape { input: folded, output: last });
            self.behind.insert(place, Node { name, op });
        } else {
            self.out.graph.tensors[last].shape = shape;
            self.fold[last] = fold;
        }
        self.out.layers.insert(conv.output, (macs, kind));
        self.out.graph.nodes[at].op = Op::Conv(conv);
    }
}

/// Parameters of `fold` results side by side.
fn repeat(requant: &Requant, fold: usize) -> Requant {
    match requant.channels.len() {
        1 => requant.clone(),
        _ => Requant { channels: requant.channels.repeat(fold), ..requant.clone() },
    }
}

/// Dense weights `[fold * oc][shape]`; `place`: kernel position and channel of a result's tap and input channel.
fn spread(
    conv: &Conv,
    ic: usize,
    fold: usize,
    shape: [usize; 3],
    place: impl Fn(usize, [usize; 2], usize) -> ([usize; 2], usize),
) -> Weights {
    let [oc, kh, kw, icg] = conv.weights.shape;
    let ocg = oc / conv.groups;
    debug_assert_eq!(icg * conv.groups, ic);
    let mut data = vec![0; fold * oc * shape.iter().product::<usize>()];
    for q in 0..fold {
        for o in 0..oc {
            for (tap, ws) in conv.weights.data[o * kh * kw * icg..][..kh * kw * icg].chunks(icg).enumerate() {
                for (i, w) in ws.iter().enumerate() {
                    let ([y, x], c) = place(q, [tap / kw, tap % kw], o / ocg * icg + i);
                    data[(((q * oc + o) * shape[0] + y) * shape[1] + x) * shape[2] + c] = *w;
                }
            }
        }
    }
    let shape = [fold * oc, shape[0], shape[1], shape[2]];
    Weights { shape, data, ty: conv.weights.ty, bipolar: conv.weights.bipolar }
}
