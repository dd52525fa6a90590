// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Adder trees of a column's bricks in one block of rows.

use super::{extend, width};
use crate::leaf::lane_count::LANES;
use serde::Serialize;

/// A leaf cell and its operands.
#[derive(Serialize)]
struct Leaf {
    index: u32,
    act: String,
    wgt: String,
}

/// `name = lhs + rhs` (a sum) or `name <= lhs` (a register).
#[derive(Serialize)]
struct Net {
    name: String,
    width: u32,
    lhs: String,
    rhs: String,
}

/// Sums, then registers.
#[derive(Default, Serialize)]
struct Stage {
    sums: Vec<Net>,
    regs: Vec<Net>,
}

/// What a column's template needs.
#[derive(Serialize)]
pub struct ColumnVars {
    module: String,
    lanes: u32,
    psum_w: u32,
    leaves: Vec<Leaf>,
    stages: Vec<Stage>,
    /// The sum of all bricks, `psum_w` bits.
    count: String,
    /// Bits that are 0 because the block has few lanes.
    unused: Vec<String>,
}

/// A number in a tree: an identifier and its range.
#[derive(Clone)]
struct Num {
    name: String,
    min: i64,
    max: i64,
}

impl Num {
    fn width(&self) -> u32 {
        width(self.min, self.max)
    }
    fn widened(&self, to: u32) -> String {
        extend(&self.name, self.width(), to, self.min < 0)
    }
}

/// Adds neighbours, `levels` times; an odd one passes.
fn add_levels(mut nums: Vec<Num>, levels: u32, prefix: &str, stage: &mut Stage) -> Vec<Num> {
    for level in 0..levels {
        nums = nums
            .chunks(2)
            .enumerate()
            .map(|(i, pair)| match pair {
                [a, b] => add(a, b, format!("{prefix}_l{level}n{i}"), stage),
                _ => pair[0].clone(),
            })
            .collect();
    }
    nums
}

fn add(a: &Num, b: &Num, name: String, stage: &mut Stage) -> Num {
    let sum = Num { name, min: a.min + b.min, max: a.max + b.max };
    let w = sum.width();
    stage.sums.push(Net { name: sum.name.clone(), width: w, lhs: a.widened(w), rhs: b.widened(w) });
    sum
}

/// A register behind each number.
fn register(nums: Vec<Num>, prefix: &str, stage: &mut Stage) -> Vec<Num> {
    let each = nums.into_iter().enumerate().map(|(i, n)| {
        let name = format!("{prefix}{i}_q");
        stage.regs.push(Net {
            name: name.clone(),
            width: n.width(),
            lhs: n.name.clone(),
            rhs: String::new(),
        });
        Num { name, ..n }
    });
    each.collect()
}

/// Levels of a binary tree over `n` numbers.
fn depth(n: usize) -> u32 {
    usize::BITS - (n.max(1) - 1).leading_zeros()
}

/// 1-bit bricks: lane counters, trees of the ones and of the twos, `count = ones + 2 * twos`.
pub fn one_bit(module: &str, lanes: u32, psum_w: u32) -> ColumnVars {
    let leaves: Vec<Leaf> = (0..lanes.div_ceil(LANES)).map(|i| lane_leaf(i, lanes)).collect();
    let count_of = |i: usize| (lanes - i as u32 * LANES).min(LANES) as i64;
    let numbers = |kind: &str| -> Vec<Num> {
        let most = |i: usize| if kind == "ones" { (count_of(i) + 2) / 3 } else { (count_of(i) + 1) / 3 };
        // The counters have three bits, whatever the last one's range is.
        (0..leaves.len()).map(|i| Num { name: format!("{kind}{i}_q"), min: 0, max: most(i).max(4) }).collect()
    };
    let mut stages = vec![Stage::default(), Stage::default()];
    let mut roots = Vec::new();
    for kind in ["ones", "twos"] {
        let half =
            add_levels(numbers(kind), 2.min(depth(leaves.len())), &format!("{kind}_a"), &mut stages[0]);
        let half = register(half, &format!("{kind}_half"), &mut stages[0]);
        let rest = depth(half.len());
        roots.extend(add_levels(half, rest, &format!("{kind}_b"), &mut stages[1]));
    }
    let (count, unused) = join(&roots[0], &roots[1], lanes, psum_w, &mut stages[1]);
    ColumnVars { module: module.into(), lanes, psum_w, leaves, stages, count, unused }
}

/// `ones + 2 * twos`, `psum_w` bits: bit 0 of the ones passes beside the adder. Also: bits of the operands that are not
/// used, because the counters have three bits however few the lanes are.
fn join(ones: &Num, twos: &Num, lanes: u32, psum_w: u32, stage: &mut Stage) -> (String, Vec<String>) {
    let w = width(0, lanes as i64 / 2);
    let mut unused = Vec::new();
    let mut operand = |n: &Num, low: u32| {
        let have = n.width() - low;
        if have > w {
            unused.push(format!("{}[{}:{}]", n.name, n.width() - 1, low + w));
        }
        let part = format!("{}[{}:{low}]", n.name, low + have.min(w) - 1);
        if have < w {
            format!("{{{}'d0, {part}}}", w - have)
        } else {
            part
        }
    };
    let (lhs, rhs) = (operand(ones, 1), operand(twos, 0));
    stage.sums.push(Net { name: "upper".into(), width: w, lhs, rhs });
    let count = match psum_w - w - 1 {
        0 => format!("{{upper, {}[0]}}", ones.name),
        n => format!("{{{n}'d0, upper, {}[0]}}", ones.name),
    };
    (count, unused)
}

/// Lane counter `index` of a block; lanes that the block does not have read 0.
fn lane_leaf(index: u32, lanes: u32) -> Leaf {
    let (lo, hi) = (index * LANES, ((index + 1) * LANES).min(lanes) - 1);
    let operand = |name: &str| match LANES - (hi + 1 - lo) {
        0 => format!("{name}[{hi}:{lo}]"),
        n => format!("{{{n}'d0, {name}[{hi}:{lo}]}}"),
    };
    Leaf { index, act: operand("act_i"), wgt: operand("wgt_i") }
}

/// 2-bit bricks: one BitBrick per lane, a signed tree with two registers inside.
pub fn two_bit(module: &str, lanes: u32, psum_w: u32) -> ColumnVars {
    let select = |name: &str, i: u32| format!("{name}[{}:{}]", 2 * i + 1, 2 * i);
    let leaves =
        (0..lanes).map(|i| Leaf { index: i, act: select("act_i", i), wgt: select("wgt_i", i) }).collect();
    let mut stages = vec![Stage::default(), Stage::default(), Stage::default()];
    let bricks = (0..lanes).map(|i| Num { name: format!("brick{i}"), min: -6, max: 9 }).collect();
    let nums = add_levels(bricks, 2, "a", &mut stages[0]);
    let nums = register(nums, "quarter", &mut stages[0]);
    let nums = add_levels(nums, 3, "b", &mut stages[1]);
    let nums = register(nums, "part", &mut stages[1]);
    let levels = depth(nums.len());
    let nums = add_levels(nums, levels, "c", &mut stages[2]);
    let count = nums[0].widened(psum_w);
    ColumnVars { module: module.into(), lanes, psum_w, leaves, stages, count, unused: Vec::new() }
}
