// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The one box of the best cell of a grid.

use super::{sigmoid, values, Found};
use brickwork_compiler::npz::Array;
use serde::Deserialize;

/// The result is `[1, anchors * values, h, w]`; an anchor's values begin with x, y, width, height, confidence. The cell is the one with
/// the largest sum of its anchors' confidences. Centre = (cell + mean of sigmoid(x), sigmoid(y)) * stride; size = mean of
/// exp(width), exp(height) * size.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cells {
    /// Name of the result; where it is missing, the only one.
    pub output: Option<String>,
    pub anchors: usize,
    /// Pixels from one cell to the next.
    pub stride: f32,
    /// Pixels that exp(0) stands for.
    pub size: f32,
    /// Results are divided by this; then `bias`, one for each channel, is added.
    #[serde(default = "one")]
    pub scale: f32,
    #[serde(default)]
    pub bias: Vec<f32>,
}

fn one() -> f32 {
    1.0
}

impl Cells {
    pub fn boxes(&self, results: &[(String, Array)]) -> Result<Vec<Found>, String> {
        let (shape, raw) = values(results, self.output.as_deref())?;
        let &[1, channels, h, w] = &shape[..] else {
            return Err(format!("the result has shape {shape:?}, must have [1, channels, height, width]"));
        };
        let each = channels.checked_div(self.anchors).unwrap_or(0);
        if each < 5 || each * self.anchors != channels || h * w == 0 {
            return Err(format!("{channels} channels are not {} anchors of 5 values and more", self.anchors));
        }
        if !self.bias.is_empty() && self.bias.len() != channels {
            return Err(format!("bias has {} values for {channels} channels", self.bias.len()));
        }
        let value = |anchor: usize, v: usize, cell: usize| {
            let c = anchor * each + v;
            raw[c * h * w + cell] / self.scale + self.bias.get(c).copied().unwrap_or(0.0)
        };
        let confidence = |cell: usize| (0..self.anchors).map(|a| value(a, 4, cell)).sum::<f32>();
        let best = (0..h * w).rev().max_by(|&a, &b| confidence(a).total_cmp(&confidence(b))).unwrap_or(0);
        let n = self.anchors as f32;
        let mean =
            |v: usize, f: fn(f32) -> f32| (0..self.anchors).map(|a| f(value(a, v, best))).sum::<f32>() / n;
        let cx = (mean(0, sigmoid) + (best % w) as f32) * self.stride;
        let cy = (mean(1, sigmoid) + (best / w) as f32) * self.stride;
        let half = [mean(2, f32::exp), mean(3, f32::exp)].map(|v| v * self.size / 2.0);
        let corners = [cx - half[0], cy - half[1], cx + half[0], cy + half[1]];
        Ok(vec![Found::new(0, sigmoid(confidence(best) / n), corners)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_confident_cell_gives_the_box() {
        let rule: Cells = toml::from_str("anchors = 2\nstride = 16\nsize = 20\nscale = 2").expect("a table");
        let (h, w) = (2, 3);
        let mut raw = vec![0f32; 12 * h * w];
        let mut set = |channel: usize, cell: usize, v: f32| raw[channel * h * w + cell] = v;
        set(4, 4, 3.0);
        set(10, 4, 5.0); // 8 in cell (1, 1)
        set(4, 2, 7.0); // 7 in cell (0, 2)
        set(2, 4, 2.0 * 3f32.ln()); // width of one anchor: exp(ln 3)
        let result = [("y".to_string(), Array::f32(vec![1, 12, h, w], raw).expect("matching shape"))];
        let found = rule.boxes(&result).expect("fits");
        // centre (1.5, 1.5) * 16; width 20 * (3 + 1) / 2, height 20
        let expected = [24.0 - 20.0, 24.0 - 10.0, 24.0 + 20.0, 24.0 + 10.0];
        assert!(found[0].corners.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-3), "{found:?}");
        assert!((found[0].class.score - 1.0 / (1.0 + (-2.0f64).exp())).abs() < 1e-6);
    }
}
