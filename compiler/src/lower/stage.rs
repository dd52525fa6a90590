// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A stage: one run of passes and `post`s that makes one tensor (or a part of one), before tiling and addresses.

use super::bounds::WeightMode;
use super::nest::Geometry;
use crate::ir::{ChannelParams, Rounding, TensorId};
use hdl_gen::isa::WindowOp;
use hdl_gen::Arch;
use std::collections::BTreeSet;
use std::ops::Range;

/// One input of a stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feed {
    pub tensor: TensorId,
    pub geometry: Geometry,
    pub pad_code: i32,
    /// Largest (dy, dx) of its taps, for the rows that a chunk needs.
    pub reach: [usize; 2],
}

/// A row of the array in one pass: a kernel tap and a channel block of a feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pair {
    pub block: usize,
    /// Input pixels below and to the right of the tap (0, 0).
    pub dy: usize,
    pub dx: usize,
    /// Plane that the row reads first: 0, or any with planes in rows.
    pub plane: usize,
}

/// One pass: weights of some pairs for one channel tile, accumulated over others of the same tile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassSpec {
    pub feed: usize,
    pub pairs: Vec<Pair>,
    pub groups: u32,
    /// Buffer words in shift order, [`PassSpec::words`] of them; empty where the sources are not packed.
    pub weights: Vec<Vec<u64>>,
    pub wgt_signed: bool,
    /// Each row reads one plane, in a single step; the weights carry the place values.
    pub planes_in_rows: bool,
    pub overwrite: bool,
    pub shift8: bool,
    /// Which accumulator area of the item: operand * tiles + tile.
    pub area: usize,
}

impl PassSpec {
    /// Buffer words of its weights.
    pub fn words(&self) -> usize {
        self.pairs.len() * self.groups as usize
    }
}

/// What one `post` handles: whole channel blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    pub passes: Vec<PassSpec>,
    /// First channel block of the result.
    pub block: usize,
    pub blocks: usize,
    pub tiles: usize,
    /// Beats of one tile.
    pub beats: usize,
    /// Channels in the last block.
    pub last_lanes: usize,
    /// One per channel, `tiles * beats * requant_lanes` for each operand in turn (A, B, sum for an addition).
    pub params: Vec<ChannelParams>,
    /// Accumulator areas: tiles x operands.
    pub areas: usize,
    /// Result pixel that grid pixel 0 is.
    pub first_pixel: usize,
    pub mode: Mode,
}

impl Unit {
    /// Channel blocks that it makes.
    pub fn block_range(&self) -> (usize, usize) {
        (self.block, self.block + self.blocks)
    }
}

/// Arithmetic of a `post` (see `post.mode`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mode {
    pub rounding: Rounding,
    pub zero_point: i32,
    pub clamp: (i32, i32),
    pub raw: bool,
    pub table: Option<Vec<i16>>,
    pub window: WindowOp,
    pub bipolar: bool,
    pub add: bool,
    pub wgt_log2: u32,
    pub shl20: bool,
}

/// One run of the machine over a grid of result pixels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stage {
    pub name: String,
    pub op: &'static str,
    pub output: TensorId,
    /// The result goes to DRAM alone: a copy of a tensor that has its place already.
    pub export_only: bool,
    /// Result pixels `[y, x]` of each unit.
    pub grid: [usize; 2],
    /// Accumulators of one result pixel `[y, x]`.
    pub window: [usize; 2],
    pub feeds: Vec<Feed>,
    pub units: Vec<Unit>,
    /// Multiply-accumulates of the layer, for the report.
    pub macs: u64,
    pub act_bits: u32,
    pub wgt_bits: u32,
}

impl Stage {
    /// A stage without multiplications over `grid` result pixels of one accumulator each; feeds and units are still to come.
    pub fn over(name: &str, op: &'static str, output: TensorId, grid: [usize; 2]) -> Stage {
        Stage {
            name: name.into(),
            op,
            output,
            export_only: false,
            grid,
            window: [1, 1],
            feeds: Vec::new(),
            units: Vec::new(),
            macs: 0,
            act_bits: 0,
            wgt_bits: 1,
        }
    }
}

/// Linear map from input channels at taps to output channels, for one feed.
pub struct Source<'a> {
    pub feed: usize,
    /// 0, or 1 for the second operand of an addition.
    pub operand: usize,
    /// `[dy, dx]`.
    pub taps: Vec<[usize; 2]>,
    /// Planes of the feed to be spread over rows, each with its place value as weight, and whether the first one counts
    /// negative; `None`: planes one after another in time.
    pub planes: Option<(u32, bool)>,
    pub mode: WeightMode,
    /// Weights are wanted, not only how many.
    pub packed: bool,
    /// Input channels that output channel `oc` may use.
    pub channels: Box<dyn Fn(usize) -> Range<usize> + 'a>,
    /// Weight of output channel, tap, input channel.
    pub weight: Box<dyn Fn(usize, usize, usize) -> i32 + 'a>,
}

/// How output channels are cut: channels of a tile (one accumulator word each pixel) and tiles of a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tiling {
    pub tile: usize,
    pub tiles: usize,
}

impl Tiling {
    /// Tiles of whole channel blocks where a pass holds one; else as many tiles as make one block.
    pub fn new(arch: &Arch, log2: u32) -> Tiling {
        let per_pass = arch.channels_per_pass(log2) as usize;
        let lanes = arch.lanes as usize;
        match per_pass >= lanes {
            true => Tiling { tile: per_pass - per_pass % lanes, tiles: 1 },
            false => {
                let step = arch.requant_lanes as usize;
                let tile = (1..=per_pass / step)
                    .map(|i| i * step)
                    .rfind(|t| lanes.is_multiple_of(*t))
                    .unwrap_or(step);
                Tiling { tile, tiles: lanes / tile }
            }
        }
    }

    /// Channels of a unit.
    pub fn unit(&self) -> usize {
        self.tile * self.tiles
    }

    /// Tiles of at most `channels`, still whole blocks.
    pub fn at_most(self, arch: &Arch, channels: usize) -> Tiling {
        let lanes = arch.lanes as usize;
        match self.tiles == 1 && channels >= lanes {
            true => Tiling { tile: self.tile.min(channels - channels % lanes), tiles: 1 },
            false => self,
        }
    }
}

/// Everything that [`build_unit`] needs beside the sources.
pub struct UnitSpec<'a> {
    pub arch: &'a Arch,
    pub tiling: Tiling,
    /// Output channels, at most `tiling.unit()`.
    pub channels: Range<usize>,
    pub mode: Mode,
    /// Parameters of a channel, one entry for each operand (A, B, sum) in turn.
    pub params: &'a dyn Fn(usize) -> Vec<ChannelParams>,
    pub first_pixel: usize,
}

const NO_PARAMS: ChannelParams = ChannelParams { bias: 0, multiplier: 0, addend: 0, shift: 0 };

/// Cuts output channels into units and builds each.
pub fn build_units(
    arch: &Arch,
    tiling: Tiling,
    channels: usize,
    mode: &Mode,
    params: &dyn Fn(usize) -> Vec<ChannelParams>,
    sources: &[Source],
) -> Vec<Unit> {
    (0..channels)
        .step_by(tiling.unit())
        .map(|first| {
            build_unit(
                &UnitSpec {
                    arch,
                    tiling,
                    channels: first..(first + tiling.unit()).min(channels),
                    mode: mode.clone(),
                    params,
                    first_pixel: 0,
                },
                sources,
            )
        })
        .collect()
}

/// One unit: the passes of every tile and operand, and the parameters.
pub fn build_unit(spec: &UnitSpec, sources: &[Source]) -> Unit {
    let arch = spec.arch;
    let (lanes, step) = (arch.lanes as usize, arch.requant_lanes as usize);
    let count = spec.channels.len();
    let tiles = count.div_ceil(spec.tiling.tile);
    let beats = spec.tiling.tile.min(count).div_ceil(step);
    let operands = sources.iter().map(|s| s.operand + 1).max().unwrap_or(1);
    let mut passes = Vec::new();
    for operand in 0..operands {
        for tile in 0..tiles {
            let first = spec.channels.start + tile * spec.tiling.tile;
            let channels = first..(first + spec.tiling.tile).min(spec.channels.end);
            let area = operand * tiles + tile;
            passes.extend(area_passes(arch, sources, operand, channels, area));
        }
    }
    let mut params = Vec::new();
    for i in 0..(spec.params)(spec.channels.start).len() {
        for tile in 0..tiles {
            for c in 0..beats * step {
                let channel = spec.channels.start + tile * spec.tiling.tile + c;
                let valid = c < spec.tiling.tile && channel < spec.channels.end;
                params.push(if valid { (spec.params)(channel)[i] } else { NO_PARAMS });
            }
        }
    }
    Unit {
        passes,
        block: spec.channels.start / lanes,
        blocks: count.div_ceil(lanes),
        tiles,
        beats,
        last_lanes: (count - 1) % lanes + 1,
        params,
        areas: tiles * operands,
        first_pixel: spec.first_pixel,
        mode: spec.mode.clone(),
    }
}

/// How many units of a stage can become tiles of one.
pub fn mergeable(stage: &Stage) -> usize {
    match stage.units.windows(2).all(|u| u[0].tiles == 1 && follows(&u[0], &u[1])) {
        true => stage.units.len(),
        false => 1,
    }
}

/// Makes neighbouring units of a stage tiles of one, at most `most`, so that more of a pixel goes to DRAM in one piece.
pub fn merge_units(arch: &Arch, stage: &mut Stage, most: usize) {
    let mut merged: Vec<Unit> = Vec::new();
    for unit in stage.units.drain(..) {
        match merged.last_mut() {
            Some(u) if u.tiles < most && follows(u, &unit) => append(arch, u, unit),
            _ => merged.push(unit),
        }
    }
    stage.units = merged;
}

/// Whether `next` can be one more tile of `unit`.
fn follows(unit: &Unit, next: &Unit) -> bool {
    let plain = |u: &Unit| !u.mode.add && !u.mode.raw && u.areas == u.tiles;
    let whole = unit.blocks.is_multiple_of(unit.tiles) && next.tiles == 1;
    plain(unit)
        && plain(next)
        && whole
        && unit.blocks / unit.tiles == next.blocks
        && unit.block + unit.blocks == next.block
        && next.beats <= unit.beats
        && unit.mode == next.mode
        && unit.first_pixel == next.first_pixel
}

fn append(arch: &Arch, unit: &mut Unit, next: Unit) {
    let params = unit.beats * arch.requant_lanes as usize;
    unit.passes.extend(next.passes.into_iter().map(|p| PassSpec { area: p.area + unit.tiles, ..p }));
    unit.params.extend(next.params);
    unit.tiles += 1;
    unit.params.resize(params * unit.tiles, NO_PARAMS);
    unit.areas = unit.tiles;
    unit.blocks += next.blocks;
    unit.last_lanes = next.last_lanes;
}

/// The passes of one accumulator area: all sources of the operand, high bytes before low bytes.
fn area_passes(
    arch: &Arch,
    sources: &[Source],
    operand: usize,
    channels: Range<usize>,
    area: usize,
) -> Vec<PassSpec> {
    let mut passes: Vec<PassSpec> = Vec::new();
    let sources: Vec<&Source> = sources.iter().filter(|s| s.operand == operand).collect();
    let lists: Vec<_> = sources.iter().map(|s| pair_list(arch, s, &channels)).collect();
    let nothing = lists.iter().all(|l| l.is_empty());
    // all high bytes before all low bytes
    for part in 0..2 {
        for (i, (source, list)) in sources.iter().zip(&lists).enumerate() {
            let Some((shift, signed)) = source.mode.parts().get(part).copied() else { continue };
            let dummy = [(Pair { block: 0, dy: 0, dx: 0, plane: 0 }, 0)];
            let list: &[(Pair, usize)] = if nothing && i == 0 { &dummy } else { list };
            let count = list.len().div_ceil(arch.rows as usize).max(1);
            for pairs in list.chunks(list.len().div_ceil(count).max(1)) {
                let (weights, groups) = pack_weights(arch, source, &channels, pairs, shift);
                passes.push(PassSpec {
                    feed: source.feed,
                    pairs: pairs.iter().map(|p| p.0).collect(),
                    groups,
                    weights,
                    wgt_signed: signed,
                    planes_in_rows: source.planes.is_some(),
                    overwrite: passes.is_empty(),
                    shift8: part == 1 && passes.iter().all(|p| !p.shift8),
                    area,
                });
            }
        }
    }
    passes
}

/// (Channel block, tap) pairs with a weight that is not 0, blocks outermost, and each pair's tap number. With the sum
/// column every pair counts.
fn pair_list(arch: &Arch, source: &Source, channels: &Range<usize>) -> Vec<(Pair, usize)> {
    let lanes = arch.lanes as usize;
    let mut blocks = BTreeSet::new();
    for oc in channels.clone() {
        let r = (source.channels)(oc);
        if !r.is_empty() {
            blocks.extend(r.start / lanes..=(r.end - 1) / lanes);
        }
    }
    let mut out = Vec::new();
    for block in blocks {
        let in_block = block * lanes..(block + 1) * lanes;
        for (tap, [dy, dx]) in source.taps.iter().enumerate() {
            let used = source.mode.bipolar
                || channels.clone().any(|oc| {
                    let r = (source.channels)(oc);
                    let r = r.start.max(in_block.start)..r.end.min(in_block.end);
                    r.into_iter().any(|ic| (source.weight)(oc, tap, ic) != 0)
                });
            if used {
                let planes = source.planes.map_or(1, |p| p.0 as usize);
                out.extend((0..planes).map(|plane| (Pair { block, dy: *dy, dx: *dx, plane }, tap)));
            }
        }
    }
    out
}

/// Weight buffer words of one pass in shift order, and the groups in use.
///
/// Row r's word of group g stands at `r * groups + groups - 1 - g`; column j of the group at bits `j * act_bits`, lane l
/// of it at `l * brick_bits`.
fn pack_weights(
    arch: &Arch,
    source: &Source,
    channels: &Range<usize>,
    pairs: &[(Pair, usize)],
    shift: u32,
) -> (Vec<Vec<u64>>, u32) {
    let log2 = source.mode.log2;
    let slots: Vec<_> = (0..channels.len()).map(|c| arch.acc_slot(log2, c as u32)).collect();
    let groups = slots.iter().map(|s| s.group + 1).max().unwrap_or(1);
    if !source.packed {
        return (Vec::new(), groups);
    }
    let word_len = arch.wgt_word_bits.div_ceil(64) as usize;
    let mut words = vec![vec![0u64; word_len]; pairs.len() * groups as usize];
    let lanes = arch.lanes as usize;
    // where the bits of a weight in lane 0 of a channel in column 0 of its group stand
    let places: Vec<usize> = (0..1u32 << log2)
        .map(|k| (k / arch.brick_bits * arch.act_bits + k % arch.brick_bits) as usize)
        .collect();
    for (row, (pair, tap)) in pairs.iter().enumerate() {
        for (oc, slot) in channels.clone().zip(&slots) {
            let word = &mut words[row * groups as usize + (groups - 1 - slot.group) as usize];
            let column = (slot.column * arch.act_bits) as usize;
            let r = (source.channels)(oc);
            for ic in r.start.max(pair.block * lanes)..r.end.min((pair.block + 1) * lanes) {
                let code = weight_code(source, pair.plane, (oc, *tap, ic), shift);
                let lane = column + ic % lanes * arch.brick_bits as usize;
                for (k, place) in places.iter().enumerate() {
                    let bit = lane + place;
                    word[bit / 64] |= ((code >> k & 1) as u64) << (bit % 64);
                }
            }
        }
    }
    (words, groups)
}

/// Bits of a weight as the columns hold them.
fn weight_code(source: &Source, plane: usize, (oc, tap, ic): (usize, usize, usize), shift: u32) -> u32 {
    let w = (source.weight)(oc, tap, ic);
    match (source.mode.bipolar, source.planes) {
        (true, _) => (w < 0) as u32,
        (_, Some((n, signed))) => {
            let place = 1i32 << (n as usize - 1 - plane);
            ((w * if signed && plane == 0 { -place } else { place }) >> shift) as u32
        }
        _ => (w >> shift) as u32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lower::test_arch;

    /// Weight of (row, channel, lane) read back from the packed words.
    fn unpack(arch: &Arch, pass: &PassSpec, log2: u32, row: usize, channel: u32, lane: u32) -> u32 {
        let slot = arch.acc_slot(log2, channel);
        let word = &pass.weights[row * pass.groups as usize + (pass.groups - 1 - slot.group) as usize];
        (0..1u32 << log2)
            .map(|k| {
                let bit = (slot.column + k / arch.brick_bits) * arch.act_bits
                    + lane * arch.brick_bits
                    + k % arch.brick_bits;
                ((word[bit as usize / 64] >> (bit % 64) & 1) as u32) << k
            })
            .sum()
    }

    #[test]
    fn every_weight_stands_in_its_columns_once() {
        let arch = test_arch();
        for log2 in 0..4u32 {
            let mode = WeightMode { log2, signed: false, split: false, bipolar: false };
            let mask = (1u64 << (1 << log2)) - 1;
            let weight =
                |oc: usize, tap: usize, ic: usize| ((oc * 31 + tap * 7 + ic * 3 + 1) as u64 & mask) as i32;
            let source = Source {
                feed: 0,
                operand: 0,
                taps: vec![[0, 0], [0, 1], [1, 0]],
                planes: None,
                mode,
                packed: true,
                channels: Box::new(|_| 0..11),
                weight: Box::new(weight),
            };
            let channels = arch.channels_per_pass(log2) as usize;
            let passes = area_passes(&arch, &[source], 0, 0..channels, 0);
            assert_eq!(passes.iter().map(|p| p.pairs.len()).sum::<usize>(), 6);
            for pass in &passes {
                for (row, pair) in pass.pairs.iter().enumerate() {
                    let tap = pair.dy * 2 + pair.dx;
                    for oc in 0..channels {
                        for lane in 0..arch.lanes {
                            let ic = pair.block * arch.lanes as usize + lane as usize;
                            let expect = if ic < 11 { weight(oc, tap, ic) as u32 } else { 0 };
                            assert_eq!(unpack(&arch, pass, log2, row, oc as u32, lane), expect);
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn only_the_first_pass_overwrites_and_only_the_first_low_pass_shifts() {
        let arch = test_arch();
        let mode = WeightMode { log2: 3, signed: true, split: true, bipolar: false };
        let source = Source {
            feed: 0,
            operand: 0,
            taps: (0..9).map(|i| [i / 3, i % 3]).collect(),
            planes: None,
            mode,
            packed: true,
            channels: Box::new(|_| 0..8),
            weight: Box::new(|_, _, _| -300),
        };
        let passes = area_passes(&arch, &[source], 0, 0..4, 0);
        let flags: Vec<_> = passes.iter().map(|p| (p.wgt_signed, p.overwrite, p.shift8)).collect();
        let expect = [
            (true, true, false),
            (true, false, false),
            (true, false, false),
            (false, false, true),
            (false, false, false),
            (false, false, false),
        ];
        assert_eq!(flags, expect);
    }
}
