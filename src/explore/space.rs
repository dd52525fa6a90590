// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The configurations that there are: arrays to begin with, memories for an array, and steps from one to the next.

use super::point::{
    Point, ACCUMULATORS, BANKS, BRICK_BITS, COLUMNS, LANES, PARAMS, PORTS, REQUANT_LANES, ROWS, TAPS, WEIGHTS,
};
use super::target::{Cost, Target};
use hdl_gen::arch::GROUP_BITS;
use hdl_gen::config::MAX_BRICKS;
use serde::{Deserialize, Serialize};

/// Limits of the search beside the rules of configurations: values of each number, both ends included.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Space {
    pub rows: [u32; 2],
    pub lanes: [u32; 2],
    pub columns: [u32; 2],
    pub brick_bits: [u32; 2],
    pub requant_lanes: [u32; 2],
    pub banks: [u32; 2],
    pub accumulators: [u32; 2],
    pub weights: [u32; 2],
}

/// Depths of a power of two.
const POWERS: [usize; 5] = [BANKS, ACCUMULATORS, WEIGHTS, TAPS, PARAMS];
/// Buffers that are made deeper in turn while there is room, each with the depth that is enough.
const FURNITURE: [(usize, u32); 7] = [
    (BANKS, 2048),
    (WEIGHTS, 1024),
    (BANKS, 4096),
    (WEIGHTS, 2048),
    (ACCUMULATORS, 1024),
    (BANKS, 8192),
    (WEIGHTS, 4096),
];

impl Default for Space {
    /// Everything.
    fn default() -> Self {
        Space {
            rows: [1, 32],
            lanes: [4, 32],
            columns: [16, 1024],
            brick_bits: [1, 2],
            requant_lanes: [4, 8],
            banks: [64, 16384],
            accumulators: [64, 4096],
            weights: [64, 16384],
        }
    }
}

impl Space {
    /// Names and limits.
    fn limits(&mut self) -> [(&'static str, &mut [u32; 2]); 8] {
        [
            ("rows", &mut self.rows),
            ("lanes", &mut self.lanes),
            ("columns", &mut self.columns),
            ("brick_bits", &mut self.brick_bits),
            ("requant_lanes", &mut self.requant_lanes),
            ("banks", &mut self.banks),
            ("accumulators", &mut self.accumulators),
            ("weights", &mut self.weights),
        ]
    }

    /// Narrows one number: `rows=4..12` or `brick_bits=1`. Errors: not that.
    pub fn limit(&mut self, text: &str) -> Result<(), String> {
        let mut limits = self.limits();
        let names = limits.each_ref().map(|l| l.0).join(", ");
        let cure = format!("--limit {text}: write FIELD=LO..HI or FIELD=N; fields are {names}");
        let (name, range) = text.split_once('=').ok_or(&cure)?;
        let (lo, hi) = range.split_once("..").unwrap_or((range, range));
        let (Ok(lo), Ok(hi)) = (lo.parse::<u32>(), hi.parse::<u32>()) else { return Err(cure) };
        let Some((_, limit)) = limits.iter_mut().find(|l| l.0 == name) else { return Err(cure) };
        if lo > hi || hi < limit[0] || lo > limit[1] {
            return Err(format!("--limit {text}: {name} goes from {} to {}", limit[0], limit[1]));
        }
        **limit = [lo.max(limit[0]), hi.min(limit[1])];
        Ok(())
    }

    pub fn contains(&self, point: &Point) -> bool {
        let limits = [
            (ROWS, self.rows),
            (LANES, self.lanes),
            (COLUMNS, self.columns),
            (BRICK_BITS, self.brick_bits),
            (REQUANT_LANES, self.requant_lanes),
            (BANKS, self.banks),
            (ACCUMULATORS, self.accumulators),
            (WEIGHTS, self.weights),
        ];
        limits.iter().all(|(field, [lo, hi])| (*lo..=*hi).contains(&point.get(*field)))
    }

    /// Every array with the memories of the smallest accelerator that keeps the rules.
    pub fn arrays(&self) -> Vec<Point> {
        let mut found = Vec::new();
        for requant_lanes in [4, 8] {
            for brick_bits in [1, 2] {
                for groups in (requant_lanes..=128).step_by(requant_lanes as usize) {
                    for lanes in (requant_lanes..=32).step_by(requant_lanes as usize) {
                        if groups % lanes != 0 && lanes % groups != 0 {
                            continue;
                        }
                        let columns = groups * GROUP_BITS / brick_bits;
                        let bricks = |rows: u32| rows as u64 * lanes as u64 * columns as u64;
                        let all = (self.rows[0]..=self.rows[1]).filter(|r| bricks(*r) <= MAX_BRICKS);
                        let array = |rows| self.array(rows, lanes, columns, brick_bits, requant_lanes);
                        found.extend(all.map(array).filter(|p| self.contains(p)));
                    }
                }
            }
        }
        found
    }

    fn array(&self, rows: u32, lanes: u32, columns: u32, brick_bits: u32, requant_lanes: u32) -> Point {
        let groups = columns * brick_bits / GROUP_BITS;
        let beats = groups * GROUP_BITS / brick_bits / requant_lanes;
        let within = |depth: u32, [lo, hi]: [u32; 2]| depth.clamp(lo, hi);
        Point([
            rows,
            lanes,
            columns,
            brick_bits,
            requant_lanes,
            within(512, self.banks),
            within(512, self.accumulators),
            within((rows * groups).next_power_of_two().max(512), self.weights),
            512,
            beats.next_power_of_two().max(256),
            2,
        ])
    }

    /// The array with memories as large as fit, up to what is enough; `None`: not even the smallest fit.
    pub fn furnish(&self, array: Point, target: &Target) -> Option<(Point, Cost)> {
        let fits = |p: &Point| target.arch(p).and_then(|a| target.cost(&a)).map(|c| (*p, c));
        let mut best = fits(&array)?;
        for (field, enough) in FURNITURE {
            let wanted = best.0.with(field, enough);
            if enough > best.0.get(field) && self.contains(&wanted) {
                best = fits(&wanted).unwrap_or(best);
            }
        }
        Some(best)
    }

    /// Points one step away. Not all keep the rules of configurations.
    pub fn steps(&self, point: &Point) -> Vec<Point> {
        let mut all = Vec::new();
        let mut by = |field: usize, values: &[Option<u32>]| {
            all.extend(values.iter().flatten().map(|v| point.with(field, *v)));
        };
        let [rows, lanes, columns] = [ROWS, LANES, COLUMNS].map(|f| point.get(f));
        let brick_bits = point.get(BRICK_BITS);
        let group = GROUP_BITS / brick_bits;
        by(ROWS, &[rows.checked_sub(1), Some(rows + 1), rows.checked_sub(3), Some(rows + 3)]);
        by(LANES, &[lanes.checked_sub(4), Some(lanes + 4), lanes.checked_sub(8), Some(lanes + 8)]);
        let step = group * point.get(REQUANT_LANES);
        by(COLUMNS, &[columns.checked_sub(step), Some(columns + step), Some(columns / 2), Some(columns * 2)]);
        for field in POWERS {
            by(field, &[Some(point.get(field) / 2), Some(point.get(field) * 2)]);
        }
        by(REQUANT_LANES, &[Some(12 - point.get(REQUANT_LANES))]);
        by(PORTS, &[Some(point.get(PORTS) / 2), Some(point.get(PORTS) * 2)]);
        // the same bit operations otherwise arranged
        all.push(
            point.with(BRICK_BITS, 3 - brick_bits).with(COLUMNS, columns * brick_bits / (3 - brick_bits)),
        );
        all.push(point.with(LANES, lanes * 2).with(COLUMNS, columns / 2));
        all.push(point.with(LANES, lanes / 2).with(COLUMNS, columns * 2));
        all.push(point.with(ROWS, rows / 2).with(COLUMNS, columns * 2));
        all.push(point.with(ROWS, rows * 2).with(COLUMNS, columns / 2));
        // room for room
        all.push(point.with(BANKS, point.get(BANKS) / 2).with(ROWS, rows * 2));
        all.push(point.with(BANKS, point.get(BANKS) * 2).with(ROWS, rows / 2));
        all.retain(|p| p != point && self.contains(p));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_array_keeps_the_rules_and_every_shipped_configuration_is_among_them() {
        let target = Target::new("xc7z020", 150, 100, None).expect("known");
        let space = Space::default();
        let arrays = space.arrays();
        assert!(arrays.len() > 5000, "{}", arrays.len());
        for p in &arrays {
            assert!(target.arch(p).is_some(), "{p:?}");
        }
        for text in [
            include_str!("../../configs/zynq7020.toml"),
            include_str!("../../configs/tiny.toml"),
            include_str!("../../configs/bitfusion.toml"),
        ] {
            let config = hdl_gen::Config::from_toml(text, "shipped").expect("correct");
            let point = Point::of(&config).expect("usual queues");
            assert!(arrays.iter().any(|a| a.0[..5] == point.0[..5]), "{}", config.name);
        }
    }

    #[test]
    fn steps_in_one_number_lead_back() {
        let space = Space::default();
        let point = Point([9, 16, 128, 1, 8, 4096, 512, 2048, 512, 512, 2]);
        let changed = |p: &Point| (0..11).filter(|i| p.0[*i] != point.0[*i]).count();
        for p in space.steps(&point).into_iter().filter(|p| changed(p) == 1) {
            assert!(space.steps(&p).contains(&point), "{p:?}");
        }
    }
}
