// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The configuration file: what an accelerator is. Everything else is derived from it (see [`crate::arch`]).
//!
//! [`Config::from_toml`] is the way in for files; [`Config::check`] tests a configuration made by other means. The rules
//! stand in `rules`, the messages in [`error`].

pub mod error;
mod keywords;
mod parse;
mod rules;

pub use error::{ConfigError, ConfigErrorKind, ConfigErrors};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Largest rows * lanes * columns: seven times the Zynq-7020's array.
pub const MAX_BRICKS: u64 = 131_072;
/// Most bits in activation banks, accumulators and weight buffer together.
pub const MAX_MEMORY_BITS: u64 = 64 << 20;

/// One accelerator, as written in the TOML file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Name of the configuration: letters, digits, `_`; begins with a letter; at most 64 characters; no reserved word of
    /// Verilog or SystemVerilog.
    #[schemars(regex(pattern = "^[A-Za-z][A-Za-z0-9_]{0,63}$"))]
    pub name: String,
    pub device: Device,
    pub array: Array,
    pub banks: Banks,
    pub accumulators: Accumulators,
    pub weights: Weights,
    pub requantize: Requantize,
    #[serde(default)]
    pub axi: Axi,
    #[serde(default)]
    pub queues: Queues,
}

/// Target chip and clock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Device {
    /// Part name, e.g. `xc7z020clg400-1` or `LFE5U-85F`.
    #[schemars(regex(pattern = "^[A-Za-z0-9._-]{1,64}$"))]
    pub part: String,
    /// Clock of the accelerator in MHz, 1..=1000.
    #[schemars(range(min = 1, max = 1000))]
    pub clock_mhz: u32,
}

/// The systolic array.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Array {
    /// Rows, 1..=32; each has its own activation stream.
    #[schemars(range(min = 1, max = 32))]
    pub rows: u32,
    /// Bricks per PE, 4..=32: input channels that one row takes per step. A multiple of `requantize.lanes`.
    #[schemars(range(min = 4, max = 32))]
    pub lanes: u32,
    /// Columns of 1-bit weight planes (2-bit where `brick_bits` = 2); `columns * brick_bits` is a multiple of
    /// 8 * `requantize.lanes`.
    #[schemars(range(min = 16, max = 1024))]
    pub columns: u32,
    /// Width of a brick's operands: 1 (an AND gate) or 2 (2x2-bit BitBrick).
    #[schemars(range(min = 1, max = 2))]
    pub brick_bits: u32,
}

/// Activation banks, one copy per row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Banks {
    /// Words of four planes x `array.lanes` bits, a power of two, 16..=16384.
    #[schemars(range(min = 16, max = 16384))]
    pub depth: u32,
}

/// Accumulators: one word of 144 bits per fusion group and pixel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Accumulators {
    /// Pixels that the accumulators hold, a power of two, 16..=4096.
    #[schemars(range(min = 16, max = 4096))]
    pub depth: u32,
}

/// Weight buffer and tap table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Weights {
    /// Words of the weight buffer (one fusion group of one row each), a power of two, 16..=65536.
    #[schemars(range(min = 16, max = 65536))]
    pub depth: u32,
    /// Entries of the tap table, a power of two, 16..=4096.
    #[serde(default = "default_taps")]
    #[schemars(range(min = 16, max = 4096))]
    pub taps: u32,
}

/// Post-processing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Requantize {
    /// Values per cycle: 4 or 8.
    #[schemars(range(min = 4, max = 8))]
    pub lanes: u32,
    /// Words of the parameter buffer (`lanes` channels each), a power of two, 16..=4096.
    #[schemars(range(min = 16, max = 4096))]
    pub param_depth: u32,
    /// 256-entry function table behind the clamp.
    #[serde(default = "yes")]
    pub table: bool,
    /// Addition of two tensors.
    #[serde(default = "yes")]
    pub add: bool,
    /// Full-rate bipolar weights (a column that sums the activations). Needs `brick_bits` = 1; write `false` with
    /// `brick_bits` = 2, where bipolar weights take two bits.
    #[serde(default = "yes")]
    pub bipolar: bool,
}

/// Memory side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Axi {
    /// Data width of every port in bits; 64.
    #[schemars(range(min = 64, max = 64))]
    pub data_bits: u32,
    /// Read ports that weights are striped over: 1, 2 or 4.
    #[schemars(range(min = 1, max = 4))]
    pub read_ports: u32,
    /// Longest burst in beats, a power of two, 2..=256. 16 suits the AXI3 ports of the Zynq-7000.
    #[schemars(range(min = 2, max = 256))]
    pub burst_beats: u32,
}

impl Default for Axi {
    fn default() -> Self {
        Axi { data_bits: 64, read_ports: 1, burst_beats: 16 }
    }
}

/// Instruction queues.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Queues {
    /// Instructions that each queue holds, a power of two, 4..=64.
    #[schemars(range(min = 4, max = 64))]
    pub depth: u32,
}

impl Default for Queues {
    fn default() -> Self {
        Queues { depth: 16 }
    }
}

fn default_taps() -> u32 {
    512
}
fn yes() -> bool {
    true
}

impl Config {
    /// Reads and checks a configuration file. `file_name` is for the messages only.
    ///
    /// Errors: everything that is wrong and does not follow from something else that is wrong, with places in `text`.
    pub fn from_toml(text: &str, file_name: &str) -> Result<Config, ConfigErrors> {
        parse::from_toml(text, file_name)
    }

    /// Checks a configuration that was not read from a file. Errors: the broken rules.
    pub fn check(&self) -> Result<(), Vec<ConfigErrorKind>> {
        let broken: Vec<_> = rules::check(self, &|_| false).into_iter().map(|v| v.kind).collect();
        if broken.is_empty() {
            Ok(())
        } else {
            Err(broken)
        }
    }

    /// The JSON schema of the configuration file, for editors.
    pub fn json_schema() -> String {
        let schema = schemars::schema_for!(Config);
        let mut text = serde_json::to_string_pretty(&schema).expect("a schema is plain data");
        text.push('\n');
        text
    }
}
