// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Networks that find objects: what the table `[detector]` of the file beside the model says of their results, and the boxes.
//!
//! Boxes are computed in float32, as published decoders do.

mod cells;
mod priors;

use crate::classes::Class;
use crate::data::numbers;
use crate::Failure;
use brickwork_compiler::npz::Array;
use serde::{Deserialize, Serialize};

pub use cells::Cells;
pub use priors::Priors;

/// Boxes of one input, at most.
const MOST_BOXES: usize = 1000;

/// How results become boxes.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum Detector {
    /// Scores and offsets from prior boxes, as single-shot detectors have them.
    Priors(Priors),
    /// One object: the best cell of a grid, the mean of its anchors' boxes.
    Cells(Cells),
}

/// A box found, in pixels of the network's input or of the picture.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Found {
    #[serde(flatten)]
    pub class: Class,
    /// Left, top, right, bottom.
    pub corners: [f32; 4],
}

/// Size of the network's input picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    pub width: usize,
    pub height: usize,
}

impl Detector {
    /// The boxes of one input's results, the best first, in pixels of the network's input.
    ///
    /// Errors: a result is missing or has another shape than the table says.
    pub fn boxes(
        &self,
        results: &[(String, Array)],
        size: Size,
        names: &[String],
    ) -> Result<Vec<Found>, Failure> {
        let found = match self {
            Detector::Priors(p) => p.boxes(results, size),
            Detector::Cells(c) => c.boxes(results),
        };
        let mut found = found.map_err(|e| Failure::Other(format!("[detector]: {e}")))?;
        found.truncate(MOST_BOXES);
        for f in &mut found {
            f.class.name = names.get(f.class.class).cloned();
        }
        Ok(found)
    }
}

impl Found {
    fn new(class: usize, score: f32, corners: [f32; 4]) -> Found {
        Found { class: Class { class, name: None, score: score as f64 }, corners }
    }

    /// The box in a picture: `scale` pixels of it for one of the network's, from `origin` on.
    pub fn moved(mut self, [sx, sy]: [f32; 2], [ox, oy]: [f32; 2]) -> Found {
        let [left, top, right, bottom] = self.corners;
        self.corners = [left * sx + ox, top * sy + oy, right * sx + ox, bottom * sy + oy];
        self
    }

    fn area(&self) -> f32 {
        let [left, top, right, bottom] = self.corners;
        (right - left).max(0.0) * (bottom - top).max(0.0)
    }

    /// Area of the intersection over that of the union.
    fn overlap(&self, other: &Found) -> f32 {
        let (a, b) = (self.corners, other.corners);
        let both = [a[0].max(b[0]), a[1].max(b[1]), a[2].min(b[2]), a[3].min(b[3])];
        let common = (both[2] - both[0]).max(0.0) * (both[3] - both[1]).max(0.0);
        common / (self.area() + other.area() - common).max(f32::MIN_POSITIVE)
    }
}

/// The best boxes of each class, none of which overlaps a better one of its class by more than `most`.
fn suppressed(mut all: Vec<Found>, most: f32) -> Vec<Found> {
    all.sort_by(|a, b| b.class.score.total_cmp(&a.class.score));
    let mut kept: Vec<Found> = Vec::new();
    for found in all {
        let covered = |k: &Found| k.class.class == found.class.class && k.overlap(&found) > most;
        if kept.len() < MOST_BOXES && !kept.iter().any(covered) {
            kept.push(found);
        }
    }
    kept
}

/// The values of the result of this name, or of the only one.
fn values(results: &[(String, Array)], name: Option<&str>) -> Result<(Vec<usize>, Vec<f32>), String> {
    let named = match (name, results) {
        (Some(name), _) => results.iter().find(|(n, _)| n == name),
        (None, [only]) => Some(only),
        (None, _) => None,
    };
    let (_, array) = named.ok_or_else(|| {
        let there: Vec<&str> = results.iter().map(|(n, _)| n.as_str()).collect();
        format!("no result {:?}; the model has {there:?}", name.unwrap_or("(output)"))
    })?;
    let values = numbers(&array.data).into_iter().map(|v| v as f32).collect();
    Ok((array.shape.clone(), values))
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worse_box_of_the_same_class_gives_way() {
        let found = |class, score, left: f32| Found::new(class, score, [left, 0.0, left + 10.0, 10.0]);
        let all = vec![found(1, 0.6, 1.0), found(1, 0.9, 0.0), found(2, 0.5, 0.0), found(1, 0.7, 8.0)];
        let kept: Vec<(usize, f64)> =
            suppressed(all, 0.3).iter().map(|f| (f.class.class, f.class.score)).collect();
        assert_eq!(kept, [(1, 0.9f32 as f64), (1, 0.7f32 as f64), (2, 0.5)]);
    }

    #[test]
    fn the_table_names_what_is_wrong() {
        let parsed: Result<Detector, _> =
            toml::from_str("kind = \"cells\"\nanchors = 6\nstride = 16\nsizes = 2");
        assert!(parsed.expect_err("no such field").to_string().contains("sizes"));
    }
}
