// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Operators that move codes, or take sums and maxima of them, to stages: passes with weights of 1.

use super::bounds::{Interval, WeightMode};
use super::error::CompileErrorKind as Kind;
use super::nest::Geometry;
use super::ops::{channel_params, identity_params, Context, Result};
use super::stage::{build_unit, build_units, Feed, Mode, Source, Stage, Tiling, Unit, UnitSpec};
use crate::ir::{Concat, Conv, Copy, IntType, Pool, PoolKind, Requant, Reshape, Rounding, TensorId, Weights};
use hdl_gen::isa::WindowOp;
use std::ops::Range;

/// How codes go through the array unchanged.
pub struct Selection {
    pub mode: WeightMode,
    /// Planes in rows instead of in time.
    pub in_rows: bool,
}

impl Context<'_> {
    /// How codes of these inputs go through the array unchanged, `channels` of them for `accs` accumulators each.
    ///
    /// Planes one after another take many channels in a pass but a step for each plane; planes in rows take one step for
    /// few channels. `slots`: cycles of post-processing for one beat of an accumulator.
    pub fn selection(&self, feeds: &[Feed], channels: usize, accs: usize, slots: usize) -> Selection {
        let arch = self.arch;
        let in_time = Selection { mode: WeightMode::select(arch), in_rows: false };
        let planes = feeds.iter().map(|f| self.layout(f.tensor).planes).max().unwrap_or(16);
        let uniform = |f: &Feed| f.pad_code == 0 || (f.pad_code == -1 && self.ty(f.tensor).signed);
        if planes > 8 || planes > arch.rows || arch.brick_bits != 1 || !feeds.iter().all(uniform) {
            return in_time;
        }
        let log2 = planes.next_power_of_two().ilog2();
        let in_rows = Selection { mode: WeightMode { log2, ..WeightMode::select(arch) }, in_rows: true };
        let cost = |s: &Selection| -> usize {
            let tiling = Tiling::new(arch, s.mode.log2);
            let blocks = tiling.tile.min(channels).div_ceil(arch.lanes as usize);
            let (rows, steps) =
                if s.in_rows { (blocks * planes as usize, 1) } else { (blocks, planes as usize) };
            let tiles = feeds.len() * channels.div_ceil(tiling.tile);
            let passes = tiles * rows.div_ceil(arch.rows as usize);
            let posts = accs * channels.div_ceil(arch.requant_lanes as usize) * slots;
            self.cycles(accs, tiling, (passes, tiles), steps, posts)
        };
        if cost(&in_rows) < cost(&in_time) {
            in_rows
        } else {
            in_time
        }
    }

    /// A source that copies single channels: output channel `o` from `channel(o)`.
    pub fn select<'b>(
        &self,
        selection: &Selection,
        (feed, operand): (usize, usize),
        tensor: TensorId,
        channel: impl Fn(usize) -> Option<usize> + 'b,
    ) -> Source<'b> {
        let (channels, signed) = (self.shape(tensor)[2], self.ty(tensor).signed);
        Source {
            feed,
            operand,
            taps: vec![[0, 0]],
            planes: selection.in_rows.then(|| (self.layout(tensor).planes, signed)),
            mode: WeightMode { signed: selection.in_rows && signed, ..selection.mode },
            packed: self.packed,
            channels: Box::new(move |o| match channel(o) {
                Some(c) if c < channels => c..c + 1,
                _ => 0..0,
            }),
            weight: Box::new(|_, _, _| 1),
        }
    }

    /// A pool by itself.
    pub fn pool(&self, name: &str, pool: &Pool) -> Result<Stage> {
        let [_, _, c] = self.shape(pool.input);
        let x = Interval::of(self.ty(pool.input));
        let padded = pool.pads != [0; 4];
        if padded && !x.contains(pool.pad_code as i128) {
            return Err(Kind::PadCode { code: pool.pad_code });
        }
        let window: usize = pool.kernel.iter().product();
        let mut sum = Interval::ZERO;
        sum.add_product(window as i128, x);
        let requant = match &pool.kind {
            PoolKind::Max => self.check_stored(pool.input, pool.output).map(|_| None)?,
            PoolKind::Sum(r) => {
                self.check_requant(r, pool.output, std::iter::repeat_n(sum, c))?;
                Some(r)
            }
        };
        if let Some(r) = requant {
            if self.sum_in_array(pool, c) {
                return self.pool_as_conv(name, pool, r, c);
            }
        }
        let pad_code = if padded { pool.pad_code } else { 0 };
        let feed = Feed { geometry: pool_geometry(pool), pad_code, ..same_feed(pool.input) };
        let out = self.shape(pool.output);
        let selection = self.selection(std::slice::from_ref(&feed), c, out[0] * out[1] * window, 1);
        let wgt_log2 = selection.mode.log2;
        let mode = match requant {
            None => Mode { window: WindowOp::Max, wgt_log2, ..Mode::identity(self.arch) },
            Some(r) => Mode { window: WindowOp::Sum, wgt_log2, ..Mode::of(self.arch, r) },
        };
        let params = |o: usize| match requant {
            None => vec![identity_params(0, Rounding::HalfUp)],
            Some(r) => vec![channel_params(r, o)],
        };
        let tiling = Tiling::new(self.arch, mode.wgt_log2);
        let source = self.select(&selection, (0, 0), pool.input, Some);
        let op = if requant.is_some() { "sum_pool" } else { "max_pool" };
        Ok(Stage {
            window: pool.kernel,
            feeds: vec![feed],
            units: build_units(self.arch, tiling, c, &mode, &params, &[source]),
            act_bits: self.ty(pool.input).bits as u32,
            ..Stage::over(name, op, pool.output, [out[0], out[1]])
        })
    }

    /// Whether a sum pool takes fewer cycles (or fits at all) with its window in the rows of the array.
    fn sum_in_array(&self, pool: &Pool, c: usize) -> bool {
        let window: usize = pool.kernel.iter().product();
        if window > self.arch.acc_depth as usize {
            return true;
        }
        let [oh, ow, _] = self.shape(pool.output);
        let (pixels, arch) = (oh * ow, self.arch);
        let steps = arch.steps(self.layout(pool.input).planes) as usize;
        let tiling = Tiling::new(arch, WeightMode::select(arch).log2);
        let (blocks, rows) = (c.div_ceil(arch.lanes as usize), arch.rows as usize);
        let beats = c.div_ceil(arch.requant_lanes as usize);
        let tile_blocks = (tiling.tile / arch.lanes as usize).clamp(1, blocks);
        let by_window = {
            let passes = c.div_ceil(tiling.tile) * tile_blocks.div_ceil(rows);
            (passes * pixels * window * steps).max(pixels * window * beats)
        };
        let in_rows = {
            let passes = c.div_ceil(tiling.tile) * (tile_blocks * window).div_ceil(rows);
            (passes * (pixels * steps).max(rows * arch.groups as usize)).max(pixels * beats)
        };
        in_rows < by_window
    }

    /// A sum pool as a depthwise convolution with unit weights.
    fn pool_as_conv(&self, name: &str, pool: &Pool, requant: &Requant, c: usize) -> Result<Stage> {
        let [kh, kw] = pool.kernel;
        let conv = Conv {
            input: pool.input,
            output: pool.output,
            weights: Weights {
                shape: [c, kh, kw, 1],
                data: vec![1; c * kh * kw],
                ty: IntType { bits: 1, signed: false },
                bipolar: false,
            },
            stride: pool.stride,
            dilation: [1, 1],
            pads: pool.pads,
            pad_code: pool.pad_code,
            groups: c,
            requant: Requant {
                channels: (0..c).map(|o| channel_params(requant, o)).collect(),
                ..requant.clone()
            },
        };
        Ok(Stage { op: "sum_pool", macs: 0, ..self.conv(name, &conv, None)? })
    }

    /// Codes of `from` are codes of `to`.
    fn check_stored(&self, from: TensorId, to: TensorId) -> Result<()> {
        let (x, y) = (Interval::of(self.ty(from)), Interval::of(self.ty(to)));
        match y.contains(x.lo) && y.contains(x.hi) {
            true => Ok(()),
            false => Err(Kind::ClampOutsideType { lo: x.lo as i32, hi: x.hi as i32 }),
        }
    }

    /// Concatenation of channels.
    pub fn concat(&self, name: &str, concat: &Concat) -> Result<Stage> {
        let [h, w, c] = self.shape(concat.output);
        let mut ranges: Vec<Range<usize>> = Vec::new();
        for (input, requant) in concat.inputs.iter().zip(&concat.requants) {
            let first = ranges.last().map_or(0, |r| r.end);
            ranges.push(first..first + self.shape(*input)[2]);
            match requant {
                None => self.check_stored(*input, concat.output)?,
                Some(r) => {
                    let x = Interval::of(self.ty(*input));
                    self.check_requant(r, concat.output, std::iter::repeat_n(x, self.shape(*input)[2]))?
                }
            }
        }
        let feeds: Vec<Feed> = concat.inputs.iter().map(|t| same_feed(*t)).collect();
        let selection = self.selection(&feeds, c, h * w, 1);
        let sources: Vec<Source> = ranges
            .iter()
            .zip(&concat.inputs)
            .enumerate()
            .map(|(i, (r, t))| {
                let r = r.clone();
                self.select(&selection, (i, 0), *t, move |o| r.contains(&o).then(|| o - r.start))
            })
            .collect();
        let full = Tiling::new(self.arch, selection.mode.log2);
        let tiling = match self.concat_mode(concat, &ranges, &(0..c)) {
            Ok(_) => full,
            Err(_) => full.at_most(self.arch, self.arch.lanes as usize),
        };
        let mut units = Vec::new();
        for first in (0..c).step_by(tiling.unit()) {
            let channels = first..(first + tiling.unit()).min(c);
            let mode = self.concat_mode(concat, &ranges, &channels)?;
            let mode = Mode { wgt_log2: selection.mode.log2, ..mode };
            let params = |o: usize| {
                let i = ranges.iter().position(|r| r.contains(&o)).unwrap_or(0);
                vec![match &concat.requants[i] {
                    None => identity_params(mode.zero_point, mode.rounding),
                    Some(r) => channel_params(r, o - ranges[i].start),
                }]
            };
            let spec = UnitSpec {
                arch: self.arch,
                tiling,
                channels,
                mode: mode.clone(),
                params: &params,
                first_pixel: 0,
            };
            units.push(build_unit(&spec, &sources));
        }
        Ok(Stage {
            feeds,
            units,
            act_bits: concat.inputs.iter().map(|t| self.ty(*t).bits as u32).max().unwrap_or(0),
            ..Stage::over(name, "concat", concat.output, [h, w])
        })
    }

    /// The mode that serves all inputs with channels in `channels`.
    fn concat_mode(&self, concat: &Concat, ranges: &[Range<usize>], channels: &Range<usize>) -> Result<Mode> {
        let inside = |i: &usize| ranges[*i].start < channels.end && channels.start < ranges[*i].end;
        let inputs: Vec<usize> = (0..ranges.len()).filter(inside).collect();
        let mut modes =
            inputs.iter().filter_map(|i| concat.requants[*i].as_ref()).map(|r| Mode::of(self.arch, r));
        let mode = modes.next().unwrap_or(Mode::identity(self.arch));
        let copies_fit = inputs.iter().filter(|i| concat.requants[**i].is_none()).all(|i| {
            let x = Interval::of(self.ty(concat.inputs[*i]));
            mode.table.is_none() && !mode.raw && x.lo >= mode.clamp.0 as i128 && x.hi <= mode.clamp.1 as i128
        });
        match modes.all(|m| m == mode) && copies_fit {
            true => Ok(mode),
            false => Err(Kind::ConcatModes),
        }
    }

    /// Channel slice, crop, upsampling and requantization.
    pub fn copy(&self, name: &str, copy: &Copy) -> Result<Stage> {
        let [h, w, c] = self.shape(copy.output);
        let mode = match &copy.requant {
            None => {
                self.check_stored(copy.input, copy.output)?;
                Mode::identity(self.arch)
            }
            Some(r) => {
                let x = Interval::of(self.ty(copy.input));
                self.check_requant(r, copy.output, std::iter::repeat_n(x, c))?;
                Mode::of(self.arch, r)
            }
        };
        let params = |o: usize| match &copy.requant {
            None => vec![identity_params(0, Rounding::HalfUp)],
            Some(r) => vec![channel_params(r, o)],
        };
        let geometry = Geometry { upsample: copy.upsample, ..Geometry::SAME };
        let feeds = vec![Feed { geometry, ..same_feed(copy.input) }];
        let selection = self.selection(&feeds, c, h * w, 1);
        let mode = Mode { wgt_log2: selection.mode.log2, ..mode };
        let tiling = Tiling::new(self.arch, mode.wgt_log2);
        let source = self.select(&selection, (0, 0), copy.input, |o| Some(o + copy.first_channel));
        Ok(Stage {
            feeds,
            units: build_units(self.arch, tiling, c, &mode, &params, &[source]),
            act_bits: self.ty(copy.input).bits as u32,
            ..Stage::over(name, "copy", copy.output, [h, w])
        })
    }

    /// A reshape that moves codes to other lanes: one result pixel at a time, gathered from the pixels it comes from.
    pub fn reshape(&self, name: &str, reshape: &Reshape) -> Result<Stage> {
        self.check_stored(reshape.input, reshape.output)?;
        let [_, w, c] = self.shape(reshape.input);
        let [oh, ow, oc] = self.shape(reshape.output);
        let mode = Mode::identity(self.arch);
        let tiling = Tiling::new(self.arch, mode.wgt_log2);
        let mut units: Vec<Unit> = Vec::new();
        for pixel in 0..oh * ow {
            for first in (0..oc).step_by(tiling.unit()) {
                let channels = first..(first + tiling.unit()).min(oc);
                let flat = move |o: usize| pixel * oc + o;
                let pixels = flat(channels.start) / c..flat(channels.end - 1) / c + 1;
                let source = Source {
                    feed: 0,
                    operand: 0,
                    taps: pixels.clone().map(|p| [p / w, p % w]).collect(),
                    planes: None,
                    mode: WeightMode::select(self.arch),
                    packed: self.packed,
                    channels: Box::new(move |o| flat(o) % c..flat(o) % c + 1),
                    weight: Box::new(move |o, tap, _| (flat(o) / c == pixels.start + tap) as i32),
                };
                let params = |_| vec![identity_params(0, Rounding::HalfUp)];
                let mode = mode.clone();
                let spec =
                    UnitSpec { arch: self.arch, tiling, channels, mode, params: &params, first_pixel: pixel };
                units.push(build_unit(&spec, &[source]));
            }
        }
        let [ih, iw, _] = self.shape(reshape.input);
        Ok(Stage {
            feeds: vec![Feed { reach: [ih - 1, iw - 1], ..same_feed(reshape.input) }],
            units,
            act_bits: self.ty(reshape.input).bits as u32,
            ..Stage::over(name, "reshape", reshape.output, [1, 1])
        })
    }
}

/// Where the windows of a pool lie.
fn pool_geometry(pool: &Pool) -> Geometry {
    Geometry {
        origin: [-(pool.pads[0] as isize), -(pool.pads[1] as isize)],
        step: pool.stride,
        window_step: [1, 1],
        upsample: 1,
    }
}

/// A feed that reads pixel p for result pixel p.
pub fn same_feed(tensor: TensorId) -> Feed {
    Feed { tensor, geometry: Geometry::SAME, pad_code: 0, reach: [0, 0] }
}
