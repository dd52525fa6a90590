// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The device that configurations must fit, and what they take of it.

use super::point::{Given, Point};
use crate::Failure;
use hdl_gen::fit::{Device, Family, Fit, DEVICES};
use hdl_gen::Arch;
use serde::{Deserialize, Serialize};

/// Parts that are meant where only a device is named.
const USUAL_PARTS: [(&str, &str); 3] =
    [("xc7z010", "xc7z010clg400-1"), ("xc7z020", "xc7z020clg400-1"), ("lfe5u-85f", "LFE5U-85F")];

/// What the search aims at.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Target {
    pub given: Given,
    /// Most LUTs in percent of the device's: beyond, placement and routing become hard.
    pub fill: u32,
    /// Bytes per second of the memory; `None`: as much as the ports take.
    pub bandwidth: Option<u64>,
}

/// Expected resources of a configuration that fits.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Cost {
    pub lut: u32,
    pub ff: u32,
    /// In tenths of a block: a RAMB36 can be used by halves.
    pub block_ram: f64,
    pub dsp: u32,
}

impl Target {
    /// A device by name, or a part. Errors: a device that is not known.
    pub fn new(device: &str, clock_mhz: u32, fill: u32, bandwidth: Option<u64>) -> Result<Target, Failure> {
        let known = Device::of_part(device).ok_or_else(|| {
            let names: Vec<&str> = DEVICES.iter().map(|d| d.name).collect();
            let known = names.join(", ");
            Failure::Other(format!("--device {device}: not a known device or part; known are {known}"))
        })?;
        let plain = device.eq_ignore_ascii_case(known.name);
        let usual = USUAL_PARTS.iter().find(|(name, _)| plain && *name == known.name);
        let part = usual.map_or(device, |(_, part)| part).to_string();
        let name = format!("explored_{}", known.name.replace('-', "_"));
        let given = Given { name, part, clock_mhz, table: true, add: true, bipolar: true };
        Ok(Target { given, fill, bandwidth })
    }

    pub fn device(&self) -> &'static Device {
        Device::of_part(&self.given.part).expect("checked by new")
    }

    /// Names of LUT and block RAM in the family's terms.
    pub fn names(&self) -> [&'static str; 2] {
        match self.device().family {
            Family::Xc7 => ["LUT", "RAMB36"],
            Family::Ecp5 => ["LUT4", "EBR"],
        }
    }

    /// The accelerator, if the point keeps the rules of configurations.
    pub fn arch(&self, point: &Point) -> Option<Arch> {
        let config = point.config(&self.given);
        config.check().ok()?;
        Some(Arch::new(&config))
    }

    /// What an accelerator takes; `None`: more than there is.
    pub fn cost(&self, arch: &Arch) -> Option<Cost> {
        let total = Fit::new(arch).total;
        let device = self.device();
        let fits = total.lut <= device.luts as f64 * self.fill as f64 / 100.0
            && total.ff <= device.ffs as f64
            && total.block_ram <= device.block_rams as f64
            && total.dsp <= device.dsps as f64;
        let whole = |n: f64| n.ceil() as u32;
        let cost = Cost {
            lut: whole(total.lut),
            ff: whole(total.ff),
            block_ram: total.block_ram,
            dsp: whole(total.dsp),
        };
        fits.then_some(cost)
    }
}
