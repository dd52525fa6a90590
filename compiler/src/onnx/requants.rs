// SPDX-License-Identifier: Apache-2.0 OR MIT
//! From chains to requantizations: the runs of codes over all integers that can occur, and parameters that give them exactly.

use super::emit::CodeSpec;
use super::value::{ConvTemplate, FloatValue};
use crate::host::{CodeMap, FloatChain};
use crate::host::{FloatRounding, FloatStep};
use crate::ir::*;
use crate::requant::{
    acc_bounds, identity, is_exact, runs, solve, solve_all, Output, RequantError, Run, EXHAUSTIVE_LIMIT,
};
use hdl_gen::numfmt::float32_multiplier;

/// Largest power of two by which weights are enlarged where codes change by more than 1 per accumulator unit.
const MAX_ENLARGE: u32 = 8;

pub fn with_params(channels: Vec<ChannelParams>, rounding: Rounding, spec: CodeSpec) -> Requant {
    Requant { channels, rounding, zero_point: 0, clamp: spec.clamp, table: None, raw: false }
}

/// One interval for all channels of a sum, whose machine has one requantization for all; `None` where constants differ.
pub fn uniform(chain: &FloatChain, bounds: &[(i64, i64)]) -> Option<(i64, i64)> {
    if chain.width() != 1 {
        return None;
    }
    let lo = bounds.iter().map(|b| b.0).min().unwrap_or(0);
    Some((lo, bounds.iter().map(|b| b.1).max().unwrap_or(0)))
}

/// The code that a real 0 gets by the steps behind a border.
pub fn outer_zero(inner: &FloatValue, outer: &FloatChain, spec: CodeSpec) -> Result<i64, String> {
    if outer.width() != 1 {
        return Err("a border before different constants per channel is not supported".into());
    }
    let code = match inner.int {
        Some(_) => outer.code(0, 0, spec.map),
        None => spec.map.code(outer.eval(0.0, 0)),
    };
    Ok(code as i64)
}

/// The rule's runs of codes over the integers of one channel.
fn channel_runs(
    chain: &FloatChain,
    c: usize,
    (lo, hi): (i64, i64),
    spec: CodeSpec,
) -> Result<Vec<Run>, String> {
    let monotone = chain.direction(c).is_some();
    if !chain.is_integer() {
        let overflows = || Err(format!("channel {c}: the float arithmetic overflows"));
        // Monotone steps: finite at both ends means finite everywhere between, and undefined nowhere.
        if monotone && [lo, hi].iter().any(|&v| !chain.finite(v, c)) {
            return overflows();
        }
        if !monotone && hi - lo < EXHAUSTIVE_LIMIT && (lo..=hi).any(|v| !chain.finite(v, c)) {
            return overflows();
        }
    }
    let rule = |v: i64| chain.code(v, c, spec.map);
    runs(rule, lo, hi, monotone).map_err(|e| format!("channel {c}: {e}"))
}

/// The runs of all channels.
pub fn all_runs(chain: &FloatChain, bounds: &[(i64, i64)], spec: CodeSpec) -> Result<Vec<Vec<Run>>, String> {
    bounds.iter().enumerate().map(|(c, &b)| channel_runs(chain, c, b, spec)).collect()
}

/// The codes that occur: a clamp there may be needed where a minimum or maximum stands before a wider quantizer.
pub fn tightened(spec: CodeSpec, runs: &[Vec<Run>]) -> CodeSpec {
    let codes = || runs.iter().flatten().map(|r| r.code);
    match (codes().min(), codes().max()) {
        (Some(lo), Some(hi)) => CodeSpec { clamp: (lo.max(spec.clamp.0), hi.min(spec.clamp.1)), ..spec },
        _ => spec,
    }
}

fn in_channel((c, e): (usize, RequantError)) -> String {
    format!("channel {c}: {e}")
}

/// Exact parameters, or (inner error) why there are none.
pub type Exact<T> = Result<Result<T, String>, String>;

/// Parameters and, for each channel, the power of two by which its weights are enlarged.
type Enlarged = (Vec<(ChannelParams, u32)>, Requant);

/// A chain that is a float32 product of the integer, rounded with ties to even, plus a zero point: what [`Rounding::Float32`]
/// does. (Minima and maxima behind it are clamps.)
struct Float32Rule<'a> {
    offset: &'a [i64],
    multiplier: &'a [f32],
    zero_point: i32,
}

impl<'a> Float32Rule<'a> {
    fn of(chain: &'a FloatChain, map: CodeMap) -> Option<Float32Rule<'a>> {
        let first = chain.from_int.as_ref().filter(|f| f.factor == 1 && f.scale[..] == [1.0])?;
        let [FloatStep::Mul(multiplier), FloatStep::Round(FloatRounding::HalfEven), rest @ ..] =
            &chain.steps[..]
        else {
            return None;
        };
        let plain = chain.integer.is_empty() && chain.table.is_none() && map.divisor == 1;
        let zero_point = rest.iter().try_fold(map.offset, |sum, step| match step {
            FloatStep::Max(_) | FloatStep::Min(_) => Some(sum),
            FloatStep::Add(c) => (c.len() == 1 && c[0] == c[0] as i32 as f32).then(|| sum + c[0] as i32),
            _ => None,
        });
        let zero_point = zero_point.filter(|_| plain)?;
        Some(Float32Rule { offset: &first.offset, multiplier, zero_point })
    }

    /// Parameters of one channel whose integers count 2^by times. `None`: its scale or its bias is out of range.
    fn params(&self, c: usize, by: u32) -> Option<ChannelParams> {
        let own = |n: usize| if n == 1 { 0 } else { c };
        let scale = self.multiplier[own(self.multiplier.len())] / (1 << by) as f32;
        let (multiplier, shift) = float32_multiplier(scale)?;
        let bias = i32::try_from(self.offset[own(self.offset.len())].checked_shl(by)?).ok()?;
        Some(ChannelParams { bias, multiplier, addend: 0, shift })
    }

    /// For all channels; `None` where one is not exact, because a sum or a code has more bits than float32's mantissa.
    fn solve(&self, runs: &[Vec<Run>], spec: CodeSpec, enlarge: u32) -> Option<Enlarged> {
        let whole =
            Requant { zero_point: self.zero_point, ..with_params(Vec::new(), Rounding::Float32, spec) };
        let output = Output { zero_point: whole.zero_point, clamp: whole.clamp, rounding: whole.rounding };
        let channel = |c: usize| {
            let fits = |by: u32| {
                let p = self.params(c, by)?;
                is_exact(&enlarged(&runs[c], by), &p, output).then_some((p, by))
            };
            (0..=enlarge).find_map(fits)
        };
        let found = (0..runs.len()).map(channel).collect::<Option<Vec<_>>>()?;
        let channels = found.iter().map(|f| f.0).collect();
        Some((found, Requant { channels, ..whole }))
    }
}

/// The runs of accumulators that count 2^by times.
fn enlarged(runs: &[Run], by: u32) -> Vec<Run> {
    runs.iter().map(|r| Run { first: r.first << by, last: r.last << by, ..*r }).collect()
}

pub fn requant(chain: &FloatChain, bounds: &[(i64, i64)], spec: CodeSpec) -> Exact<Requant> {
    let runs = all_runs(chain, bounds, spec)?;
    let spec = tightened(spec, &runs);
    if let Some((_, exact)) = Float32Rule::of(chain, spec.map).and_then(|r| r.solve(&runs, spec, 0)) {
        return Ok(Ok(exact));
    }
    let found = solve_all(runs.len(), |c, rounding| solve(&runs[c], 0, spec.clamp, rounding));
    Ok(found.map(|(params, rounding)| with_params(params, rounding, spec)).map_err(in_channel))
}

/// A table over the codes, where they have at most 8 bits and one rule serves all channels.
pub fn table_requant(
    chain: &FloatChain,
    (lo, hi): (i64, i64),
    ty: IntType,
    spec: CodeSpec,
) -> Option<Requant> {
    if ty.bits > 8 || chain.width() != 1 {
        return None;
    }
    let entry = |i: usize| {
        let code = if ty.signed { i as u8 as i8 as i64 } else { i as i64 };
        i16::try_from(chain.code(code.clamp(lo, hi), 0, spec.map)).ok()
    };
    let table = (0..256).map(entry).collect::<Option<Vec<_>>>()?;
    let whole = CodeSpec { ty, clamp: (lo as i32, hi as i32), map: CodeMap::SAME };
    let plain = with_params(vec![identity(Rounding::Floor)], Rounding::Floor, whole);
    Some(Requant { table: Some(table), ..plain })
}

/// Requantization of a convolution. Channels whose codes change by 1 or more per accumulator unit get weights (and
/// accumulators) times a power of two.
pub fn conv_requant(
    conv: &ConvTemplate,
    chain: &FloatChain,
    bounds: &[(i64, i64)],
    spec: CodeSpec,
) -> Exact<(Weights, Requant)> {
    let runs = all_runs(chain, bounds, spec)?;
    let spec = tightened(spec, &runs);
    let float32 = Float32Rule::of(chain, spec.map).and_then(|r| r.solve(&runs, spec, MAX_ENLARGE));
    let by_search = || {
        let found = solve_all(runs.len(), |c, rounding| solve_enlarging(&runs[c], spec.clamp, rounding));
        let (found, rounding) = found.map_err(in_channel)?;
        let params = found.iter().map(|f| f.0).collect();
        Ok((found, with_params(params, rounding, spec)))
    };
    let (found, requant) = match float32.map_or_else(by_search, Ok) {
        Ok(found) => found,
        Err(e) => return Ok(Err(e)),
    };
    let mut weights = conv.weights.clone();
    let terms = weights.shape[1..].iter().product::<usize>().max(1);
    for (&(_, by), channel) in found.iter().zip(weights.data.chunks_mut(terms)) {
        channel.iter_mut().for_each(|w| *w <<= by);
    }
    if found.iter().any(|f| f.1 > 0) {
        let (lo, hi) = weights.data.iter().fold((0, 0), |(l, h), &w| (l.min(w), h.max(w)));
        weights.ty = IntType::holding(lo as i64, hi as i64);
        weights.bipolar = false;
        if weights.ty.bits > 16 {
            let reason = "codes are so much finer than the accumulator that weights would exceed 16 bits";
            return Ok(Err(reason.into()));
        }
    }
    Ok(Ok((weights, requant)))
}

/// Parameters, and the power of two for weights, so that no code changes by 1 or more per accumulator unit.
fn solve_enlarging(
    runs: &[Run],
    clamp: (i32, i32),
    rounding: Rounding,
) -> Result<(ChannelParams, u32), RequantError> {
    for by in 0..=MAX_ENLARGE {
        match solve(&enlarged(runs, by), 0, clamp, rounding) {
            Err(RequantError::TooSteep) => continue,
            other => return other.map(|p| (p, by)),
        }
    }
    Err(RequantError::TooSteep)
}

/// Bounds of a convolution's accumulators over the codes that its input can hold.
pub fn conv_bounds(weights: &Weights, range: (i64, i64), pad_code: i32) -> Vec<(i64, i64)> {
    let pad = pad_code as i64;
    acc_bounds(weights, (range.0.min(pad), range.1.max(pad)))
}
