// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The rules between and within the fields, on plain values.

use super::error::ConfigErrorKind as K;
use super::keywords::is_keyword;
use super::{Config, MAX_BRICKS, MAX_MEMORY_BITS};
use crate::arch::{ACC_SEG_BITS, ACC_WORD_BITS, GROUP_BITS, PLANES_PER_WORD};

/// What a number may be.
#[derive(Clone, Copy, Debug)]
pub enum Limit {
    Range(u32, u32),
    /// Powers of two from the first to the second.
    Power(u32, u32),
    OneOf(&'static [u32]),
}

/// A number of the configuration.
pub struct Number {
    pub path: &'static str,
    pub limit: Limit,
    get: fn(&Config) -> u32,
}

/// Every number of the configuration.
#[rustfmt::skip]
pub const NUMBERS: &[Number] = &[
    Number { path: "device.clock_mhz", limit: Limit::Range(1, 1000), get: |c| c.device.clock_mhz },
    Number { path: "array.rows", limit: Limit::Range(1, 32), get: |c| c.array.rows },
    Number { path: "array.lanes", limit: Limit::Range(4, 32), get: |c| c.array.lanes },
    Number { path: "array.columns", limit: Limit::Range(16, 1024), get: |c| c.array.columns },
    Number { path: "array.brick_bits", limit: Limit::OneOf(&[1, 2]), get: |c| c.array.brick_bits },
    Number { path: "banks.depth", limit: Limit::Power(16, 16384), get: |c| c.banks.depth },
    Number { path: "accumulators.depth", limit: Limit::Power(16, 4096), get: |c| c.accumulators.depth },
    Number { path: "weights.depth", limit: Limit::Power(16, 65536), get: |c| c.weights.depth },
    Number { path: "weights.taps", limit: Limit::Power(16, 4096), get: |c| c.weights.taps },
    Number { path: "requantize.lanes", limit: Limit::OneOf(&[4, 8]), get: |c| c.requantize.lanes },
    Number { path: "requantize.param_depth", limit: Limit::Power(16, 4096), get: |c| c.requantize.param_depth },
    Number { path: "axi.data_bits", limit: Limit::OneOf(&[64]), get: |c| c.axi.data_bits },
    Number { path: "axi.read_ports", limit: Limit::OneOf(&[1, 2, 4]), get: |c| c.axi.read_ports },
    Number { path: "axi.burst_beats", limit: Limit::Power(2, 256), get: |c| c.axi.burst_beats },
    Number { path: "queues.depth", limit: Limit::Power(4, 64), get: |c| c.queues.depth },
];

impl Number {
    /// The rule that `value` breaks, if any.
    pub fn check(&self, value: i128) -> Option<K> {
        let field = self.path;
        let inside = |min: u32, max: u32| (min as i128..=max as i128).contains(&value);
        match self.limit {
            Limit::Range(min, max) if !inside(min, max) => Some(K::OutOfRange { field, value, min, max }),
            Limit::Power(min, max) if !inside(min, max) || value.count_ones() != 1 => {
                Some(K::NotPowerOfTwo { field, value, min, max })
            }
            Limit::OneOf(choices) if !choices.iter().any(|&c| c as i128 == value) => {
                Some(K::NotOneOf { field, value, choices })
            }
            _ => None,
        }
    }

    pub fn find(path: &str) -> Option<&'static Number> {
        NUMBERS.iter().find(|n| n.path == path)
    }
}

/// A broken rule and the fields that take part in it; the error is shown at the first.
pub struct Violation {
    pub fields: &'static [&'static str],
    pub kind: K,
}

/// A rule between fields.
struct Rule {
    fields: &'static [&'static str],
    check: fn(&Config) -> Option<K>,
}

/// The rules that need more than one number, or text.
#[rustfmt::skip]
const RULES: &[Rule] = &[
    Rule { fields: &["name"], check: |c| name(&c.name) },
    Rule { fields: &["device.part"], check: |c| part(&c.device.part) },
    Rule { fields: &["array.lanes", "requantize.lanes"], check: lanes },
    Rule { fields: &["array.columns", "array.brick_bits", "requantize.lanes"], check: columns_grouped },
    Rule { fields: &["array.columns", "array.brick_bits"], check: columns_fit },
    Rule { fields: &["array.columns", "array.brick_bits", "array.lanes", "requantize.lanes"], check: groups_fit_lanes },
    Rule { fields: &["array.columns", "array.rows", "array.lanes"], check: bricks },
    Rule { fields: &["requantize.bipolar", "array.brick_bits"], check: bipolar },
    Rule { fields: &["weights.taps", "array.rows"], check: taps },
    Rule { fields: &["weights.depth", "array.rows", "array.columns", "array.brick_bits"], check: weights },
    Rule {
        fields: &["requantize.param_depth", "array.columns", "array.brick_bits", "requantize.lanes"],
        check: params,
    },
    Rule {
        fields: &[
            "banks.depth",
            "array.rows",
            "array.lanes",
            "array.columns",
            "array.brick_bits",
            "accumulators.depth",
            "weights.depth",
        ],
        check: memory,
    },
];

/// All broken rules; rules about a field for which `bad` holds are left out, because another error stands there already.
pub fn check(config: &Config, bad: &dyn Fn(&str) -> bool) -> Vec<Violation> {
    let mut found = Vec::new();
    for n in NUMBERS.iter().filter(|n| !bad(n.path)) {
        if let Some(kind) = n.check((n.get)(config) as i128) {
            found.push(Violation { fields: std::slice::from_ref(&n.path), kind });
        }
    }
    let numbers: Vec<&str> = found.iter().map(|v| v.fields[0]).collect();
    let usable = |f: &&str| !bad(f) && !numbers.contains(f);
    let rules = RULES.iter().filter(|r| r.fields.iter().all(usable));
    let more: Vec<_> =
        rules.filter_map(|r| (r.check)(config).map(|kind| Violation { fields: r.fields, kind })).collect();
    found.extend(more);
    found
}

fn name(value: &str) -> Option<K> {
    let letter_first = value.chars().next().is_some_and(|c| c.is_ascii_alphabetic());
    let plain = value.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !letter_first || !plain || value.len() > 64 {
        return Some(K::NotIdentifier { value: value.into() });
    }
    is_keyword(value).then(|| K::ReservedWord { value: value.into() })
}

fn part(value: &str) -> Option<K> {
    let plain = value.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    (!plain || value.is_empty() || value.len() > 64).then(|| K::NotPartName { value: value.into() })
}

fn lanes(c: &Config) -> Option<K> {
    let (lanes, requant_lanes) = (c.array.lanes, c.requantize.lanes);
    (lanes % requant_lanes != 0).then_some(K::LanesNotRequantMultiple { lanes, requant_lanes })
}

fn columns_grouped(c: &Config) -> Option<K> {
    let (columns, brick_bits, requant_lanes) = (c.array.columns, c.array.brick_bits, c.requantize.lanes);
    let grouped = (columns * brick_bits).is_multiple_of(GROUP_BITS * requant_lanes);
    (!grouped).then_some(K::ColumnsNotGrouped { columns, brick_bits, requant_lanes })
}

fn columns_fit(c: &Config) -> Option<K> {
    let (columns, brick_bits) = (c.array.columns, c.array.brick_bits);
    (columns * brick_bits > 1024).then_some(K::TooManyColumns { columns, brick_bits })
}

/// Fusion groups; exact where [`columns_grouped`] holds.
fn groups(c: &Config) -> u32 {
    c.array.columns * c.array.brick_bits / GROUP_BITS
}

fn groups_fit_lanes(c: &Config) -> Option<K> {
    if columns_grouped(c).is_some() || lanes(c).is_some() {
        return None; // follows from what is reported already
    }
    let (groups, lanes) = (groups(c), c.array.lanes);
    (!groups.is_multiple_of(lanes) && !lanes.is_multiple_of(groups))
        .then_some(K::GroupsAgainstLanes { groups, lanes })
}

fn bricks(c: &Config) -> Option<K> {
    let bricks = c.array.rows as u64 * c.array.lanes as u64 * c.array.columns as u64;
    (bricks > MAX_BRICKS).then_some(K::TooManyBricks { bricks })
}

fn bipolar(c: &Config) -> Option<K> {
    let brick_bits = c.array.brick_bits;
    (c.requantize.bipolar && brick_bits != 1).then_some(K::BipolarNeedsOneBitBricks { brick_bits })
}

fn taps(c: &Config) -> Option<K> {
    let (taps, rows) = (c.weights.taps, c.array.rows);
    (taps < rows).then_some(K::TapsBelowRows { taps, rows })
}

fn weights(c: &Config) -> Option<K> {
    let (depth, needed) = (c.weights.depth, c.array.rows * groups(c));
    (depth < needed).then_some(K::WeightsBelowPass { depth, needed })
}

fn params(c: &Config) -> Option<K> {
    let values_per_group = GROUP_BITS / c.array.brick_bits;
    let (depth, needed) = (c.requantize.param_depth, groups(c) * values_per_group / c.requantize.lanes);
    (depth < needed).then_some(K::ParamsBelowPass { depth, needed })
}

fn memory(c: &Config) -> Option<K> {
    let a = &c.array;
    let banks = a.rows as u64 * c.banks.depth as u64 * (PLANES_PER_WORD * a.lanes) as u64;
    let accumulators = c.accumulators.depth as u64 * (groups(c) * ACC_WORD_BITS + ACC_SEG_BITS) as u64;
    let weights = c.weights.depth as u64 * (GROUP_BITS * a.lanes) as u64;
    let bits = banks + accumulators + weights;
    (bits > MAX_MEMORY_BITS).then_some(K::TooMuchMemory { bits })
}
