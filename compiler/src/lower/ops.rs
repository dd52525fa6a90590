// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Convolutions and sums to stages, and what all operators share.

use super::bounds::{channel_bounds, weight_mode, Interval, WeightMode};
use super::cost::{self, Destination};
use super::error::CompileErrorKind as Kind;
use super::layout::Layout;
use super::moves::same_feed;
use super::nest::Geometry;
use super::stage::{build_units, Feed, Mode, Source, Stage, Tiling};
use crate::ir::{Add, ChannelParams, Conv, Graph, IntType, Pool, Requant, Rounding, TensorId};
use hdl_gen::arch::ACC_VALUE_BITS;
use hdl_gen::isa::WindowOp;
use hdl_gen::numfmt::round_scaled;
use hdl_gen::Arch;

/// Multiplier that leaves a code as it is, with any rounding (see [`identity_params`]).
const IDENTITY_MULTIPLIER: i32 = i32::MAX;
/// Clamp that lets everything pass.
const NO_CLAMP: (i32, i32) = (-65536, 65535);

/// What operators need to become stages.
pub struct Context<'a> {
    pub arch: &'a Arch,
    pub graph: &'a Graph,
    /// Weights are wanted, not only how many.
    pub packed: bool,
}

pub type Result<T> = std::result::Result<T, Kind>;

/// Parameters with which `round(code + bias)` is `code - offset`: `(v * (2^31 - 1) + addend) / 2^31` rounds to `v` for
/// every `|v| < 2^30`.
pub fn identity_params(offset: i32, rounding: Rounding) -> ChannelParams {
    let addend = if rounding == Rounding::Floor { 1 << 30 } else { 0 };
    ChannelParams { bias: -offset, multiplier: IDENTITY_MULTIPLIER, addend, shift: 0 }
}

impl Mode {
    /// Codes unchanged.
    pub fn identity(arch: &Arch) -> Mode {
        Mode {
            rounding: Rounding::HalfUp,
            zero_point: 0,
            clamp: NO_CLAMP,
            raw: false,
            table: None,
            window: WindowOp::None,
            bipolar: false,
            add: false,
            wgt_log2: WeightMode::select(arch).log2,
            shl20: false,
        }
    }

    pub fn of(arch: &Arch, r: &Requant) -> Mode {
        Mode {
            rounding: r.rounding,
            zero_point: r.zero_point,
            clamp: r.clamp,
            raw: r.raw,
            table: r.table.clone(),
            ..Mode::identity(arch)
        }
    }
}

/// Parameters of an output channel; one entry serves all channels.
pub fn channel_params(r: &Requant, channel: usize) -> ChannelParams {
    r.channels[if r.channels.len() == 1 { 0 } else { channel }]
}

impl Context<'_> {
    pub fn shape(&self, t: TensorId) -> [usize; 3] {
        self.graph.tensors[t].shape
    }

    pub fn ty(&self, t: TensorId) -> IntType {
        self.graph.tensors[t].ty
    }

    pub fn layout(&self, t: TensorId) -> Layout {
        Layout::new(self.arch, self.shape(t), self.ty(t))
    }

    /// Results fit the type that stores them; `values`: what each channel's accumulator (biased or not) can be.
    pub fn check_requant(
        &self,
        r: &Requant,
        output: TensorId,
        sums: impl Iterator<Item = Interval>,
    ) -> Result<()> {
        let ty = self.ty(output);
        if r.raw {
            for (channel, sum) in sums.enumerate() {
                raw_result(channel, sum, &channel_params(r, channel), r.rounding)?;
            }
            return Ok(());
        }
        for (channel, sum) in sums.enumerate() {
            biased(channel, sum, &channel_params(r, channel))?;
        }
        if r.table.is_some() && !self.arch.has_table {
            return Err(Kind::NeedsFeature { feature: "table" });
        }
        let (lo, hi) = match &r.table {
            None => r.clamp,
            Some(t) => {
                let values = || (0..=255).filter_map(|i| t.get(i)).map(|v| *v as i32);
                (values().min().unwrap_or(0), values().max().unwrap_or(0))
            }
        };
        let range = Interval::of(ty);
        match range.contains(lo as i128) && range.contains(hi as i128) {
            true => Ok(()),
            false => Err(Kind::ClampOutsideType { lo, hi }),
        }
    }

    /// A convolution, with a max pool on its results where one is fused.
    pub fn conv(&self, name: &str, conv: &Conv, pool: Option<&Pool>) -> Result<Stage> {
        let ic = self.shape(conv.input)[2];
        let x = Interval::of(self.ty(conv.input));
        let padded = conv.pads != [0; 4];
        if padded && !x.contains(conv.pad_code as i128) {
            return Err(Kind::PadCode { code: conv.pad_code });
        }
        let lanes = self.arch.lanes as usize;
        let sum_column = conv.groups == 1 && (!padded || conv.pad_code == 0 || ic.is_multiple_of(lanes));
        let mode = weight_mode(self.arch, &conv.weights, x, sum_column)?;
        self.check_requant(&conv.requant, conv.output, channel_bounds(&conv.weights, x).into_iter())?;
        let Some((planes, in_rows)) = self.conv_planes(conv, &mode) else {
            return Ok(self.conv_stage(name, conv, pool, mode, None));
        };
        let sketch = Context { packed: false, ..*self };
        let cost = |mode: WeightMode, in_rows: Option<u32>| {
            let stage = sketch.conv_stage(name, conv, pool, mode, in_rows);
            let to = Destination::of(self.arch, &self.layout(stage.output));
            cost::best_merge(self.arch, &stage, planes, to).0
        };
        Ok(match cost(in_rows, Some(planes)) < cost(mode, None) {
            true => self.conv_stage(name, conv, pool, in_rows, Some(planes)),
            false => self.conv_stage(name, conv, pool, mode, None),
        })
    }

    /// A convolution in a weight mode. `planes`: those of the input, to be spread over rows.
    fn conv_stage(
        &self,
        name: &str,
        conv: &Conv,
        pool: Option<&Pool>,
        mode: WeightMode,
        planes: Option<u32>,
    ) -> Stage {
        let [oc, kh, kw, icg] = conv.weights.shape;
        let padded = conv.pads != [0; 4];
        let (weights, ocg) = (&conv.weights.data, oc / conv.groups);
        let source = Source {
            feed: 0,
            operand: 0,
            taps: tap_grid([kh, kw], conv.dilation),
            planes: planes.map(|p| (p, self.ty(conv.input).signed)),
            mode,
            packed: self.packed,
            channels: Box::new(move |o| o / ocg * icg..(o / ocg + 1) * icg),
            weight: Box::new(move |o, tap, i| weights[(o * kh * kw + tap) * icg + i - o / ocg * icg]),
        };
        let post = Mode { bipolar: mode.bipolar, wgt_log2: mode.log2, ..Mode::of(self.arch, &conv.requant) };
        let [top, left, ..] = conv.pads;
        let origin = [-(top as isize), -(left as isize)];
        let out = self.shape(conv.output);
        let (geometry, post, output, grid, window) = match pool {
            None => {
                let g = Geometry { origin, step: conv.stride, window_step: [1, 1], upsample: 1 };
                (g, post, conv.output, [out[0], out[1]], [1, 1])
            }
            Some(p) => {
                let step = [0, 1].map(|a| conv.stride[a] * p.stride[a]);
                let g = Geometry { origin, step, window_step: conv.stride, upsample: 1 };
                let shape = self.shape(p.output);
                let post = Mode { window: WindowOp::Max, ..post };
                (g, post, p.output, [shape[0], shape[1]], p.kernel)
            }
        };
        let rows = kh * kw * planes.map_or(1, |p| p as usize);
        let tiling = self.conv_tiling(mode.log2, oc, conv.groups, icg, rows);
        let params = |c: usize| vec![channel_params(&conv.requant, c)];
        let units = build_units(self.arch, tiling, oc, &post, &params, std::slice::from_ref(&source));
        Stage {
            name: name.into(),
            op: if conv.groups > 1 && icg == 1 { "depthwise" } else { "conv" },
            output,
            export_only: false,
            grid,
            window,
            feeds: vec![Feed {
                tensor: conv.input,
                geometry,
                pad_code: if padded { conv.pad_code } else { 0 },
                reach: [(kh - 1) * conv.dilation[0], (kw - 1) * conv.dilation[1]],
            }],
            units,
            macs: (out[0] * out[1] * oc * kh * kw * icg) as u64,
            act_bits: self.ty(conv.input).bits as u32,
            wgt_bits: if conv.weights.bipolar { 1 } else { conv.weights.ty.bits as u32 },
        }
    }

    /// The planes of the input and the weight mode, if the layer is faster with planes in rows: a layer with few taps and
    /// channel blocks then fills the rows, and takes one step where it took one for each plane.
    fn conv_planes(&self, conv: &Conv, mode: &WeightMode) -> Option<(u32, WeightMode)> {
        let arch = self.arch;
        let planes = self.layout(conv.input).planes;
        let [oc, kh, kw, icg] = conv.weights.shape;
        let signed = conv.weights.ty.signed || self.ty(conv.input).signed;
        let padded_with = if conv.pads == [0; 4] { 0 } else { conv.pad_code };
        let uniform = padded_with == 0 || (padded_with == -1 && self.ty(conv.input).signed);
        // the place value goes into the weight; the sign of the first plane may need one bit more
        let bits = conv.weights.ty.bits as u32 + planes - 1
            + (signed && !conv.weights.ty.signed) as u32
            + (conv.weights.ty.signed && self.ty(conv.input).signed) as u32;
        if arch.brick_bits != 1 || !uniform || bits > 16 || planes == 1 {
            return None;
        }
        let log2 = bits.min(8).next_power_of_two().ilog2();
        let in_rows = WeightMode { log2, signed, split: bits > 8, bipolar: false };
        let out = self.shape(conv.output);
        let cost = |mode: &WeightMode, rows_per_pair: usize, steps: u32| -> usize {
            let tiling = self.conv_tiling(mode.log2, oc, conv.groups, icg, kh * kw * rows_per_pair);
            let passes =
                self.conv_passes(&tiling, oc, conv.groups, icg, kh * kw * rows_per_pair) * mode.parts().len();
            let posts = out[0] * out[1] * oc.div_ceil(arch.requant_lanes as usize);
            self.cycles(out[0] * out[1], tiling, (passes, oc.div_ceil(tiling.tile)), steps as usize, posts)
        };
        (cost(&in_rows, planes as usize, 1) < cost(mode, 1, arch.steps(planes))).then_some((planes, in_rows))
    }

    /// Estimated cycles of `passes` passes over `accs` accumulators, of all tiles together, and their `posts` cycles of
    /// post-processing. Passes that accumulate do not run beside a post; shifting weights may bound passes.
    pub fn cycles(
        &self,
        accs: usize,
        tiling: Tiling,
        (passes, tiles): (usize, usize),
        steps: usize,
        posts: usize,
    ) -> usize {
        let chunks = (2 * accs * tiling.tiles).div_ceil(self.arch.acc_depth as usize);
        let shift = ((self.arch.rows + 1) * self.arch.groups) as usize;
        let pass = (accs * steps).max(if passes > 1 { chunks * shift } else { 0 });
        (passes * pass)
            .max(posts + chunks * tiles.div_ceil(tiling.tiles) * 30 + passes.saturating_sub(tiles) * pass)
    }

    /// Tile size with the fewest passes: full passes, or (groups) one channel block at a time.
    fn conv_tiling(&self, log2: u32, oc: usize, groups: usize, icg: usize, taps: usize) -> Tiling {
        let full = Tiling::new(self.arch, log2);
        let lanes = self.arch.lanes as usize;
        let passes = |t: &Tiling| self.conv_passes(t, oc, groups, icg, taps);
        let narrow = full.at_most(self.arch, lanes);
        match groups > 1 && passes(&narrow) < passes(&full) {
            true => narrow,
            false => full,
        }
    }

    /// Passes of all tiles of a convolution; `taps`: rows that one channel block takes.
    fn conv_passes(&self, tiling: &Tiling, oc: usize, groups: usize, icg: usize, taps: usize) -> usize {
        let (lanes, rows, ocg) = (self.arch.lanes as usize, self.arch.rows as usize, oc / groups);
        (0..oc)
            .step_by(tiling.tile)
            .map(|o| {
                let last = (o + tiling.tile).min(oc) - 1;
                let blocks = (last / ocg * icg + icg - 1) / lanes + 1 - o / ocg * icg / lanes;
                (blocks * taps).div_ceil(rows)
            })
            .sum()
    }

    /// Addition of two tensors of one shape.
    pub fn add(&self, name: &str, add: &Add) -> Result<Stage> {
        if !self.arch.has_add {
            return Err(Kind::NeedsFeature { feature: "add" });
        }
        let [h, w, c] = self.shape(add.output);
        let mut operands = Vec::new();
        for (tensor, params) in [(add.a, &add.params_a), (add.b, &add.params_b)] {
            let mut v = Interval::ZERO;
            v.add_product(1 << add.left_shift, Interval::of(self.ty(tensor)));
            operands.push(raw_result(0, v, params, add.sum.rounding)?);
        }
        let sum = Interval { lo: operands[0].lo + operands[1].lo, hi: operands[0].hi + operands[1].hi };
        self.check_requant(&add.sum, add.output, std::iter::once(sum))?;
        let feeds = vec![same_feed(add.a), same_feed(add.b)];
        let selection = self.selection(&feeds, c, h * w, 3);
        let wgt_log2 = selection.mode.log2;
        let mode = Mode { add: true, shl20: add.left_shift == 20, wgt_log2, ..Mode::of(self.arch, &add.sum) };
        let params = |_| vec![add.params_a, add.params_b, channel_params(&add.sum, 0)];
        let tiling = Tiling::new(self.arch, mode.wgt_log2);
        let sources = [(0, add.a), (1, add.b)].map(|(i, t)| self.select(&selection, (i, i), t, Some));
        Ok(Stage {
            feeds,
            units: build_units(self.arch, tiling, c, &mode, &params, &sources),
            act_bits: self.ty(add.a).bits.max(self.ty(add.b).bits) as u32,
            ..Stage::over(name, "add", add.output, [h, w])
        })
    }
}

/// Taps of a kernel in weight order.
fn tap_grid(kernel: [usize; 2], dilation: [usize; 2]) -> Vec<[usize; 2]> {
    (0..kernel[0]).flat_map(|y| (0..kernel[1]).map(move |x| [y * dilation[0], x * dilation[1]])).collect()
}

/// The accumulator with its bias, if the hardware's 42 bits hold it.
fn biased(channel: usize, sum: Interval, p: &ChannelParams) -> Result<Interval> {
    let v = Interval { lo: sum.lo + p.bias as i128, hi: sum.hi + p.bias as i128 };
    match v.fits(ACC_VALUE_BITS) && sum.fits(ACC_VALUE_BITS) {
        true => Ok(v),
        false => Err(Kind::AccumulatorTooWide { channel, lo: v.lo, hi: v.hi, limit_bits: ACC_VALUE_BITS }),
    }
}

/// What a 32-bit result can be, if 32 bits hold it.
fn raw_result(channel: usize, sum: Interval, p: &ChannelParams, rounding: Rounding) -> Result<Interval> {
    let v = biased(channel, sum, p)?;
    // rounding is monotonic, so the ends are the extremes
    let ends = [v.lo, v.hi].map(|v| round_scaled(v as i64, p, rounding) as i128);
    let y = Interval { lo: ends[0].min(ends[1]), hi: ends[0].max(ends[1]) };
    match y.fits(32) {
        true => Ok(y),
        false => Err(Kind::ResultTooWide { channel, lo: y.lo, hi: y.hi }),
    }
}
