// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Boxes from scores and offsets of prior boxes.

use super::{suppressed, values, Found, Size};
use brickwork_compiler::npz::Array;
use serde::Deserialize;

/// Prior boxes stand row by row, column by column, size by size, map after map; a map has one place for each `stride` pixels, rounded
/// up. Centre = prior centre + variance 0 * offset * prior size; size = prior size * exp(variance 1 * offset).
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Priors {
    /// Name of the result `[1, priors, classes]`.
    pub scores: String,
    /// Name of the result `[1, priors, 4]`: centre x, centre y, width, height.
    pub boxes: String,
    /// Pixels from one place of a map to the next.
    pub strides: Vec<usize>,
    /// Sides of the square priors of each map, in pixels.
    pub sizes: Vec<Vec<f32>>,
    #[serde(default = "variances")]
    pub variances: [f32; 2],
    /// Class that means nothing.
    pub background: Option<usize>,
    /// Least score.
    #[serde(default = "threshold")]
    pub threshold: f32,
    /// Most overlap of two boxes of one class.
    #[serde(default = "overlap")]
    pub overlap: f32,
}

fn variances() -> [f32; 2] {
    [0.1, 0.2]
}

fn threshold() -> f32 {
    0.5
}

fn overlap() -> f32 {
    0.3
}

impl Priors {
    /// Centre and side of every prior.
    fn priors(&self, size: Size) -> Result<Vec<[f32; 3]>, String> {
        if self.strides.len() != self.sizes.len() || self.strides.contains(&0) {
            let (n, m) = (self.strides.len(), self.sizes.len());
            return Err(format!(
                "strides has {n} entries, sizes {m}; each map needs a positive stride and its sizes"
            ));
        }
        let mut all = Vec::new();
        for (&stride, sizes) in self.strides.iter().zip(&self.sizes) {
            for y in 0..size.height.div_ceil(stride) {
                for x in 0..size.width.div_ceil(stride) {
                    let centre = [x, y].map(|v| (v as f32 + 0.5) * stride as f32);
                    all.extend(sizes.iter().map(|s| [centre[0], centre[1], *s]));
                }
            }
        }
        Ok(all)
    }

    pub fn boxes(&self, results: &[(String, Array)], size: Size) -> Result<Vec<Found>, String> {
        let priors = self.priors(size)?;
        let (shape, scores) = values(results, Some(&self.scores))?;
        let (_, offsets) = values(results, Some(&self.boxes))?;
        let n = priors.len();
        let classes = scores.len() / n.max(1);
        if n == 0 || classes * n != scores.len() || offsets.len() != 4 * n {
            return Err(format!(
                "strides and sizes make {n} priors of a picture of {} x {}; the scores have shape {shape:?}, the boxes {} values",
                size.width,
                size.height,
                offsets.len()
            ));
        }
        let mut found = Vec::new();
        for (i, [cx, cy, side]) in priors.into_iter().enumerate() {
            let o = &offsets[4 * i..][..4];
            let centre = [cx + self.variances[0] * o[0] * side, cy + self.variances[0] * o[1] * side];
            let half = [2, 3].map(|k| side * (self.variances[1] * o[k]).exp() / 2.0);
            let corners =
                [centre[0] - half[0], centre[1] - half[1], centre[0] + half[0], centre[1] + half[1]];
            for c in (0..classes).filter(|c| Some(*c) != self.background) {
                let score = scores[i * classes + c];
                if score > self.threshold {
                    found.push(Found::new(c, score, corners));
                }
            }
        }
        Ok(suppressed(found, self.overlap))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_move_and_stretch_their_prior() {
        let rule: Priors = toml::from_str(
            "scores = \"s\"\nboxes = \"b\"\nstrides = [8, 16]\nsizes = [[10], [20, 40]]\nbackground = 0\nthreshold = 0.6",
        )
        .expect("a table");
        // 3 x 2 places of one size, 2 x 1 places of two
        let size = Size { width: 24, height: 16 };
        let n = 6 + 4;
        let (mut scores, mut offsets) = (vec![0.5f32; 2 * n], vec![0f32; 4 * n]);
        scores[2 * 9 + 1] = 0.75; // second place of the second map, size 40
        scores[2 * 9] = 0.9; // background
        offsets[4 * 9..].copy_from_slice(&[1.0, -0.5, 0.0, 5.0 * 2f32.ln()]);
        let array = |shape: Vec<usize>, v| Array::f32(shape, v).expect("matching shape");
        let results = [
            ("s".to_string(), array(vec![1, n, 2], scores)),
            ("b".to_string(), array(vec![1, n, 4], offsets)),
        ];
        let found = rule.boxes(&results, size).expect("fits");
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].class.class, 1);
        // centre 24, 8, moved by 4 and -2; height doubled
        let expected = [28.0 - 20.0, 6.0 - 40.0, 28.0 + 20.0, 6.0 + 40.0];
        assert!(found[0].corners.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-3), "{found:?}");
        let other = Size { width: 25, height: 16 };
        assert!(rule.boxes(&results, other).expect_err("other maps").contains("priors"));
    }
}
