// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Rules that no single line gives (thresholds at will, curved functions): cut into pieces, each a line or a single step,
//! computed as channels of their own and added up by a convolution of ones behind them.

use super::emit::CodeSpec;
use super::lower::Importer;
use super::requants::{all_runs, tightened, with_params};
use super::value::ConvTemplate;
use crate::host::{CodeMap, FloatChain};
use crate::ir::*;
use crate::requant::{identity, lowered, solve, solve_through, Output, Run};

/// Pieces of a channel, at most.
const MAX_PIECES: usize = 512;

/// One piece: `weight * clamp(line, 0, top)`, the top being the same for all pieces of a layer.
#[derive(Clone, Copy, Debug)]
struct Piece {
    params: ChannelParams,
    weight: i32,
}

/// A line that holds over some steps: it is 0 before them and at least `steps` behind them.
struct Line {
    params: ChannelParams,
    steps: i32,
}

impl Importer<'_> {
    /// The convolution with the chain as its requantization, exact for every rule.
    #[allow(clippy::too_many_arguments)]
    pub fn in_pieces(
        &mut self,
        node: &str,
        name: &str,
        conv: &ConvTemplate,
        shape: [usize; 3],
        chain: &FloatChain,
        bounds: &[(i64, i64)],
        spec: CodeSpec,
        reason: &str,
    ) -> Result<TensorId, String> {
        let runs = all_runs(chain, bounds, spec)?;
        let spec = tightened(spec, &runs);
        let (channels, top) = cut_all(&runs, spec.clamp).map_err(|e| match spec.ty.bits {
            0..=8 => e,
            bits => format!(
                "{}int{bits} codes: the reference rescales to them in float32, whose roundings no multiplier and shift \
                 gives, and there are too many codes for a threshold each ({e}); quantize this tensor to 8 bits",
                if spec.ty.signed { "" } else { "u" }
            ),
        })?;
        let count = channels.iter().map(Vec::len).sum::<usize>().max(1);
        let cut = channels.iter().filter(|p| p.len() > 1).count();
        let oc = shape[2];
        self.notes.push(format!(
            "{node}: computed in {count} pieces, {cut} of {oc} channels in several, and added up ({reason})"
        ));
        let terms = conv.weights.shape[1..].iter().product::<usize>().max(1);
        // The pieces of one group of channels stay in its group: as many in each.
        let groups = conv.groups;
        let most = channels.chunks(oc / groups).map(|g| g.iter().map(Vec::len).sum::<usize>()).max();
        let per_group = most.unwrap_or(1).max(1);
        let middle = CodeSpec { ty: IntType::holding(0, top as i64), clamp: (0, top), map: CodeMap::SAME };
        let mut params = Vec::new();
        let mut weights = Weights { data: Vec::new(), ..conv.weights.clone() };
        let mut signs = vec![0; oc * per_group];
        for (g, group) in channels.chunks(oc / groups).enumerate() {
            let mut place = 0;
            for (i, pieces) in group.iter().enumerate() {
                let o = g * (oc / groups) + i;
                for p in pieces {
                    params.push(p.params);
                    weights.data.extend_from_slice(&conv.weights.data[o * terms..][..terms]);
                    signs[o * per_group + place] = p.weight;
                    place += 1;
                }
            }
            // Missing pieces: 0 times anything.
            for _ in place..per_group {
                params.push(identity(Rounding::Floor));
                weights.data.extend_from_slice(&conv.weights.data[g * (oc / groups) * terms..][..terms]);
            }
        }
        let all = groups * per_group;
        weights.shape[0] = all;
        let parts = self.new_codes(&format!("{name}_pieces"), [shape[0], shape[1], all], middle);
        let requant = with_params(params, Rounding::Floor, middle);
        self.conv(&format!("{node}_pieces"), conv, weights, requant, parts);
        let (lo, hi) = signs.iter().fold((0, 0), |(l, h), &s| (l.min(s as i64), h.max(s as i64)));
        let weights = Weights {
            shape: [oc, 1, 1, per_group],
            data: signs,
            ty: IntType::holding(lo, hi),
            bipolar: false,
        };
        let first = |c: usize| runs[c][0].code;
        let params = (0..oc).map(|c| ChannelParams { bias: first(c), ..identity(Rounding::Floor) });
        let requant = with_params(params.collect(), Rounding::Floor, spec);
        let output = self.new_codes(name, shape, spec);
        let op = Conv {
            input: parts,
            output,
            weights,
            stride: [1, 1],
            dilation: [1, 1],
            pads: [0; 4],
            pad_code: 0,
            groups,
            requant,
        };
        self.node(node, Op::Conv(op));
        Ok(output)
    }
}

/// The pieces of all channels, and their common top.
///
/// Where all codes rise (or all fall) one by one, lines serve for many steps: a line that ends before the last step goes on
/// rising, so the same line, lower by its steps, is taken away again. A last line needs no end: the clamp of the codes is one.
/// All other rules are made of single steps.
fn cut_all(runs: &[Vec<Run>], clamp: (i32, i32)) -> Result<(Vec<Vec<Piece>>, i32), String> {
    // The tops that cost no further bit: the least that leaves room, and four bits more for lines that go on for long.
    let least = (2 * (clamp.1 - clamp.0) + 16) as u32;
    let bits = u32::BITS - least.leading_zeros();
    for bits in (bits..=bits + 4).filter(|&b| b <= 16) {
        let top = (1 << bits) - 1;
        let lines = runs.iter().map(|r| in_lines(r, clamp, top)).collect::<Option<Vec<_>>>();
        if let Some(lines) = lines {
            return Ok((lines, top));
        }
    }
    let steps = |(c, r): (usize, &Vec<Run>)| in_steps(r).map_err(|e| format!("channel {c}: {e}"));
    Ok((runs.iter().enumerate().map(steps).collect::<Result<_, _>>()?, 1))
}

/// Every step by itself.
fn in_steps(runs: &[Run]) -> Result<Vec<Piece>, String> {
    if runs.len() > MAX_PIECES {
        return Err(format!("{} thresholds; at most {MAX_PIECES} are supported", runs.len() - 1));
    }
    let step = |at: usize| {
        let part = held(runs, at, at + 1, |c| (c != runs[at].code) as i32);
        let params = solve(&part, 0, (0, 1), Rounding::Floor).map_err(|e| e.to_string())?;
        Ok(Piece { params, weight: runs[at + 1].code - runs[at].code })
    };
    (0..runs.len() - 1).map(step).collect()
}

/// Lines, proven; `None` where the codes do not all rise or all fall by one, or a line has no room.
fn in_lines(runs: &[Run], clamp: (i32, i32), top: i32) -> Option<Vec<Piece>> {
    let weight = if runs.len() > 1 { runs[1].code - runs[0].code } else { 1 };
    if weight.abs() != 1 || runs.windows(2).any(|p| p[1].code - p[0].code != weight) {
        return None;
    }
    // From 0 on, rising.
    let rising =
        runs.iter().map(|r| Run { code: (r.code - runs[0].code) * weight, ..*r }).collect::<Vec<_>>();
    let last = runs[runs.len() - 1].code;
    let open = last == if weight > 0 { clamp.1 } else { clamp.0 };
    // Behind the beginning of a last run that the clamp of the codes holds, lines may be anywhere.
    let mut kept = rising.clone();
    let end = kept.len() - 1;
    if open {
        kept[end].last = kept[end].first;
    }
    let plain = in_row(&kept, top)?;
    let mut rows = vec![plain];
    if rows[0].len() > 2 {
        // Steps from even codes and steps from odd codes apart: roundings of ties to even push them in opposite directions.
        let apart = [0, 1].map(|parity| in_row(&family(&kept, parity), top));
        if let [Some(even), Some(odd)] = apart {
            if even.len() + odd.len() < rows[0].len() {
                rows = vec![even, odd];
            }
        }
    }
    let mut found = Vec::new();
    for row in &rows {
        for (i, line) in row.iter().enumerate() {
            found.push(Piece { params: line.params, weight });
            if i + 1 < row.len() {
                let params = lowered(&line.params, line.steps)?;
                found.push(Piece { params, weight: -weight });
            }
        }
    }
    proven(&rising, &found, open, top, weight).then_some(found)
}

/// The pieces give the rule at both ends of every run, no line has reached the top before the last run, and from there on
/// the sum stays at or above the last code: there the clamp of the codes holds it.
fn proven(rising: &[Run], pieces: &[Piece], open: bool, top: i32, weight: i32) -> bool {
    let output = Output { zero_point: 0, clamp: (0, top), rounding: Rounding::Floor };
    let sum = |v: i64| pieces.iter().map(|p| p.weight * weight * output.code(v, &p.params)).sum::<i32>();
    let last = rising[rising.len() - 1];
    let below = rising[..rising.len() - 1].iter().all(|r| sum(r.first) == r.code && sum(r.last) == r.code);
    let ends = [last.first, last.last];
    if !open {
        return below && ends.iter().all(|&v| sum(v) == last.code && within(pieces, v, top));
    }
    // Where the last run begins no line is above half the top; until one is at the top, its last line alone has risen by
    // as much as all codes.
    below && ends.iter().all(|&v| sum(v) >= last.code) && within(pieces, last.first, top / 2)
}

/// No line is above `most` at `v`.
fn within(pieces: &[Piece], v: i64, most: i32) -> bool {
    let wide = Output { zero_point: 0, clamp: (0, i32::MAX), rounding: Rounding::Floor };
    pieces.iter().all(|p| wide.code(v, &p.params) <= most)
}

/// The runs with only those steps whose lower code has this parity; codes count the steps.
fn family(runs: &[Run], parity: i32) -> Vec<Run> {
    let mut found: Vec<Run> = vec![Run { code: 0, ..runs[0] }];
    for pair in runs.windows(2) {
        let step = pair[1].code - pair[0].code;
        let last = found.len() - 1;
        if pair[0].code.min(pair[1].code) & 1 == parity {
            found.push(Run { code: found[last].code + step, ..pair[1] });
        } else {
            found[last].last = pair[1].last;
        }
    }
    found
}

/// Lines one after the other; the last one stays where it is in the last run.
fn in_row(runs: &[Run], top: i32) -> Option<Vec<Line>> {
    let mut found = Vec::new();
    let mut at = 0;
    while at + 1 < runs.len() {
        if found.len() >= MAX_PIECES {
            return None;
        }
        let (line, next) = longest(runs, at, top)?;
        found.push(line);
        at = next;
    }
    Some(found)
}

/// The line from run `at` on that reaches farthest, and the run that it ends in: doubling, then bisection.
fn longest(runs: &[Run], at: usize, top: i32) -> Option<(Line, usize)> {
    let whole = runs.len() - 1;
    let mut best = None;
    let mut good = at;
    let mut bad = whole + 1;
    let mut by = 1;
    while good < bad - 1 {
        let end = if bad > whole { (at + by).min(whole) } else { (good + bad) / 2 };
        match line(runs, at, end, top) {
            Some(found) => {
                (good, best) = (end, Some((found, end)));
                by *= 2;
                if end == whole {
                    break;
                }
            }
            None => bad = end,
        }
    }
    best
}

/// Runs `at..=end`, with what lies outside held at the ends, as `weight * (0..=top)`.
fn held(runs: &[Run], at: usize, end: usize, code: impl Fn(i32) -> i32) -> Vec<Run> {
    let mut part = runs[at..=end].to_vec();
    part[0].first = runs[0].first;
    part[end - at].last = runs[runs.len() - 1].last;
    part.iter_mut().for_each(|r| r.code = code(r.code));
    part
}

/// A line through the steps between runs `at` and `end`.
fn line(runs: &[Run], at: usize, end: usize, top: i32) -> Option<Line> {
    let steps = runs[end].code - runs[at].code;
    let part = held(runs, at, end, |c| c - runs[at].code);
    // A last line that must stay where it is has no free side.
    let most = if end + 1 == runs.len() { top } else { steps };
    // About as steep as the whole: where all codes have been passed it has not risen much further, nor much less.
    let whole = runs[runs.len() - 1];
    let rest = whole.code - runs[at].code;
    let gate = (whole.first, steps + (rest - steps) / 2, (rest + 4).min(top / 2));
    let params = solve_through(&part, 0, (0, most), Rounding::Floor, Some(gate)).ok()?;
    Some(Line { params, steps })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::requant::runs;

    /// The pieces' sum, clamped, is the rule at every value.
    fn check(
        rule: impl Fn(i64) -> i32 + std::marker::Copy,
        (lo, hi): (i64, i64),
        clamp: (i32, i32),
        most: usize,
    ) {
        let runs = runs(rule, lo, hi, false).unwrap();
        let (all, top) = cut_all(std::slice::from_ref(&runs), clamp).unwrap();
        assert!(all[0].len() <= most, "{} pieces", all[0].len());
        let output = Output { zero_point: 0, clamp: (0, top), rounding: Rounding::Floor };
        for v in lo..=hi {
            let sum = all[0].iter().map(|p| p.weight * output.code(v, &p.params)).sum::<i32>();
            assert_eq!((runs[0].code + sum).clamp(clamp.0, clamp.1), rule(v), "at {v}");
        }
    }

    #[test]
    fn kinks_turns_and_jumps_are_exact() {
        let kink = |v: i64| if v < 0 { v.div_euclid(6) } else { v / 3 };
        check(|v| kink(v) as i32, (-300, 300), (-100, 200), 3);
        check(|v| kink(v).clamp(-8, 7) as i32, (-900, 900), (-8, 7), 3);
        check(|v| -kink(v).clamp(-8, 7) as i32, (-900, 900), (-7, 8), 3);
        check(|v| (v.abs() / 5).min(20) as i32, (-300, 300), (0, 20), 40);
        check(
            |v| [0, 3, 7, 8, 100][[-50, -3, 0, 9].iter().filter(|&&t| v >= t).count()],
            (-90, 90),
            (0, 100),
            4,
        );
        check(|v| ((v as f64 / 9.0).sin() * 50.0).round() as i32, (-60, 60), (-50, 50), 120);
        check(|_| 5, (-60, 60), (0, 7), 0);
    }

    #[test]
    fn ties_to_even_within_the_precision_of_a_float_take_two_pieces() {
        let even = |v: i64| {
            let p = v as f64 / 40.0;
            let near = (p - p.floor() - 0.5).abs() < 0.03;
            (if near { 2.0 * (p / 2.0).round() } else { p.round() }).clamp(-100.0, 80.0) as i32
        };
        check(even, (-9000, 9000), (-100, 80), 2);
        check(even, (-3000, 2000), (-100, 80), 2);
        check(even, (-2000, 12000), (-100, 80), 2);
    }

    #[test]
    fn lines_that_rise_far_behind_the_last_step_stay_lines() {
        let late = |v: i64| if v < 767 { (v.div_euclid(3)).clamp(0, 254) as i32 } else { 255 };
        check(late, (-1000, 1000), (0, 255), 3);
        check(late, (-1000, 2000), (0, 255), 3);
        check(late, (-1000, 4000), (0, 255), 3);
    }

    #[test]
    fn thresholds_at_will_are_exact() {
        let mut state = 12345u64;
        for round in 0..40 {
            let mut next = |n: u64| {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                (state >> 33) % n
            };
            let mut thresholds = (0..15).map(|_| next(2000) as i64 - 1000).collect::<Vec<_>>();
            if round % 2 == 0 {
                thresholds.sort_unstable();
                thresholds.dedup();
            }
            check(
                |v| thresholds.iter().filter(|&&t| v >= t).count() as i32,
                (-1200, 1200),
                (0, thresholds.len() as i32),
                30,
            );
        }
    }
}
