// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Sums of two codes whose scales have nothing to do with each other: a line in both, proven for all pairs.

use super::emit::CodeSpec;
use super::value::{FloatValue, IntegerView, LinearSum};
use crate::host::{FloatChain, FloatStep};
use crate::ir::{ChannelParams, Rounding};
use hdl_gen::numfmt::round_scaled;

/// Fraction bits of the operands of a sum, at most; they have 32 bits in all.
const FRACTION: i32 = 20;

/// The codes of all pairs, and the real line that they round.
pub struct PairSum {
    pub first: [i64; 2],
    pub count: [usize; 2],
    /// `[a][b]`
    pub codes: Vec<i32>,
    /// Slopes and offset, in codes: `slope[0] * a + slope[1] * b + offset`.
    pub line: [f64; 3],
    pub clamp: (i32, i32),
    /// Fraction bits of the operands.
    pub fraction: i32,
}

#[derive(Clone, Copy)]
pub struct SumParams {
    pub a: ChannelParams,
    pub b: ChannelParams,
    pub sum: ChannelParams,
}

/// A pair whose code is not the reference's.
pub struct PairDifference {
    pub a: i64,
    pub b: i64,
    pub expected: i32,
    pub got: i32,
}

impl PairSum {
    pub fn new(
        (a, ra): (&FloatValue, (i64, i64)),
        (b, rb): (&FloatValue, (i64, i64)),
        chain: &FloatChain,
        spec: CodeSpec,
        rule: Option<LinearSum>,
    ) -> Result<PairSum, String> {
        let reals = |v: &FloatValue, (lo, hi): (i64, i64)| {
            (lo..=hi).map(|x| v.chain.eval_int(x, 0)).collect::<Vec<_>>()
        };
        let (xs, ys) = (reals(a, ra), reals(b, rb));
        let mut codes = Vec::with_capacity(xs.len() * ys.len());
        for x in &xs {
            for y in &ys {
                let real = chain.eval(x + y, 0);
                if real.is_nan() {
                    return Err("the float arithmetic overflows".into());
                }
                codes.push(match rule {
                    Some(rule) => rule.code([*x, *y]).clamp(spec.clamp.0, spec.clamp.1),
                    None => spec.map.code(real),
                });
            }
        }
        let (gain, shift) = affine(&chain.steps)?;
        let view = |v: &FloatValue, r| {
            IntegerView::of(&v.chain, 0, r).ok_or("its input is no multiple of one scale")
        };
        let (va, vb) = (view(a, ra)?, view(b, rb)?);
        let slope = |v: &IntegerView| v.scale as f64 * v.factor as f64 * gain;
        let part = |v: &IntegerView| v.scale as f64 * v.offset as f64 * gain;
        let line = [slope(&va), slope(&vb), part(&va) + part(&vb) + shift];
        let lo = codes.iter().min().copied().unwrap_or(0).max(spec.clamp.0);
        let hi = codes.iter().max().copied().unwrap_or(0).min(spec.clamp.1);
        let size = |slope: f64, r: (i64, i64)| (slope * r.0.abs().max(r.1.abs()) as f64).abs();
        let largest = size(line[0], ra).max(size(line[1], rb)).max(line[2].abs()).max(1.0);
        let steepest = line[0].abs().max(line[1].abs());
        // the operands' multipliers, slope * 2^(fraction + 11), have 31 bits
        let room = (20.0 - steepest.log2()).ceil().clamp(-100.0, 100.0) as i32 - 1;
        let fraction = (29 - largest.log2().ceil().min(28.0) as i32).min(room).min(FRACTION);
        if fraction < 1 {
            return Err("its output scale is too fine for its inputs' scales".into());
        }
        Ok(PairSum {
            fraction,
            first: [ra.0, rb.0],
            count: [xs.len(), ys.len()],
            codes,
            line,
            clamp: (lo, hi),
        })
    }

    /// The best parameters found, and where they differ.
    pub fn search(&self) -> (SumParams, Vec<PairDifference>) {
        let mut line = self.line;
        let mut best = parameters(line, self.fraction);
        let mut differing = self.differences(&best);
        for round in 0..200 {
            if differing.is_empty() {
                break;
            }
            // Move the line by the least that sets each differing pair right.
            let margin = 2f64.powi(-self.fraction) * (1.0 + (round % 7) as f64);
            for d in &differing {
                let (a, b) = (d.a as f64, d.b as f64);
                let real = line[0] * a + line[1] * b + line[2];
                let wanted = if d.expected > d.got {
                    d.expected as f64 - 0.5 + margin
                } else {
                    d.expected as f64 + 0.5 - margin
                };
                if (d.expected > d.got) == (wanted > real) {
                    let step = (wanted - real) / (a * a + b * b + 1.0);
                    line = [line[0] + step * a, line[1] + step * b, line[2] + step];
                }
            }
            let params = parameters(line, self.fraction);
            let now = self.differences(&params);
            if now.len() < differing.len() {
                best = params;
            }
            let better = now.len() < differing.len();
            if better || round % 20 < 19 {
                differing = now;
            }
        }
        let differing = self.differences(&best);
        (best, differing)
    }

    fn differences(&self, p: &SumParams) -> Vec<PairDifference> {
        let scaled = |i: usize, p: &ChannelParams| {
            let value = |k: usize| {
                let shifted = (self.first[i] + k as i64) << 20;
                round_scaled(shifted + p.bias as i64, p, Rounding::HalfEven)
            };
            (0..self.count[i]).map(value).collect::<Vec<_>>()
        };
        let (xs, ys) = (scaled(0, &p.a), scaled(1, &p.b));
        let mut found = Vec::new();
        for (i, x) in xs.iter().enumerate() {
            for (j, y) in ys.iter().enumerate() {
                let expected = self.codes[i * ys.len() + j];
                let sum = round_scaled(x + y + p.sum.bias as i64, &p.sum, Rounding::HalfEven);
                let got = sum.clamp(self.clamp.0 as i64, self.clamp.1 as i64) as i32;
                if got != expected {
                    let (a, b) = (self.first[0] + i as i64, self.first[1] + j as i64);
                    found.push(PairDifference { a, b, expected, got });
                }
            }
        }
        found
    }
}

/// Hardware parameters of a line in two codes; the fraction bits leave room for the slopes.
fn parameters(line: [f64; 3], fraction: i32) -> SumParams {
    // (code << 20) * multiplier / 2^(31 + shift) = code * slope * 2^fraction
    let operand = |slope: f64| {
        let target = slope * 2f64.powi(fraction + 11);
        let mut shift = 0;
        while shift < 40 && (target * 2f64.powi(shift + 1)).abs() < i32::MAX as f64 {
            shift += 1;
        }
        let multiplier = (target * 2f64.powi(shift)).round().clamp(-(i32::MAX as f64), i32::MAX as f64);
        ChannelParams { bias: 0, multiplier: multiplier as i32, addend: 0, shift: shift as u8 }
    };
    let bias = (line[2] * 2f64.powi(fraction)).round();
    let bias = bias.clamp(i32::MIN as f64, i32::MAX as f64) as i32;
    // (sum + bias) * 2^30 / 2^(31 + fraction - 1)
    let sum = ChannelParams { bias, multiplier: 1 << 30, addend: 0, shift: fraction as u8 - 1 };
    SumParams { a: operand(line[0]), b: operand(line[1]), sum }
}

/// Gain and offset of float steps, minima, maxima and roundings left aside.
fn affine(steps: &[FloatStep]) -> Result<(f64, f64), String> {
    let (mut gain, mut shift) = (1.0, 0.0);
    for step in steps {
        let c = step.constants().and_then(|c| c.first().copied()).unwrap_or(0.0) as f64;
        match step {
            FloatStep::Add(_) => shift += c,
            FloatStep::Sub(_) => shift -= c,
            FloatStep::SubFrom(_) => (gain, shift) = (-gain, c - shift),
            FloatStep::Mul(_) => (gain, shift) = (gain * c, shift * c),
            FloatStep::Div(_) => (gain, shift) = (gain / c, shift / c),
            FloatStep::Min(_) | FloatStep::Max(_) | FloatStep::Round(_) => {}
            _ => return Err("a curved function behind a sum of different scales is not supported".into()),
        }
    }
    Ok((gain, shift))
}
