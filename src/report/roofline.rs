// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The roofline: what the array and the memory allow at most, and what the layers reach, at the configuration's clock.

use super::facts::LayerFacts;
use hdl_gen::arch::BEAT_BYTES;
use hdl_gen::Arch;
use serde::Serialize;

/// Multiply-accumulates per second against multiply-accumulates per byte of memory traffic.
#[derive(Clone, Debug, Serialize)]
pub struct Roofline {
    pub clock_mhz: u32,
    /// Bytes per second through all read ports, in units of 10^9.
    pub bandwidth_gb_s: f64,
    pub ceilings: Vec<Ceiling>,
    pub points: Vec<Point>,
}

/// What the array does at these widths.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Ceiling {
    pub act_bits: u32,
    pub wgt_bits: u32,
    /// 10^9 multiply-accumulates per second.
    pub gmac_s: f64,
    /// A layer of the network has these widths.
    pub used: bool,
}

/// A layer with multiply-accumulates.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Point {
    /// Index of the layer.
    pub layer: usize,
    /// Multiply-accumulates per byte moved; `None`: nothing was.
    pub macs_per_byte: Option<f64>,
    pub gmac_s: f64,
    /// The roof over it: the array's at its widths, or the memory's.
    pub roof_gmac_s: f64,
    pub memory_bound: bool,
}

/// Equal widths whose ceilings every roofline shows.
const WIDTHS: [u32; 5] = [1, 2, 4, 8, 16];

impl Roofline {
    pub fn new(arch: &Arch, layers: &[LayerFacts]) -> Roofline {
        let clock_mhz = arch.config.device.clock_mhz;
        let hertz = clock_mhz as f64 * 1e6;
        let bytes_per_cycle = (arch.read_ports as u64 * BEAT_BYTES) as f64;
        let worked = |l: &&LayerFacts| l.layer.macs > 0;
        let mut widths: Vec<(u32, u32)> = WIDTHS.map(|n| (n, n)).into();
        widths.extend(layers.iter().filter(worked).map(|l| (l.layer.act_bits, l.layer.wgt_bits)));
        widths.sort_unstable();
        widths.dedup();
        let ceiling = |(act_bits, wgt_bits): (u32, u32)| Ceiling {
            act_bits,
            wgt_bits,
            gmac_s: arch.macs_per_cycle(act_bits, wgt_bits) * hertz / 1e9,
            used: layers
                .iter()
                .filter(worked)
                .any(|l| (l.layer.act_bits, l.layer.wgt_bits) == (act_bits, wgt_bits)),
        };
        let point = |(layer, l): (usize, &LayerFacts)| {
            let (macs, bytes) = (l.layer.macs as f64, l.traffic.all());
            let cycles = l.end.saturating_sub(l.first);
            if l.layer.macs == 0 || cycles == 0 {
                return None;
            }
            let macs_per_byte = (bytes > 0).then(|| macs / bytes as f64);
            let array = arch.macs_per_cycle(l.layer.act_bits, l.layer.wgt_bits);
            let memory = macs_per_byte.map_or(f64::INFINITY, |i| i * bytes_per_cycle);
            Some(Point {
                layer,
                macs_per_byte,
                gmac_s: macs / cycles as f64 * hertz / 1e9,
                roof_gmac_s: array.min(memory) * hertz / 1e9,
                memory_bound: memory < array,
            })
        };
        Roofline {
            clock_mhz,
            bandwidth_gb_s: bytes_per_cycle * hertz / 1e9,
            ceilings: widths.into_iter().map(ceiling).collect(),
            points: layers.iter().enumerate().filter_map(point).collect(),
        }
    }
}
