// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the known devices hold.

use serde::Serialize;

/// A family of devices, named as Yosys names its `synth_` commands' targets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// AMD 7 series: LUT6, CARRY4, RAMB36E1, DSP48E1.
    Xc7,
    /// Lattice ECP5: LUT4, CCU2C, DP16KD, MULT18X18D.
    Ecp5,
}

/// Resources of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Device {
    /// Part name without package and speed grade, lower case.
    pub name: &'static str,
    pub family: Family,
    /// LUT6 (7 series) or LUT4 (ECP5).
    pub luts: u32,
    pub ffs: u32,
    /// RAMB36 (7 series) or EBR of 18 kbit (ECP5).
    pub block_rams: u32,
    /// DSP48E1 or MULT18X18D.
    pub dsps: u32,
}

const fn device(name: &'static str, family: Family, [luts, ffs, block_rams, dsps]: [u32; 4]) -> Device {
    Device { name, family, luts, ffs, block_rams, dsps }
}

use Family::{Ecp5, Xc7};

/// Sources: DS180, DS190 (7 series, Zynq-7000) and FPGA-DS-02012 (ECP5).
pub const DEVICES: &[Device] = &[
    device("xc7z007s", Xc7, [14_400, 28_800, 50, 66]),
    device("xc7z010", Xc7, [17_600, 35_200, 60, 80]),
    device("xc7z012s", Xc7, [34_400, 68_800, 72, 120]),
    device("xc7z014s", Xc7, [40_600, 81_200, 107, 170]),
    device("xc7z015", Xc7, [46_200, 92_400, 95, 160]),
    device("xc7z020", Xc7, [53_200, 106_400, 140, 220]),
    device("xc7z030", Xc7, [78_600, 157_200, 265, 400]),
    device("xc7z035", Xc7, [171_900, 343_800, 500, 900]),
    device("xc7z045", Xc7, [218_600, 437_200, 545, 900]),
    device("xc7z100", Xc7, [277_400, 554_800, 755, 2_020]),
    device("xc7a35t", Xc7, [20_800, 41_600, 50, 90]),
    device("xc7a50t", Xc7, [32_600, 65_200, 75, 120]),
    device("xc7a75t", Xc7, [47_200, 94_400, 105, 180]),
    device("xc7a100t", Xc7, [63_400, 126_800, 135, 240]),
    device("xc7a200t", Xc7, [134_600, 269_200, 365, 740]),
    device("xc7k70t", Xc7, [41_000, 82_000, 135, 240]),
    device("xc7k160t", Xc7, [101_400, 202_800, 325, 600]),
    device("xc7k325t", Xc7, [203_800, 407_600, 445, 840]),
    device("xc7k410t", Xc7, [254_200, 508_400, 795, 1_540]),
    device("xc7k480t", Xc7, [298_600, 597_200, 955, 1_920]),
    device("lfe5u-12f", Ecp5, [12_144, 12_144, 32, 28]),
    device("lfe5u-25f", Ecp5, [24_288, 24_288, 56, 28]),
    device("lfe5u-45f", Ecp5, [43_848, 43_848, 108, 72]),
    device("lfe5u-85f", Ecp5, [83_640, 83_640, 208, 156]),
    device("lfe5um-25f", Ecp5, [24_288, 24_288, 56, 28]),
    device("lfe5um-45f", Ecp5, [43_848, 43_848, 108, 72]),
    device("lfe5um-85f", Ecp5, [83_640, 83_640, 208, 156]),
    device("lfe5um5g-25f", Ecp5, [24_288, 24_288, 56, 28]),
    device("lfe5um5g-45f", Ecp5, [43_848, 43_848, 108, 72]),
    device("lfe5um5g-85f", Ecp5, [83_640, 83_640, 208, 156]),
];

impl Device {
    /// The device of a part name such as `xc7z020clg400-1` or `LFE5U-85F-8BG381`; `None` where it is not known.
    pub fn of_part(part: &str) -> Option<&'static Device> {
        let part = part.to_ascii_lowercase();
        let matching = DEVICES.iter().filter(|d| part.starts_with(d.name));
        matching.max_by_key(|d| d.name.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_device_of_a_part() {
        let name = |part: &str| Device::of_part(part).map(|d| d.name);
        assert_eq!(name("xc7z020clg400-1"), Some("xc7z020"));
        assert_eq!(name("LFE5U-85F-8BG381"), Some("lfe5u-85f"));
        assert_eq!(name("xc7z007sclg225-1"), Some("xc7z007s"));
        assert_eq!(name("xcku040"), None);
    }
}
