// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Exact requantization: integer parameters that give, at every accumulator value that can occur, the code of an arbitrary
//! rule (float arithmetic of a reference, for example).
//!
//! A rule is cut into runs of equal codes; each run is two points below which, and two points above which, a line
//! `slope * acc + offset` must stay. The floor of the line gives the codes (the addend places the thresholds); rules with
//! several exact ties to even lie on no such line, but on one whose halves are rounded to even. All lines that do are a polygon in (slope, offset); exact integer arithmetic finds its
//! slopes, then parameters inside it. The result is verified at the ends of every run; as both sides are monotone
//! between them, that proves every value.

use crate::ir::Weights;
use hdl_gen::numfmt::{round_scaled, ChannelParams, Rounding, BASE_SHIFT};
use std::fmt;

/// The roundings that are tried, in this order.
pub const ROUNDINGS: [Rounding; 2] = [Rounding::Floor, Rounding::HalfEven];

/// Values that a rule without a monotonicity proof may have, at most.
pub const EXHAUSTIVE_LIMIT: i64 = 1 << 22;

/// Accumulators `first..=last` all give `code`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    pub first: i64,
    pub last: i64,
    pub code: i32,
}

/// An accumulator value at which the best parameters found are not the rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Difference {
    pub acc: i64,
    pub expected: i32,
    pub got: i32,
}

/// Why there are no exact parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequantError {
    /// `lo > hi`.
    Empty { lo: i64, hi: i64 },
    /// The rule is not proven monotone and has too many accumulator values to try them all.
    TooManyValues { lo: i64, hi: i64 },
    /// A rule's code lies outside the clamp.
    OutsideClamp { acc: i64, code: i32 },
    /// Codes rise (or fall) by 1 or more per accumulator unit, which no multiplier below 2^31 / 2^31 does; larger weights
    /// (all times 2, 4, ...) make it less steep.
    TooSteep,
    /// No line (with parameters of the machine's widths) passes between all steps. Some of the values at which the
    /// nearest one differs, and the number of runs with such values.
    NotExact { runs: usize, differing_runs: usize, examples: Vec<Difference> },
}

impl fmt::Display for RequantError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RequantError::Empty { lo, hi } => write!(f, "no accumulator value in {lo}..={hi}"),
            RequantError::TooManyValues { lo, hi } => {
                write!(f, "the rule is not monotone and {lo}..={hi} has too many values to try all")
            }
            RequantError::OutsideClamp { acc, code } => {
                write!(f, "accumulator {acc} gives code {code}, outside the clamp")
            }
            RequantError::TooSteep => f.write_str("the code changes by 1 or more per accumulator unit"),
            RequantError::NotExact { runs, differing_runs, examples } => {
                write!(f, "no multiplier and shift is exact: {differing_runs} of {runs} steps differ")?;
                let show =
                    |d: &Difference| format!("accumulator {} gives {} for {}", d.acc, d.got, d.expected);
                let list = examples.iter().map(show).collect::<Vec<_>>();
                if list.is_empty() {
                    return Ok(());
                }
                write!(f, ": {}", list.join(", "))
            }
        }
    }
}

impl std::error::Error for RequantError {}

/// Smallest and largest accumulator of each output channel for input codes in `lo..=hi` (the pad code included), by
/// interval arithmetic with the weights themselves.
pub fn acc_bounds(weights: &Weights, (lo, hi): (i64, i64)) -> Vec<(i64, i64)> {
    let terms = weights.shape[1..].iter().product::<usize>().max(1);
    let bound = |w: &[i32]| {
        w.iter().fold((0, 0), |(least, most), &w| {
            let (a, b) = (w as i64 * lo, w as i64 * hi);
            (least + a.min(b), most + a.max(b))
        })
    };
    weights.data.chunks(terms).map(bound).collect()
}

/// Parameters that keep every value of less than 30 bits, with any rounding: `value * (2^31 - 1) / 2^31`, moved to the
/// middle of its step.
pub fn identity(rounding: Rounding) -> ChannelParams {
    let addend = if rounding == Rounding::Floor { 1 << 30 } else { 0 };
    ChannelParams { bias: 0, multiplier: i32::MAX, addend, shift: 0 }
}

/// The runs of `rule` over `lo..=hi`.
///
/// `monotone`: the caller has proven that the rule never falls, or never rises; then steps are found by bisection.
/// Otherwise every value is tried. Errors: empty interval, too many values.
pub fn runs(rule: impl Fn(i64) -> i32, lo: i64, hi: i64, monotone: bool) -> Result<Vec<Run>, RequantError> {
    if lo > hi {
        return Err(RequantError::Empty { lo, hi });
    }
    if !monotone && hi - lo >= EXHAUSTIVE_LIMIT {
        return Err(RequantError::TooManyValues { lo, hi });
    }
    let mut found: Vec<Run> = Vec::new();
    let (mut first, end) = (lo, rule(hi));
    while first <= hi {
        let code = rule(first);
        let last = match monotone {
            true if code == end => hi,
            true => {
                let before = found.last().map_or(1, |r| r.last - r.first + 1);
                last_equal(&rule, first, hi, code, before)
            }
            false => (first..hi).find(|&v| rule(v + 1) != code).unwrap_or(hi),
        };
        found.push(Run { first, last, code });
        first = last + 1;
    }
    Ok(found)
}

/// Last value of the run that begins at `first` and ends before `hi`. Runs are nearly as long as the one `before`, so the end is
/// sought there: doubling steps outwards, then bisection.
fn last_equal(rule: &impl Fn(i64) -> i32, first: i64, hi: i64, code: i32, before: i64) -> i64 {
    let (mut same, mut other) = (first, hi);
    let expected = first.saturating_add(before - 1).min(hi);
    let mut step = 1;
    if rule(expected) == code {
        same = expected;
        while same + step < other && rule(same + step) == code {
            same += step;
            step *= 2;
        }
        other = other.min(same + step);
    } else {
        other = expected;
        while other - step > same && rule(other - step) != code {
            other -= step;
            step *= 2;
        }
        same = same.max(other - step);
    }
    while other - same > 1 {
        let middle = same + (other - same) / 2;
        if rule(middle) == code {
            same = middle;
        } else {
            other = middle;
        }
    }
    same
}

/// Finds parameters and rounding for `rule` over `lo..=hi`; see [`runs`] and [`solve_all`].
pub fn search(
    rule: impl Fn(i64) -> i32,
    (lo, hi): (i64, i64),
    monotone: bool,
    zero_point: i32,
    clamp: (i32, i32),
) -> Result<(ChannelParams, Rounding), RequantError> {
    let runs = runs(rule, lo, hi, monotone)?;
    let (params, rounding) =
        solve_all(1, |_, rounding| solve(&runs, zero_point, clamp, rounding)).map_err(|e| e.1)?;
    Ok((params[0], rounding))
}

/// One rounding for all channels, and what `solve` gives for each under it. Error: the first channel that none of the
/// roundings serves.
pub fn solve_all<T>(
    channels: usize,
    solve: impl Fn(usize, Rounding) -> Result<T, RequantError>,
) -> Result<(Vec<T>, Rounding), (usize, RequantError)> {
    let under = |rounding| {
        (0..channels).map(|c| solve(c, rounding).map_err(|e| (c, e))).collect::<Result<Vec<_>, _>>()
    };
    let mut failure = None;
    for rounding in ROUNDINGS {
        match under(rounding) {
            Ok(found) => return Ok((found, rounding)),
            Err(e) => failure = failure.or(Some(e)),
        }
    }
    Err(failure.expect("at least one rounding was tried"))
}

/// Parameters with which `clamp(round_scaled(acc + bias) + zero_point)` is the rule at every value, for a rounding of
/// [`ROUNDINGS`].
///
/// Example: the rule `acc / 3` rounded to nearest, acc in -300..=300, codes -100..=100.
pub fn solve(
    runs: &[Run],
    zero_point: i32,
    clamp: (i32, i32),
    rounding: Rounding,
) -> Result<ChannelParams, RequantError> {
    solve_through(runs, zero_point, clamp, rounding, None)
}

/// The same; besides, with a gate `(acc, least, limit)` the result at `acc`, before clamps, is at least `least` and below `limit`.
pub fn solve_through(
    runs: &[Run],
    zero_point: i32,
    clamp: (i32, i32),
    rounding: Rounding,
    gate: Option<(i64, i32, i32)>,
) -> Result<ChannelParams, RequantError> {
    if let Some(r) = runs.iter().find(|r| r.code < clamp.0 || r.code > clamp.1) {
        return Err(RequantError::OutsideClamp { acc: r.first, code: r.code });
    }
    let corridor = Corridor::new(runs, zero_point, clamp, rounding, gate);
    if corridor.is_steep() {
        return Err(RequantError::TooSteep);
    }
    let output = Output { zero_point, clamp, rounding };
    let found = corridor.parameters().find(|p| is_exact(runs, p, output));
    found.ok_or_else(|| not_exact(runs, &corridor, output))
}

/// What stands behind the multiplication.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    pub zero_point: i32,
    pub clamp: (i32, i32),
    pub rounding: Rounding,
}

impl Output {
    /// The code that parameters give.
    pub fn code(&self, acc: i64, p: &ChannelParams) -> i32 {
        let y = round_scaled(acc + p.bias as i64, p, self.rounding) + self.zero_point as i64;
        y.clamp(self.clamp.0 as i64, self.clamp.1 as i64) as i32
    }
}

/// Whether the parameters give the rule's code at every value.
pub fn is_exact(runs: &[Run], p: &ChannelParams, output: Output) -> bool {
    differences(runs, p, output).next().is_none()
}

/// Differences at the ends of the runs. None there means none at all: between the ends of a run the parameters' codes are
/// monotone.
fn differences<'a>(
    runs: &'a [Run],
    p: &'a ChannelParams,
    output: Output,
) -> impl Iterator<Item = Difference> + 'a {
    let ends = runs.iter().flat_map(|r| [(r.first, r.code), (r.last, r.code)]);
    ends.filter_map(move |(acc, expected)| {
        let got = output.code(acc, p);
        (got != expected).then_some(Difference { acc, expected, got })
    })
}

fn not_exact(runs: &[Run], corridor: &Corridor, output: Output) -> RequantError {
    let mut examples =
        corridor.nearest().map_or(Vec::new(), |p| differences(runs, &p, output).collect::<Vec<_>>());
    examples.dedup();
    let inside = |r: &&Run| examples.iter().any(|d| d.acc == r.first || d.acc == r.last);
    let differing_runs = runs.iter().filter(inside).count();
    examples.truncate(8);
    RequantError::NotExact { runs: runs.len(), differing_runs, examples }
}

type Point = (i128, i128);

/// What a line must keep: at or above every `low` point, and at most at every `high` point (below it by at least `gap`
/// units of the last place). y in halves. Only hull points are kept.
///
/// With ties to even, a line may touch the points of even codes only; that is left to the verification.
struct Corridor {
    low: Vec<Point>,
    high: Vec<Point>,
    gap: i128,
}

/// An exact fraction, denominator positive.
#[derive(Clone, Copy)]
struct Fraction(i128, i128);

impl Fraction {
    fn less(self, other: Fraction) -> bool {
        self.0 * other.1 < other.0 * self.1
    }
}

impl Corridor {
    fn new(
        runs: &[Run],
        zero_point: i32,
        clamp: (i32, i32),
        rounding: Rounding,
        gate: Option<(i64, i32, i32)>,
    ) -> Corridor {
        let (half, gap) = if rounding == Rounding::Floor { (0, 1) } else { (1, 0) };
        let (mut low, mut high) = (Vec::new(), Vec::new());
        for r in runs {
            let y = 2 * (r.code as i128 - zero_point as i128) - half;
            for x in [r.first as i128, r.last as i128] {
                // At the ends of the clamp one side is free.
                if r.code > clamp.0 {
                    low.push((x, y));
                }
                if r.code < clamp.1 {
                    high.push((x, -(y + 2)));
                }
            }
        }
        let place = |y: i32| 2 * (y as i128 - zero_point as i128) - half;
        low.extend(gate.map(|(x, least, _)| (x as i128, place(least))));
        high.extend(gate.map(|(x, _, limit)| (x as i128, -place(limit))));
        let high = upper_hull(high).into_iter().map(|(x, y)| (x, -y)).collect();
        Corridor { low: upper_hull(low), high, gap }
    }

    /// Slopes of the lines that keep the corridor: an interval, open where `gap` is 1, unbounded where `None`.
    fn slopes(&self) -> (Option<Fraction>, Option<Fraction>) {
        let (mut least, mut most): (Option<Fraction>, Option<Fraction>) = (None, None);
        for &(xl, yl) in &self.low {
            for &(xh, yh) in &self.high {
                if xh > xl {
                    let f = Fraction(yh - yl, 2 * (xh - xl));
                    most = Some(most.filter(|m| m.less(f)).unwrap_or(f));
                } else if xh < xl {
                    let f = Fraction(yl - yh, 2 * (xl - xh));
                    least = Some(least.filter(|l| f.less(*l)).unwrap_or(f));
                }
            }
        }
        (least, most)
    }

    /// No slope lies between the two.
    fn crossed(&self, least: Fraction, most: Fraction) -> bool {
        if self.gap == 1 {
            !least.less(most)
        } else {
            most.less(least)
        }
    }

    /// All slopes are beyond the multiplier's reach.
    fn is_steep(&self) -> bool {
        let one = Fraction(MULTIPLIER.1, 1 << BASE_SHIFT);
        match self.slopes() {
            (Some(least), Some(most)) if self.crossed(least, most) => false,
            (least, most) => {
                least.is_some_and(|l| !l.less(one)) || most.is_some_and(|m| !Fraction(-one.0, one.1).less(m))
            }
        }
    }

    /// Parameters to try, best precision first.
    fn parameters(&self) -> impl Iterator<Item = ChannelParams> + '_ {
        let (least, most) = self.slopes();
        let gap = self.gap;
        let feasible = !matches!((least, most), (Some(l), Some(m)) if self.crossed(l, m));
        let shifts = (0..64u8).rev().filter(move |_| feasible);
        shifts.flat_map(move |shift| {
            let total = BASE_SHIFT + shift as u32;
            // The first integer above (or at) the least slope, the last below (or at) the greatest.
            let above = |f: Fraction| ((f.0 << total) - 1 + gap).div_euclid(f.1) + 1;
            let lo = least.map_or(MULTIPLIER.0, |f| above(f).max(MULTIPLIER.0));
            let hi = most.map_or(MULTIPLIER.1, |f| (-above(Fraction(-f.0, f.1))).min(MULTIPLIER.1));
            let candidates = [4, 3, 5, 2, 6, 1, 7, 0, 8].map(|k| lo + (hi - lo) * k / 8);
            let candidates = candidates.into_iter().filter(move |&m| lo <= m && m <= hi && m != 0);
            candidates.filter_map(move |m| self.with_multiplier(m, shift))
        })
    }

    /// Parameters with this multiplier and shift, if the corridor leaves room for the offset and the bias for its size.
    fn with_multiplier(&self, m: i128, shift: u8) -> Option<ChannelParams> {
        let total = BASE_SHIFT + shift as u32;
        let lo = self.low.iter().map(|&(x, y)| (y << (total - 1)) - m * x).max();
        let hi = self.high.iter().map(|&(x, y)| (y << (total - 1)) - self.gap - m * x).min();
        let (lo, hi) = match (lo, hi) {
            (Some(lo), Some(hi)) if lo > hi => return None,
            (Some(lo), Some(hi)) => (lo, hi),
            (Some(lo), None) => (lo, lo + (1 << total)),
            (None, Some(hi)) => (hi - (1 << total), hi),
            (None, None) => (0, 0),
        };
        [lo + (hi - lo) / 2, 0i128.clamp(lo, hi)].into_iter().find_map(|b| split_offset(b, m, shift))
    }

    /// Parameters near the middle of contradicting demands, to show what differs.
    fn nearest(&self) -> Option<ChannelParams> {
        let (Some(a), Some(b)) = self.slopes() else { return None };
        let slope = (a.0 as f64 / a.1 as f64 + b.0 as f64 / b.1 as f64) / 2.0;
        (0..=63u8).rev().find_map(|shift| {
            let total = BASE_SHIFT + shift as u32;
            let m = (slope * 2f64.powi(total as i32)) as i128;
            if m == 0 || m < MULTIPLIER.0 || m > MULTIPLIER.1 {
                return None;
            }
            let lo = self.low.iter().map(|&(x, y)| (y << (total - 1)) - m * x).max()?;
            let hi = self.high.iter().map(|&(x, y)| (y << (total - 1)) - self.gap - m * x).min()?;
            split_offset(lo + (hi - lo) / 2, m, shift)
        })
    }
}

/// Multipliers that are tried: symmetric, so that every negative one has its positive counterpart.
const MULTIPLIER: (i128, i128) = (-(i32::MAX as i128), i32::MAX as i128);

/// Parameters whose results, before any clamp, are less by `by` at every value; `None` where the bias has no room.
pub fn lowered(p: &ChannelParams, by: i32) -> Option<ChannelParams> {
    let m = p.multiplier as i128;
    let offset = p.bias as i128 * m + p.addend as i128 - ((by as i128) << (BASE_SHIFT + p.shift as u32));
    split_offset(offset, m, p.shift)
}

/// `offset = bias * m + addend`.
fn split_offset(offset: i128, m: i128, shift: u8) -> Option<ChannelParams> {
    let addend = offset.rem_euclid(m.abs());
    let bias = i32::try_from((offset - addend) / m).ok()?;
    Some(ChannelParams {
        bias,
        multiplier: i32::try_from(m).ok()?,
        addend: u32::try_from(addend).ok()?,
        shift,
    })
}

/// The points that some line can touch from above (upper concave hull), by rising x.
fn upper_hull(mut points: Vec<Point>) -> Vec<Point> {
    points.sort_unstable();
    points.dedup();
    let mut hull: Vec<Point> = Vec::new();
    for p in points {
        // The higher of two points above each other.
        if hull.last().is_some_and(|q| q.0 == p.0) {
            hull.pop();
        }
        while let [.., a, b] = hull[..] {
            if (b.0 - a.0) * (p.1 - a.1) >= (p.0 - a.0) * (b.1 - a.1) {
                hull.pop();
            } else {
                break;
            }
        }
        hull.push(p);
    }
    hull
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::IntType;
    use crate::random::Random;

    impl Random {
        fn unit(&mut self) -> f64 {
            (self.next() >> 11) as f64 / (1u64 << 53) as f64
        }
    }

    fn assert_exact(
        rule: impl Fn(i64) -> i32,
        (lo, hi): (i64, i64),
        clamp: (i32, i32),
        what: &str,
    ) -> Rounding {
        let (p, rounding) = search(&rule, (lo, hi), true, 0, clamp).unwrap_or_else(|e| panic!("{what}: {e}"));
        let output = Output { zero_point: 0, clamp, rounding };
        for acc in lo..=hi {
            assert_eq!(output.code(acc, &p), rule(acc), "{what}: acc {acc} with {p:?} {rounding:?}");
        }
        rounding
    }

    #[test]
    fn runs_of_any_lengths_are_found_where_they_end() {
        let seed = 0x5eed_0007;
        let mut r = Random(seed);
        for round in 0..600 {
            let steps = r.in_range(0, 40);
            let most = [3, 60, 2000][r.below(3)];
            let lo = r.in_range(-500, 500);
            let mut ends = vec![lo];
            (0..steps).for_each(|_| ends.push(ends[ends.len() - 1] + r.in_range(1, most)));
            let hi = ends[ends.len() - 1] + r.in_range(0, most);
            let sign = [1, -1][r.below(2)];
            let rule = |v: i64| sign * ends.iter().filter(|&&e| v >= e).count() as i32;
            let all = runs(rule, lo, hi, false).unwrap();
            assert_eq!(runs(rule, lo, hi, true).unwrap(), all, "seed {seed:#x}, round {round}");
        }
    }

    #[test]
    fn float32_batch_norm_rules_are_exact_at_every_value() {
        let seed = 0x5eed_0001;
        let mut r = Random(seed);
        for round in 0..400 {
            let bits = r.in_range(1, 8) as u32;
            let clamp = if r.next() & 1 == 0 {
                (0, (1 << bits) - 1)
            } else {
                (-(1 << (bits - 1)), (1 << (bits - 1)) - 1)
            };
            let width = 1 << r.in_range(2, 14);
            let lo = r.in_range(-width, width);
            let hi = lo + r.in_range(0, width);
            let span = (clamp.1 - clamp.0) as f64;
            let a = ((r.unit() - 0.5) * (4.0 * span / width as f64).min(1.9)) as f32;
            let b = ((r.unit() - 0.5) * 2.0 * span) as f32;
            let rule = move |v: i64| {
                (v as f32 * a + b).round_ties_even().clamp(clamp.0 as f32, clamp.1 as f32) as i32
            };
            assert_exact(
                rule,
                (lo, hi),
                clamp,
                &format!("seed {seed:#x} round {round} a {a} b {b} in {lo}..={hi}"),
            );
        }
    }

    #[test]
    fn ties_to_even_are_exact() {
        // Halves: 0.5 -> 0, 1.5 -> 2, 2.5 -> 2 lie on no line whose floor is taken.
        for (d, b) in [(2.0, 0.0), (4.0, 0.5), (8.0, -0.125), (-2.0, 0.5), (-16.0, 3.25), (1.5, 0.0)] {
            let rule = |v: i64| (v as f32 / d + b).round_ties_even().clamp(-128.0, 127.0) as i32;
            let rounding = assert_exact(rule, (-900, 900), (-128, 127), &format!("v / {d} + {b}"));
            let ties = d != 1.5;
            assert_eq!(rounding, if ties { Rounding::HalfEven } else { Rounding::Floor }, "v / {d} + {b}");
        }
        // Odd divisors have no ties.
        for d in (1..60i64).step_by(2).skip(1) {
            let rule = |v: i64| (v as f64 / d as f64).round_ties_even().clamp(-128.0, 127.0) as i32;
            assert_eq!(assert_exact(rule, (-9000, 9000), (-128, 127), "odd divisor"), Rounding::Floor);
        }
    }

    #[test]
    fn a_layer_has_one_rounding() {
        let rules: [fn(i64) -> i32; 2] = [
            |v| (v as f32 / 2.0).round_ties_even().clamp(-8.0, 7.0) as i32,
            |v| v.div_euclid(3).clamp(-8, 7) as i32,
        ];
        let runs = rules.map(|r| runs(r, -50, 50, true).unwrap());
        let (params, rounding) = solve_all(2, |c, r| solve(&runs[c], 0, (-8, 7), r)).unwrap();
        assert_eq!(rounding, Rounding::HalfEven);
        let output = Output { zero_point: 0, clamp: (-8, 7), rounding };
        for v in -50..=50 {
            assert_eq!([0, 1].map(|c| output.code(v, &params[c])), rules.map(|r| r(v)), "{v}");
        }
    }

    #[test]
    fn a_rule_that_no_line_gives_is_refused_with_values() {
        // Two slopes.
        let rule = |v: i64| if v < 0 { v.div_euclid(6) } else { v / 3 }.clamp(-8, 7) as i32;
        let Err(RequantError::NotExact { runs, differing_runs, examples }) =
            search(rule, (-48, 40), true, 0, (-8, 7))
        else {
            panic!("must be refused")
        };
        assert_eq!(runs, 16);
        assert!(differing_runs > 0 && !examples.is_empty());
        assert!(examples.iter().all(|d| rule(d.acc) == d.expected && d.got != d.expected));
    }

    #[test]
    fn rules_that_jump_or_turn_are_refused() {
        let turn = |v: i64| v.abs().min(7) as i32;
        assert!(matches!(search(turn, (-9, 9), false, 0, (0, 7)), Err(RequantError::NotExact { .. })));
        assert!(matches!(
            search(turn, (-1 << 22, 1 << 22), false, 0, (0, 7)),
            Err(RequantError::TooManyValues { .. })
        ));
        assert!(matches!(search(turn, (1, 0), true, 0, (0, 7)), Err(RequantError::Empty { .. })));
        assert!(matches!(
            search(turn, (0, 5), true, 0, (0, 3)),
            Err(RequantError::OutsideClamp { acc: 4, code: 4 })
        ));
        let jump = |v: i64| if v < 3 { -1 } else { 1 };
        assert!(search(jump, (-9, 9), true, 0, (-2, 2)).is_err());
        assert_eq!(search(jump, (2, 3), true, 0, (-1, 1)), Err(RequantError::TooSteep));
        assert_eq!(search(|v| -2 * v as i32, (-2, 3), true, 0, (-8, 7)), Err(RequantError::TooSteep));
    }

    #[test]
    fn constant_and_falling_rules() {
        for clamp in [(-8, 7), (0, 15), (-128, 127), (0, 65535), (3, 3)] {
            for c in [clamp.0, (clamp.0 + clamp.1) / 2, clamp.1] {
                for (lo, hi) in [(0, 0), (-5, 5), (-20_000, 30_000), (1000, 1003)] {
                    assert_exact(|_| c, (lo, hi), clamp, "constant");
                }
            }
        }
        for d in [1, 3, 7, 1001] {
            assert_exact(
                |v| (-v).div_euclid(d).clamp(-16, 15) as i32,
                (-20_000, 20_000),
                (-16, 15),
                "falling",
            );
        }
    }

    #[test]
    fn wide_codes_and_wide_accumulators() {
        let rule = |v: i64| (v + 7).div_euclid(61).clamp(0, 65535) as i32;
        let clamp = (0, 65535);
        let (p, rounding) = search(rule, (-3_000_000, 5_000_000), true, 0, clamp).unwrap();
        let output = Output { zero_point: 0, clamp, rounding };
        for acc in (-3_000_000..=5_000_000).step_by(7) {
            assert_eq!(output.code(acc, &p), rule(acc), "acc {acc}");
        }
    }

    #[test]
    fn bisection_finds_the_runs_that_trying_all_finds() {
        let mut r = Random(77);
        for _ in 0..50 {
            let d = r.in_range(1, 400);
            let lo = r.in_range(-3000, 0);
            let hi = lo + r.in_range(0, 5000);
            let rule = |v: i64| v.div_euclid(d) as i32;
            assert_eq!(runs(rule, lo, hi, true), runs(rule, lo, hi, false), "seed 77, d {d} in {lo}..={hi}");
        }
    }

    #[test]
    fn identity_keeps_values_with_every_rounding() {
        for rounding in Rounding::ALL {
            let p = identity(rounding);
            for v in (-(1i64 << 29)..1 << 29).step_by(999_983).chain(-40..40).chain([(1 << 29) - 1]) {
                assert_eq!(round_scaled(v, &p, rounding), v, "{rounding:?}");
            }
        }
    }

    #[test]
    fn bounds_follow_the_weights() {
        let ty = IntType { bits: 3, signed: true };
        let w = Weights { shape: [2, 1, 1, 3], data: vec![1, -2, 3, -1, -1, 0], ty, bipolar: false };
        assert_eq!(acc_bounds(&w, (0, 3)), [(-6, 12), (-6, 0)]);
        assert_eq!(acc_bounds(&w, (-1, 3)), [(-10, 14), (-6, 2)]);
    }
}
