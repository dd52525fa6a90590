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

/// `name = lhs + rhs` (a sum; `lhs` alone where `rhs` is empty) or `name <= lhs` (a register).
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
    /// The sum of all bricks, `psum_w` bits; 2-bit bricks only.
    count: String,
    /// Bits that are 0 because the block has few lanes.
    unused: Vec<String>,
}

impl ColumnVars {
    /// LUT6 sites and flip-flops: the leaves, one site per bit of a sum, the registers.
    pub fn cost(&self) -> (f64, f64) {
        let one_bit = self.count.is_empty();
        let sums = || self.stages.iter().flat_map(|s| &s.sums);
        let is_part = |n: &&Net| n.name.ends_with("_half") || n.name.ends_with("_carry");
        let sites: u32 = sums().filter(|n| !is_part(n)).map(|n| n.width).sum();
        let registers: u32 = self.stages.iter().flat_map(|s| &s.regs).map(|n| n.width).sum();
        let (leaves, leaf_registers) = if one_bit {
            // 1 LUT6 per lane; six bits of register per counter.
            (self.lanes, 6 * self.leaves.len() as u32)
        } else {
            // 5 LUTs, of which those with few inputs share a site.
            (34 * self.lanes / 10, 0)
        };
        let last = if one_bit { 0 } else { self.psum_w };
        ((leaves + sites + last) as f64, (leaf_registers + registers + self.psum_w) as f64)
    }
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

/// A number in a sum of words: `name << shift`, at most `max << shift`.
#[derive(Clone)]
struct Word {
    name: String,
    /// Bits of the identifier; more than `max` needs where a counter has fewer lanes than it could take.
    width: u32,
    shift: u32,
    max: i64,
}

impl Word {
    fn value(&self) -> i64 {
        self.max << self.shift
    }
    /// As `w` bits of weights `low` and up. The bits beyond are 0.
    fn bits(&self, low: u32, w: u32) -> String {
        let zeros = (self.shift - low).min(w);
        let have = self.width.min(w - zeros);
        let part = match have {
            0 => None,
            n if n < self.width => Some(format!("{}[{}:0]", self.name, n - 1)),
            _ => Some(self.name.clone()),
        };
        let pad = |n: u32| if n == 0 { None } else { Some(format!("{n}'d0")) };
        let parts: Vec<String> = [pad(w - zeros - have), part, pad(zeros)].into_iter().flatten().collect();
        if parts.len() == 1 {
            parts[0].clone()
        } else {
            format!("{{{}}}", parts.join(", "))
        }
    }
}

/// Sums of up to three words. Three are first reduced to two, half sum and carries, whose LUTs the carry chain needs anyway:
/// one LUT6 per bit.
#[derive(Default)]
struct Adder {
    wires: Vec<Net>,
    unused: Vec<String>,
}

impl Adder {
    fn wire(&mut self, name: String, width: u32, value: String) {
        self.wires.push(Net { name, width, lhs: value, rhs: String::new() });
    }

    /// The sum of `words` as a wire `name`.
    fn add(&mut self, name: &str, words: &[Word]) -> Word {
        let low = words.iter().map(|w| w.shift).min().expect("something to add");
        let max: i64 = words.iter().map(Word::value).sum::<i64>() >> low;
        let w = width(0, max);
        for word in words {
            let have = w - (word.shift - low).min(w);
            if word.width > have {
                self.unused.push(format!("{}[{}:{have}]", word.name, word.width - 1));
            }
        }
        let all = |w: u32| -> Vec<String> { words.iter().map(|word| word.bits(low, w)).collect() };
        let value = match &all(w)[..] {
            [a, b, c] => {
                self.wire(format!("{name}_half"), w, format!("{a} ^ {b} ^ {c}"));
                let low_bits = all(w - 1);
                let [a, b, c] = [&low_bits[0], &low_bits[1], &low_bits[2]];
                self.wire(format!("{name}_carry"), w - 1, format!("({a} & {b}) | ({c} & ({a} | {b}))"));
                format!("{{{name}_carry, 1'b0}} + {name}_half")
            }
            [a, b] => format!("{a} + {b}"),
            one => one[0].clone(),
        };
        self.wire(name.into(), w, value);
        Word { name: name.into(), width: w, shift: low, max }
    }

    /// Adds three words at a time until at most two are left.
    fn reduce(&mut self, mut words: Vec<Word>) -> Vec<Word> {
        for level in 0.. {
            if words.len() <= 2 {
                break;
            }
            let groups = words.chunks(3).enumerate();
            words = groups
                .map(|(i, group)| match group {
                    [one] => one.clone(),
                    _ => self.add(&format!("sum_l{level}n{i}"), group),
                })
                .collect();
        }
        words
    }
}

/// The counters' words, such that three neighbours are two ones and one twos as long as there are ones.
fn counted(lanes: u32) -> Vec<Word> {
    let leaves = lanes.div_ceil(LANES);
    let count_of = |i: u32| (lanes - i * LANES).min(LANES) as i64;
    let ones = |i: u32| Word { name: format!("ones{i}_q"), width: 3, shift: 0, max: (count_of(i) + 2) / 3 };
    // One triple of lanes gives one; the last may have two lanes, then its two counts as well.
    let twos = |i: u32| Word { name: format!("twos{i}_q"), width: 3, shift: 1, max: (count_of(i) + 1) / 3 };
    let mut words = Vec::new();
    for pair in 0..leaves.div_ceil(2) {
        words.extend((2 * pair..(2 * pair + 2).min(leaves)).map(ones));
        words.push(twos(pair));
    }
    words.extend((leaves.div_ceil(2)..leaves).map(twos));
    words
}

/// 1-bit bricks: lane counters, then sums of three words at a time, a register in the middle.
pub fn one_bit(module: &str, lanes: u32, psum_w: u32) -> ColumnVars {
    let leaves: Vec<Leaf> = (0..lanes.div_ceil(LANES)).map(|i| lane_leaf(i, lanes)).collect();
    let mut adder = Adder::default();
    let (words, empty): (Vec<Word>, Vec<Word>) = counted(lanes).into_iter().partition(|w| w.max > 0);
    adder.unused.extend(empty.into_iter().map(|w| w.name));
    let words = adder.reduce(words);
    let mut stage = Stage { sums: std::mem::take(&mut adder.wires), regs: Vec::new() };
    let mut halves = Vec::new();
    for (i, word) in words.into_iter().enumerate() {
        let name = format!("part{i}_q");
        stage.regs.push(Net {
            name: name.clone(),
            width: word.width,
            lhs: word.name.clone(),
            rhs: String::new(),
        });
        halves.push(Word { name, ..word });
    }
    // The partial sum's range includes this block, so what is added to it is the rest.
    let most: i64 = halves.iter().map(Word::value).sum();
    let psum = Word { name: "psum_i".into(), width: psum_w, shift: 0, max: (1 << psum_w) - 1 - most };
    halves.push(psum);
    adder.add("sum", &halves);
    let last = Stage { sums: adder.wires, regs: Vec::new() };
    let (stages, count) = (vec![stage, last], String::new());
    ColumnVars { module: module.into(), lanes, psum_w, leaves, stages, count, unused: adder.unused }
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
