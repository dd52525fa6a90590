// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Counts values that differ and names the first.

use crate::data;
use brickwork_compiler::npz::Array;
use brickwork_compiler::program::TensorInfo;
use serde::Serialize;

/// Mismatches that are named; the others are counted.
const NAMED: usize = 10;

/// One value that differs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Mismatch {
    pub input: usize,
    /// Tensor or model output.
    pub layer: String,
    /// `[y, x, channel]` in a tensor, the index in a model output.
    pub at: Vec<usize>,
    pub expected: String,
    pub got: String,
    /// What was compared with what.
    pub against: &'static str,
}

/// Mismatches of a job.
#[derive(Default)]
pub struct Tally {
    pub count: u64,
    pub first: Vec<Mismatch>,
}

impl Tally {
    fn add(&mut self, mismatch: impl FnOnce() -> Mismatch) {
        self.count += 1;
        if self.first.len() < NAMED {
            self.first.push(mismatch());
        }
    }

    /// Compares the codes of a tensor with those of `against`; `true` if all are equal.
    pub fn codes(
        &mut self,
        input: usize,
        tensor: &TensorInfo,
        against: &'static str,
        [expected, got]: [&[i32]; 2],
    ) -> bool {
        let before = self.count;
        let [_, w, c] = tensor.shape;
        let layer = &tensor.name;
        for (i, (e, g)) in expected.iter().zip(got).enumerate().filter(|(_, (e, g))| e != g) {
            self.add(|| Mismatch {
                input,
                layer: layer.clone(),
                at: vec![i / c / w, i / c % w, i % c],
                expected: e.to_string(),
                got: g.to_string(),
                against,
            });
        }
        if expected.len() != got.len() {
            self.add(|| Mismatch {
                input,
                layer: layer.clone(),
                at: vec![],
                expected: format!("{} values", expected.len()),
                got: format!("{} values", got.len()),
                against,
            });
        }
        before == self.count
    }

    /// Compares a model output with its expected values. `None`: they have other shapes.
    pub fn output(&mut self, input: usize, name: &str, expected: &Array, got: &Array) -> Option<()> {
        for (index, expected, got) in data::differences(expected, got)? {
            self.add(|| Mismatch {
                input,
                layer: format!("output `{name}` of the golden model"),
                at: vec![index],
                expected,
                got,
                against: "the expected values",
            });
        }
        Some(())
    }
}
