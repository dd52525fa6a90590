// SPDX-License-Identifier: Apache-2.0 OR MIT
//! From a configuration to the files of `brickwork gen`.

use crate::out_dir::Tree;
use crate::Failure;
use hdl_gen::emit::{self, Derived};
use hdl_gen::fit::Device;
use hdl_gen::isa::{ID_VALUE, VERSION_VALUE};
use hdl_gen::{Arch, Config};
use serde::Serialize;
use std::path::Path;

/// Module at the top of the hierarchy.
pub const TOP: &str = "brickwork_top";
/// The file that shows that a folder was written by `gen`.
pub const MARKER: &str = "config.json";

/// `config.json`: the configuration and everything derived from it.
#[derive(Debug, Serialize)]
pub struct ConfigJson<'a> {
    pub generator: String,
    pub name: &'a str,
    /// Top module.
    pub top: &'static str,
    /// Configuration hash, 16 hexadecimal digits: registers HASH_HI, HASH_LO.
    pub hash: String,
    /// Values of the registers ID and VERSION.
    pub id: u32,
    pub version: u32,
    pub binary_macs_per_cycle: u64,
    /// What the device holds; null where the part is not known.
    pub device: Option<&'static Device>,
    /// Bits of the on-chip memories by name.
    pub memory_bits: MemoryBits,
    pub arch: &'a Arch,
    /// Address widths and the like of the Verilog.
    pub derived: Derived,
    /// Verilog files in the order of `rtl/files.f`.
    pub files: Vec<&'a str>,
}

/// Bits of the on-chip memories.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct MemoryBits {
    /// All row copies together.
    pub activation_banks: u64,
    pub weight_buffer: u64,
    pub accumulators: u64,
    pub sum_column: u64,
    pub parameters: u64,
    pub taps: u64,
    pub table: u64,
}

impl MemoryBits {
    pub fn new(arch: &Arch) -> MemoryBits {
        use hdl_gen::arch::{ACC_SEG_BITS, ACC_WORD_BITS};
        use hdl_gen::isa::LoadDst;
        let bits = |dst| arch.load_word_bits(dst) as u64 * arch.load_depth(dst) as u64;
        let acc_depth = arch.acc_depth as u64;
        MemoryBits {
            activation_banks: arch.rows as u64 * bits(LoadDst::Act),
            weight_buffer: bits(LoadDst::Wgt),
            accumulators: acc_depth * arch.groups as u64 * ACC_WORD_BITS as u64,
            sum_column: if arch.has_sum_column { acc_depth * ACC_SEG_BITS as u64 } else { 0 },
            parameters: bits(LoadDst::Param),
            taps: bits(LoadDst::Tap),
            table: if arch.has_table { bits(LoadDst::Table) } else { 0 },
        }
    }

    pub fn total(&self) -> u64 {
        self.activation_banks
            + self.weight_buffer
            + self.accumulators
            + self.sum_column
            + self.parameters
            + self.taps
            + self.table
    }
}

/// Reads and checks a configuration file.
pub fn load_config(path: &Path) -> Result<Config, Failure> {
    let text = std::fs::read_to_string(path).map_err(|e| match e.kind() {
        std::io::ErrorKind::InvalidData => {
            Failure::file("read", path, "it is not text; give the configuration's TOML file")
        }
        _ => Failure::file("read", path, e),
    })?;
    Ok(Config::from_toml(&text, &path.display().to_string())?)
}

/// All files that `gen` writes: `rtl/*.v`, `rtl/files.f` (names relative to `rtl`, leaves first), `vivado/*` for AMD parts,
/// and `config.json`.
pub fn tree(arch: &Arch) -> Result<Tree, Failure> {
    let rtl = emit::rtl_files(arch).map_err(Failure::other)?;
    let files: Vec<&str> = rtl.iter().map(|f| f.name.as_str()).collect();
    let mut tree: Tree = rtl.iter().map(|f| (format!("rtl/{}", f.name), f.text.clone())).collect();
    tree.push(("rtl/files.f".into(), files.iter().map(|f| format!("{f}\n")).collect()));
    let vivado = emit::vivado::files(arch).map_err(Failure::other)?;
    tree.extend(vivado.into_iter().map(|f| (format!("vivado/{}", f.name), f.text)));
    tree.push((MARKER.into(), config_json(arch, files)?));
    Ok(tree)
}

fn config_json(arch: &Arch, files: Vec<&str>) -> Result<String, Failure> {
    let json = ConfigJson {
        generator: concat!("brickwork ", env!("CARGO_PKG_VERSION")).into(),
        name: &arch.config.name,
        top: TOP,
        hash: format!("{:016x}", arch.hash),
        id: ID_VALUE,
        version: VERSION_VALUE,
        binary_macs_per_cycle: arch.binary_macs(),
        device: Device::of_part(&arch.config.device.part),
        memory_bits: MemoryBits::new(arch),
        arch,
        derived: Derived::new(arch),
        files,
    };
    let mut text = serde_json::to_string_pretty(&json).map_err(Failure::other)?;
    text.push('\n');
    Ok(text)
}
