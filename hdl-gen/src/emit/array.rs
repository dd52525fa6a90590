// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The systolic array, fusion and accumulators.
//!
//! Rows are gathered into blocks of at most [`BLOCK_LANES`] lanes; the lanes of one column in one block are one adder
//! tree (`brick_column`), so that the partial sum costs one adder per block and not one per row.

mod column;

use super::{fixed, render, EmitError, RtlFile};
use crate::arch::Arch;
use crate::leaf::{self, BitBrick, LaneCount};
use rust_hdl::prelude::Block as HdlBlock;
use serde::Serialize;

/// Most lanes that one adder tree takes: eight lane counters.
const BLOCK_LANES: u32 = 8 * leaf::lane_count::LANES;

const COLUMN: &str = include_str!("../../../rtl-templates/array/brick_column.v.tera");
const COLUMN2: &str = include_str!("../../../rtl-templates/array/brick_column2.v.tera");
const GROUP: &str = include_str!("../../../rtl-templates/array/array_group.v.tera");
const HALF: &str = include_str!("../../../rtl-templates/array/acc_half.v.tera");
const SUM: &str = include_str!("../../../rtl-templates/array/sum_column.v.tera");
const CORE: &str = include_str!("../../../rtl-templates/array/array_core.v.tera");

/// All files of the array, leaves first, `array_core.v` last.
pub fn files(arch: &Arch) -> Result<Vec<RtlFile>, EmitError> {
    let blocks = blocks(arch);
    let mut files = vec![match arch.brick_bits {
        1 => lane_count(arch)?,
        _ => bit_brick(arch)?,
    }];
    for b in &blocks {
        let name = format!("{}.v", b.module);
        if files.iter().all(|f| f.name != name) {
            files.push(column_file(arch, b, &name)?);
        }
    }
    files.push(render(arch, "acc_half.v", HALF, &HalfVars::new(arch))?);
    files.push(render(arch, "array_group.v", GROUP, &GroupVars::new(arch, &blocks))?);
    if arch.has_sum_column {
        files.push(render(arch, "sum_column.v", SUM, &())?);
    }
    files.push(render(arch, "array_core.v", CORE, &CoreVars::new(arch, &blocks))?);
    Ok(files)
}

/// A rust-hdl leaf as a file.
pub(super) fn leaf_file<B: HdlBlock>(
    arch: &Arch,
    name: &str,
    header: &str,
    mut block: B,
) -> Result<RtlFile, EmitError> {
    block.connect_all();
    let file = format!("{name}.v");
    let text = leaf::emit::verilog(name, header, &block)
        .map_err(|e| EmitError { file: file.clone(), reason: e.to_string() })?;
    Ok(fixed(arch, &file, &text))
}

/// [`LaneCount`] as a file.
pub fn lane_count(arch: &Arch) -> Result<RtlFile, EmitError> {
    let header = "lane_count : ones + 2 * twos = number of the 18 lanes with act and wgt set\n\
                  Latency  0\n\
                  Maps to  18 LUT6: six triples of lanes (two each), two counters of six (three each).";
    leaf_file(arch, "lane_count", header, LaneCount::default())
}

/// [`BitBrick`] as a file.
pub fn bit_brick(arch: &Arch) -> Result<RtlFile, EmitError> {
    let header =
        "bit_brick : p = x * w, slices of 2 bits, two's complement where the flag beside is set, else unsigned\n\
                  Formats  p two's complement, 5 bits (-6..9)\n\
                  Latency  0\nMaps to  5 LUT6";
    leaf_file(arch, "bit_brick", header, BitBrick::default())
}

/// What a column of one block of rows takes.
pub struct ColumnCost {
    pub module: String,
    /// LUT6 sites.
    pub luts: f64,
    pub ffs: f64,
}

/// Per block of rows, from the leaves, sums and registers that the column's text has.
pub fn column_costs(arch: &Arch) -> Vec<ColumnCost> {
    let cost = |b: &Block| {
        let (luts, ffs) = column_vars(arch, b).cost();
        ColumnCost { module: b.module.clone(), luts, ffs }
    };
    blocks(arch).iter().map(cost).collect()
}

/// Bits of the fused values of two, four and eight weight planes.
pub struct FusionWidths {
    pub pair: u32,
    pub quad: u32,
    pub oct: u32,
}

pub fn fusion_widths(arch: &Arch) -> FusionWidths {
    let pair = if arch.brick_bits == 1 { fused_width(arch, 2) } else { arch.psum_bits };
    FusionWidths { pair, quad: fused_width(arch, 4), oct: fused_width(arch, 8) }
}

/// Cycles that each row waits at the input of the array.
pub fn row_delays(arch: &Arch) -> Vec<u32> {
    let blocks = blocks(arch);
    (0..arch.rows).map(|r| core_row(arch, &blocks, r).delay).collect()
}

fn column_vars(arch: &Arch, b: &Block) -> column::ColumnVars {
    match arch.brick_bits {
        1 => column::one_bit(&b.module, b.lanes, b.psum_w),
        _ => column::two_bit(&b.module, b.lanes, b.psum_w),
    }
}

fn column_file(arch: &Arch, b: &Block, name: &str) -> Result<RtlFile, EmitError> {
    let template = if arch.brick_bits == 1 { COLUMN } else { COLUMN2 };
    render(arch, name, template, &column_vars(arch, b))
}

/// Rows whose lanes share an adder tree.
#[derive(Clone, Debug, Serialize)]
struct Block {
    index: u32,
    first: u32,
    last: u32,
    lanes: u32,
    /// Bits of the block's activations.
    act_w: u32,
    /// Bits of the partial sum below this block.
    psum_w: u32,
    module: String,
    /// Part select of the block in the activations of all rows.
    act_select: String,
    /// Partial sum from the block above, per column.
    psum_in: Vec<String>,
    /// The same in the sum column.
    sum_in: String,
}

/// Range of the sum of `lanes` bricks.
fn brick_sum_range(arch: &Arch, lanes: u32) -> (i64, i64) {
    match arch.brick_bits {
        1 => (0, lanes as i64),
        _ => (-6 * lanes as i64, 9 * lanes as i64),
    }
}

/// Bits of a number in `min..=max`, two's complement if `min` is negative.
fn width(min: i64, max: i64) -> u32 {
    let bits = |v: i64| 64 - v.leading_zeros();
    match min < 0 {
        true => bits(max).max(bits(!min)) + 1,
        false => bits(max).max(1),
    }
}

fn blocks(arch: &Arch) -> Vec<Block> {
    let most = (BLOCK_LANES / arch.lanes).max(1);
    let count = arch.rows.div_ceil(most);
    let mut list: Vec<Block> = Vec::new();
    for index in 0..count {
        let first = index * arch.rows / count;
        let last = (index + 1) * arch.rows / count - 1;
        let lanes = (last + 1 - first) * arch.lanes;
        let (min, max) = brick_sum_range(arch, (last + 1) * arch.lanes);
        let psum_w = width(min, max);
        let input = |above: &dyn Fn(&Block) -> String| match list.last() {
            None => format!("{psum_w}'d0"),
            Some(b) => extend(&above(b), b.psum_w, psum_w, min < 0),
        };
        let psum_in = (0..arch.group_columns).map(|c| input(&|b| format!("psum_b{}c{c}", b.index))).collect();
        let sum_in = input(&|b| format!("sum_b{}", b.index));
        let (lo, hi) = (first * arch.act_bits, (last + 1) * arch.act_bits - 1);
        list.push(Block {
            index,
            first,
            last,
            lanes,
            act_w: lanes * arch.brick_bits,
            psum_w,
            module: format!("brick_column_n{lanes}w{psum_w}"),
            act_select: format!("[{hi}:{lo}]"),
            psum_in,
            sum_in,
        });
    }
    list
}

/// `name` (an identifier of `from` bits) widened to `to` bits.
fn extend(name: &str, from: u32, to: u32, signed: bool) -> String {
    match (to - from, signed) {
        (0, _) => name.into(),
        (n, false) => format!("{{{n}'d0, {name}}}"),
        (n, true) => format!("{{{{{n}{{{name}[{}]}}}}, {name}}}", from - 1),
    }
}

#[derive(Serialize)]
struct HalfVars {
    /// Bits by which the running sum shifts per step.
    sh: u32,
    step_factor: u32,
}

impl HalfVars {
    fn new(arch: &Arch) -> Self {
        HalfVars { sh: arch.brick_bits, step_factor: 1 << arch.brick_bits }
    }
}

/// One row in a group.
#[derive(Serialize)]
struct GroupRow {
    index: u32,
    block: u32,
    /// Part select of the row's word in the shadow registers.
    word: String,
    /// Part select of the row in its block's column vectors.
    part: String,
    slices: Vec<Slice>,
}

/// The part of a row's weight word that belongs to one column.
#[derive(Serialize)]
struct Slice {
    column: u32,
    select: String,
}

#[derive(Serialize)]
struct Column {
    index: u32,
}

/// Input of slot `index` of the fusion.
#[derive(Serialize)]
struct Pair {
    index: u32,
    even: u32,
    odd: u32,
    /// Condition under which the odd column is the top plane of its channel.
    top: &'static str,
}

#[derive(Serialize)]
struct Half {
    index: u32,
    low: u32,
    high: u32,
    root_w: u32,
    shift8: u32,
    odd_low: String,
    odd_high: String,
}

#[derive(Serialize)]
struct GroupVars {
    act_w: u32,
    shadow_w: u32,
    foot: u32,
    rows: Vec<GroupRow>,
    blocks: Vec<Block>,
    last_block: u32,
    columns: Vec<Column>,
    pairs: Vec<Pair>,
    pair_w: u32,
    quad_w: u32,
    oct_w: u32,
    odd_w: u32,
    pair_even_pad: String,
    pair_odd_pad: String,
    quad_high_pad: u32,
    oct_high_pad: u32,
    halves: Vec<Half>,
}

/// Bits of a fused value of `planes` weight planes in one step.
fn fused_width(arch: &Arch, planes: u32) -> u32 {
    let lanes = (arch.rows * arch.lanes) as i64;
    let (wgt_min, wgt_max) = (-(1i64 << (planes - 1)), (1i64 << planes) - 1);
    let (min, max) = match arch.brick_bits {
        1 => (wgt_min, wgt_max),
        _ => ((3 * wgt_min).min(-2 * wgt_max), 3 * wgt_max),
    };
    width(min * lanes, max * lanes)
}

impl GroupVars {
    fn new(arch: &Arch, blocks: &[Block]) -> Self {
        let p = arch.psum_bits;
        let pair_w = if arch.brick_bits == 1 { fused_width(arch, 2) } else { p };
        let (quad_w, oct_w) = (fused_width(arch, 4), fused_width(arch, 8));
        let pad = |n: u32| if n == 0 { String::new() } else { format!("{n}'d0, ") };
        let odd = |c: u32| if arch.brick_bits == 1 { format!("odd{c}_q2") } else { "1'b0".into() };
        let half = |index: u32, root_w| Half {
            index,
            low: 2 * index,
            high: 2 * index + 1,
            root_w,
            shift8: 1 - index,
            odd_low: odd(2 * index),
            odd_high: odd(2 * index + 1),
        };
        GroupVars {
            act_w: arch.rows * arch.act_bits,
            shadow_w: arch.rows * arch.wgt_word_bits,
            foot: 4,
            rows: (0..arch.rows).map(|r| group_row(arch, blocks, r)).collect(),
            blocks: blocks.to_vec(),
            last_block: blocks.len() as u32 - 1,
            columns: (0..arch.group_columns).map(|index| Column { index }).collect(),
            pairs: (0..4).map(pair).collect(),
            pair_w,
            quad_w,
            oct_w,
            odd_w: if arch.brick_bits == 1 { p } else { 1 },
            pair_even_pad: pad(pair_w.saturating_sub(p)),
            pair_odd_pad: pad(pair_w.saturating_sub(p + 1)),
            quad_high_pad: quad_w - 2 - pair_w,
            oct_high_pad: oct_w - 4 - quad_w,
            halves: vec![half(0, oct_w), half(1, quad_w)],
        }
    }
}

fn pair(index: u32) -> Pair {
    let top = match index {
        1 => "^t0_wgt_log2_i",
        3 => "pair_en",
        _ => "t0_wgt_log2_i == 2'd1",
    };
    Pair { index, even: 2 * index, odd: 2 * index + 1, top }
}

fn group_row(arch: &Arch, blocks: &[Block], index: u32) -> GroupRow {
    let b = blocks.iter().find(|b| index <= b.last).expect("blocks cover all rows");
    let ab = arch.act_bits;
    let word = index * arch.wgt_word_bits;
    let select = |lo: u32, w: u32| format!("[{}:{lo}]", lo + w - 1);
    GroupRow {
        index,
        block: b.index,
        word: select(word, arch.wgt_word_bits),
        part: select((index - b.first) * ab, ab),
        slices: (0..arch.group_columns)
            .map(|column| Slice { column, select: select(word + column * ab, ab) })
            .collect(),
    }
}

/// A row at the input of the array.
#[derive(Serialize)]
struct CoreRow {
    index: u32,
    /// Part select of the row's activation word.
    act: String,
    /// Cycles that the row waits for the last row of its block.
    delay: u32,
    /// The weight word, delayed likewise.
    shift: String,
}

/// One group and the token stages that control it.
#[derive(Serialize)]
struct CoreGroup {
    index: u32,
    act: String,
    swap: String,
    shift: String,
    act_signed: String,
    wgt_signed: String,
    negate: String,
    t0: u32,
    t1: u32,
    t2: u32,
    t3: u32,
    t4: u32,
    t1_acc: String,
    t4_acc: String,
}

/// Token stages of the sum column.
#[derive(Serialize)]
struct SumTaps {
    tm: u32,
    t0: u32,
    t1: u32,
    t2: u32,
    tm_acc: String,
    t2_acc: String,
}

/// A one-bit field of the token.
#[derive(Serialize)]
struct Flag {
    name: &'static str,
    input: &'static str,
    len: u32,
}

#[derive(Serialize)]
struct CoreVars {
    act_w: u32,
    shadow_w: u32,
    max_lanes: u32,
    latency: u32,
    done: u32,
    len_valid: u32,
    len_write: u32,
    flags: Vec<Flag>,
    rows: Vec<CoreRow>,
    /// Delays of the weight word that exist: 1 to that of the row that waits longest.
    shift_delays: Vec<u32>,
    groups: Vec<CoreGroup>,
    blocks: Vec<Block>,
    last_block: u32,
    sum: SumTaps,
}

impl CoreVars {
    fn new(arch: &Arch, blocks: &[Block]) -> Self {
        let foot = arch.array_latency();
        let end = foot + arch.groups - 1;
        let done = arch.token_done_latency();
        let acc = |tap: u32| acc_select(arch, tap);
        let rows: Vec<CoreRow> = (0..arch.rows).map(|r| core_row(arch, blocks, r)).collect();
        CoreVars {
            act_w: arch.rows * arch.act_bits,
            shadow_w: arch.rows * arch.wgt_word_bits,
            max_lanes: BLOCK_LANES,
            latency: foot,
            done,
            len_valid: done,
            len_write: end + 4,
            flags: flags(arch, foot, end),
            shift_delays: (1..=rows.iter().map(|r| r.delay).max().unwrap_or(0)).collect(),
            rows,
            groups: (0..arch.groups).map(|g| core_group(arch, blocks, g)).collect(),
            blocks: blocks.to_vec(),
            last_block: blocks.len() as u32 - 1,
            sum: SumTaps {
                tm: foot - 2,
                t0: foot - 1,
                t1: foot,
                t2: foot + 1,
                tm_acc: acc(foot - 2),
                t2_acc: acc(foot + 1),
            },
        }
    }
}

/// Range of the accumulator address at a tap.
fn acc_select(arch: &Arch, tap: u32) -> String {
    let aw = super::Derived::new(arch).acc_aw;
    format!("{}:{}", (tap + 1) * aw - 1, tap * aw)
}

/// The token's flags, each as long as its last use. `end` = stage of the last group's foot.
fn flags(arch: &Arch, foot: u32, end: u32) -> Vec<Flag> {
    let flag = |name, input, len| Flag { name, input, len };
    let mut list = vec![
        flag("overwrite", "tok_overwrite_i", end + 3),
        flag("shift8", "tok_shift8_i", end + 3),
        flag("log2_high", "tok_wgt_log2_i[1]", end + 3),
    ];
    if arch.brick_bits == 1 {
        list.push(flag("log2_low", "tok_wgt_log2_i[0]", end + 3));
        list.push(flag("wgt_signed", "tok_wgt_signed_i", end));
        let negate = "(tok_first_i && tok_act_signed_i) != (tok_wgt_signed_i && tok_wgt_log2_i == 2'd0)";
        list.push(flag("negate", negate, end + 2));
    } else {
        list.push(flag("log2_low", "tok_wgt_log2_i[0] || !tok_wgt_log2_i[1]", end + 3));
        list.push(flag("wgt_signed", "tok_wgt_signed_i", end - 3));
        list.push(flag("act_signed", "tok_first_i && tok_act_signed_i", end - 3));
    }
    if arch.has_sum_column {
        list.push(flag("negate_sum", "tok_first_i && tok_act_signed_i", foot));
    }
    list
}

fn core_row(arch: &Arch, blocks: &[Block], index: u32) -> CoreRow {
    let b = blocks.iter().find(|b| index <= b.last).expect("blocks cover all rows");
    let hops_below = blocks.len() as u32 - 1 - b.index;
    let delay = arch.rows - 1 - hops_below - index;
    let (lo, hi) = (index * arch.act_bits, (index + 1) * arch.act_bits - 1);
    let shift = if delay == 0 { "shift_data_i".into() } else { format!("shift_data_d{delay}") };
    CoreRow { index, act: format!("[{hi}:{lo}]"), delay, shift }
}

fn core_group(arch: &Arch, blocks: &[Block], index: u32) -> CoreGroup {
    let tap = arch.array_latency() + index - 1;
    let next = |name: &str| match index + 1 < arch.groups {
        true => format!("{name}_g{}", index + 1),
        false => format!("unused_{name}"),
    };
    // Stage of the block's activation register: three before its foot.
    let at = |b: &Block| tap - 3 - (blocks.len() as u32 - 1 - b.index);
    let join = |f: &dyn Fn(&Block) -> String| {
        format!("{{{}}}", blocks.iter().rev().map(f).collect::<Vec<_>>().join(", "))
    };
    CoreGroup {
        index,
        act: next("act"),
        swap: next("swap"),
        shift: next("shift"),
        act_signed: join(&|b| format!("act_signed_q[{}]", at(b))),
        wgt_signed: join(&|b| wgt_signed(at(b))),
        negate: if arch.brick_bits == 1 { format!("negate_q[{}]", tap + 2) } else { "1'b0".into() },
        t0: tap,
        t1: tap + 1,
        t2: tap + 2,
        t3: tap + 3,
        t4: tap + 4,
        t1_acc: acc_select(arch, tap + 1),
        t4_acc: acc_select(arch, tap + 4),
    }
}

/// 2-bit bricks: the columns whose slice is the top one of a signed weight, column 3 first.
fn wgt_signed(tap: u32) -> String {
    let (s, h, l) =
        (format!("wgt_signed_q[{tap}]"), format!("log2_high_q[{tap}]"), format!("log2_low_q[{tap}]"));
    format!("{s}, {s} && !{h}, {s} && !({h} && {l}), {s} && !{h}")
}
