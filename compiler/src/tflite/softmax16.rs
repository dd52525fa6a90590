// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Softmax of 16-bit codes as TFLite's reference kernel computes it: two tables of 513 entries, interpolated.

use super::fixed::Multiplier;
use serde::{Deserialize, Serialize};

/// Steps of a table.
const STEPS: usize = 512;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Softmax16 {
    /// From differences of codes to units of 10 / 65535.
    multiplier: Multiplier,
    /// e^x over -10..0, in units of 2^-15.
    exponential: Vec<i16>,
    /// 1 / (1 + x) over 0..1, in units of 2^-15.
    inverse: Vec<i16>,
}

impl Softmax16 {
    /// For inputs of `scale`; results have scale 2^-15 and zero point 0.
    pub fn new(scale: f32, beta: f32) -> Result<Softmax16, String> {
        let product = (scale * beta) as f64;
        let multiplier = Multiplier::new(product / (10.0 / 65535.0))?;
        if multiplier.mantissa <= 0 {
            return Err("its input scale times beta is not positive".into());
        }
        let exponential = table(|x| (x as f64).exp() as f32, -10.0, 0.0);
        Ok(Softmax16 { multiplier, exponential, inverse: table(|x| 1.0 / (1.0 + x), 0.0, 1.0) })
    }

    fn share(&self, difference: i32) -> i64 {
        let scaled = self.multiplier.apply(difference).saturating_add(32767);
        interpolated(&self.exponential, scaled.clamp(-32768, 32767)) as i64
    }

    /// Codes of the softmax of one row of codes.
    pub fn row(&self, codes: &[i32]) -> Vec<i32> {
        let most = codes.iter().copied().max().unwrap_or(0);
        let shares = codes.iter().map(|&c| self.share(c - most)).collect::<Vec<_>>();
        let sum = (shares.iter().sum::<i64>() as i32).max(1);
        let headroom = sum.leading_zeros().clamp(1, 30);
        let shifted = (((sum as i64) << (headroom - 1)) + (1 << 13)) >> 14;
        let inverse =
            interpolated(&self.inverse, (shifted - (1 << 15) - (1 << 16)).clamp(-32768, 32767) as i32);
        let power = 31 - headroom;
        let code = |s: &i64| ((s * inverse as i64 + (1 << (power - 1))) >> power).clamp(0, 32767) as i32;
        shares.iter().map(code).collect()
    }
}

/// Entries that halve the error of the line between them in the middle; units of 2^-15.
fn table(f: impl Fn(f32) -> f32, lo: f32, hi: f32) -> Vec<i16> {
    let step = (hi - lo) / STEPS as f32;
    let units = |x: f32| f(x) * 32768.0;
    let entry = |i: usize| {
        let at = lo + i as f32 * step;
        let own = units(at).round();
        let middle = ((units(lo + (i + 1) as f32 * step) + own) / 2.0).round();
        let error = middle - units(at + step / 2.0).round();
        own - (error / 2.0).round()
    };
    let all = (0..STEPS).map(entry).chain([units(hi).round()]);
    all.map(|v| v.clamp(-32768.0, 32767.0) as i16).collect()
}

/// The table at a value of 16 bits: 9 bits choose the entry, 7 go between two.
fn interpolated(table: &[i16], value: i32) -> i32 {
    let at = (256 + (value >> 7)) as usize;
    let (base, next) = (table[at] as i32, table[at + 1] as i32);
    base + (((next - base) * (value & 127) + 64) >> 7)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up_to_one_and_follow_the_real_ones() {
        let s = Softmax16::new(0.001, 1.0).unwrap();
        let codes = [-32768, 0, 1000, 2000, 2100, 1900];
        let sum = codes.iter().map(|&c| ((c - 2100) as f64 * 0.001).exp()).sum::<f64>();
        for (&c, got) in codes.iter().zip(s.row(&codes)) {
            let real = ((c - 2100) as f64 * 0.001).exp() / sum * 32768.0;
            assert!((got as f64 - real).abs() < 8.0, "{c}: {got} for {real}");
        }
        assert_eq!(s.row(&[5]), [32767]);
        assert_eq!(s.row(&[]), Vec::<i32>::new());
    }
}
