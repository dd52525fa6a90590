// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What makes a configuration better than another.

use super::target::{Cost, Target};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// What is to be as good as possible.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Objective {
    /// Frames per second: the geometric mean over the networks
    Fps,
    /// The longest inference among the networks
    Latency,
    /// Frames per second (geometric mean) per LUT
    FpsPerLut,
}

/// Seconds of an inference of each network.
pub fn seconds(target: &Target, cycles: &[u64], bytes: &[u64]) -> Vec<f64> {
    let clock = target.given.clock_mhz as f64 * 1e6;
    let memory = |bytes: u64| target.bandwidth.map_or(0.0, |b| bytes as f64 / b as f64);
    cycles.iter().zip(bytes).map(|(c, b)| (*c as f64 / clock).max(memory(*b))).collect()
}

/// Geometric mean.
pub fn mean(values: &[f64]) -> f64 {
    let product: f64 = values.iter().product();
    product.powf(1.0 / values.len().max(1) as f64)
}

/// Geometric mean of cycles: the axis of the fronts.
pub fn mean_cycles(cycles: &[u64]) -> f64 {
    mean(&cycles.iter().map(|c| *c as f64).collect::<Vec<_>>())
}

impl Objective {
    /// The smaller the better.
    pub fn price(self, seconds: &[f64], cost: &Cost) -> f64 {
        match self {
            Objective::Fps => mean(seconds),
            Objective::Latency => seconds.iter().copied().fold(0.0, f64::max),
            Objective::FpsPerLut => mean(seconds) * cost.lut as f64,
        }
    }

    /// The value as people say it.
    pub fn say(self, seconds: &[f64], cost: &Cost) -> String {
        match self {
            Objective::Fps => format!("{:.1} frames/s (geometric mean)", 1.0 / mean(seconds)),
            Objective::Latency => format!("{:.4} ms (longest)", 1e3 * self.price(seconds, cost)),
            Objective::FpsPerLut => {
                format!("{:.3} frames/s per 1000 LUT", 1e3 / self.price(seconds, cost))
            }
        }
    }
}
