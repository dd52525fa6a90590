// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Tcl and constraints for Vivado: out-of-context run, IP packaging, complete Zynq-7000 systems.
//!
//! `make vivado-check` runs the scripts against a mock of Vivado (`tools/vivado_mock.tcl`).

use super::{render_as, EmitError, RtlFile};
use crate::arch::Arch;
use crate::fit::{Device, Family};
use crate::isa::{Access, REGISTERS};
use serde::Serialize;

/// Name of the packaged IP, the same for every configuration: software finds the accelerator by it.
pub const VENDOR: &str = "brickwork";
pub const LIBRARY: &str = "ip";
pub const IP_NAME: &str = "brickwork";
pub const IP_VERSION: &str = "1.0";
/// Bytes of the register block: what the 12 address bits of AXI-Lite reach.
pub const REGISTER_BYTES: u32 = 4096;
/// Physical address of the registers in the systems of `system.tcl`.
pub const REGISTER_BASE: u32 = 0x43c0_0000;
/// High-performance ports of a Zynq-7000.
const HP_PORTS: u32 = 4;

/// A value of the processing system's configuration (`CONFIG.<name>`).
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Setting {
    pub name: &'static str,
    pub value: &'static str,
}

/// A board with a Zynq-7000.
#[derive(Clone, Copy, Debug)]
pub struct Board {
    pub name: &'static str,
    pub part: &'static str,
    /// Size of its DDR memory, as Vivado writes it.
    pub memory: &'static str,
    settings: &'static [Setting],
}

const fn s(name: &'static str, value: &'static str) -> Setting {
    Setting { name, value }
}

/// What both boards have alike: SD card, Gigabit Ethernet, USB, flash.
const COMMON: &[Setting] = &[
    s("PCW_PRESET_BANK0_VOLTAGE", "LVCMOS 3.3V"),
    s("PCW_PRESET_BANK1_VOLTAGE", "LVCMOS 1.8V"),
    s("PCW_QSPI_PERIPHERAL_ENABLE", "1"),
    s("PCW_QSPI_GRP_SINGLE_SS_ENABLE", "1"),
    s("PCW_QSPI_GRP_FBCLK_ENABLE", "1"),
    s("PCW_ENET0_PERIPHERAL_ENABLE", "1"),
    s("PCW_ENET0_ENET0_IO", "MIO 16 .. 27"),
    s("PCW_ENET0_GRP_MDIO_ENABLE", "1"),
    s("PCW_ENET0_GRP_MDIO_IO", "MIO 52 .. 53"),
    s("PCW_SD0_PERIPHERAL_ENABLE", "1"),
    s("PCW_SD0_SD0_IO", "MIO 40 .. 45"),
    s("PCW_SD0_GRP_CD_ENABLE", "1"),
    s("PCW_SD0_GRP_CD_IO", "MIO 47"),
    s("PCW_SDIO_PERIPHERAL_FREQMHZ", "50"),
    s("PCW_USB0_PERIPHERAL_ENABLE", "1"),
    s("PCW_USB0_USB0_IO", "MIO 28 .. 39"),
    s("PCW_GPIO_MIO_GPIO_ENABLE", "1"),
    s("PCW_UIPARAM_DDR_TRAIN_WRITE_LEVEL", "1"),
    s("PCW_UIPARAM_DDR_TRAIN_READ_GATE", "1"),
    s("PCW_UIPARAM_DDR_TRAIN_DATA_EYE", "1"),
];

/// The boards of `system.tcl`. Sources: the boards' published Vivado designs (PYNQ for the PYNQ-Z2, Avnet for the ZedBoard).
pub const BOARDS: &[Board] = &[
    Board {
        name: "pynq-z2",
        part: "xc7z020clg400-1",
        memory: "512M",
        settings: &[
            s("PCW_CRYSTAL_PERIPHERAL_FREQMHZ", "50"),
            s("PCW_APU_PERIPHERAL_FREQMHZ", "650"),
            s("PCW_ENET0_RESET_ENABLE", "1"),
            s("PCW_ENET0_RESET_IO", "MIO 9"),
            s("PCW_USB0_RESET_ENABLE", "1"),
            s("PCW_USB0_RESET_IO", "MIO 46"),
            s("PCW_UART0_PERIPHERAL_ENABLE", "1"),
            s("PCW_UART0_UART0_IO", "MIO 14 .. 15"),
            s("PCW_UIPARAM_DDR_PARTNO", "MT41J256M16 RE-125"),
            s("PCW_UIPARAM_DDR_BUS_WIDTH", "16 Bit"),
            s("PCW_UIPARAM_DDR_FREQ_MHZ", "525"),
            s("PCW_UIPARAM_DDR_BOARD_DELAY0", "0.223"),
            s("PCW_UIPARAM_DDR_BOARD_DELAY1", "0.212"),
            s("PCW_UIPARAM_DDR_BOARD_DELAY2", "0.085"),
            s("PCW_UIPARAM_DDR_BOARD_DELAY3", "0.092"),
            s("PCW_UIPARAM_DDR_DQS_TO_CLK_DELAY_0", "0.040"),
            s("PCW_UIPARAM_DDR_DQS_TO_CLK_DELAY_1", "0.058"),
            s("PCW_UIPARAM_DDR_DQS_TO_CLK_DELAY_2", "-0.009"),
            s("PCW_UIPARAM_DDR_DQS_TO_CLK_DELAY_3", "-0.033"),
        ],
    },
    Board {
        name: "zedboard",
        part: "xc7z020clg484-1",
        memory: "512M",
        settings: &[
            s("PCW_CRYSTAL_PERIPHERAL_FREQMHZ", "33.333333"),
            s("PCW_APU_PERIPHERAL_FREQMHZ", "666.666667"),
            s("PCW_SD0_GRP_WP_ENABLE", "1"),
            s("PCW_SD0_GRP_WP_IO", "MIO 46"),
            s("PCW_UART1_PERIPHERAL_ENABLE", "1"),
            s("PCW_UART1_UART1_IO", "MIO 48 .. 49"),
            s("PCW_UIPARAM_DDR_PARTNO", "MT41J128M16 HA-15E"),
            s("PCW_UIPARAM_DDR_BUS_WIDTH", "32 Bit"),
            s("PCW_UIPARAM_DDR_FREQ_MHZ", "533.333313"),
            s("PCW_UIPARAM_DDR_USE_INTERNAL_VREF", "1"),
            s("PCW_UIPARAM_DDR_BOARD_DELAY0", "0.41"),
            s("PCW_UIPARAM_DDR_BOARD_DELAY1", "0.411"),
            s("PCW_UIPARAM_DDR_BOARD_DELAY2", "0.341"),
            s("PCW_UIPARAM_DDR_BOARD_DELAY3", "0.358"),
            s("PCW_UIPARAM_DDR_DQS_TO_CLK_DELAY_0", "0.025"),
            s("PCW_UIPARAM_DDR_DQS_TO_CLK_DELAY_1", "0.028"),
            s("PCW_UIPARAM_DDR_DQS_TO_CLK_DELAY_2", "0.001"),
            s("PCW_UIPARAM_DDR_DQS_TO_CLK_DELAY_3", "0.001"),
        ],
    },
];

#[derive(Serialize)]
struct Vars {
    part: String,
    config: String,
    hash: String,
    clock_mhz: u32,
    period_ns: String,
    /// A clock buffer for the propagation of the clock in out-of-context runs.
    clock_site: Option<&'static str>,
    vendor: &'static str,
    library: &'static str,
    ip_name: &'static str,
    ip_version: &'static str,
    vlnv: String,
    burst_beats: u32,
    register_bytes: u32,
    register_base: String,
    masters: Vec<Master>,
    registers: Vec<RegisterRow>,
    hp_ports: Vec<HpPort>,
    boards: Vec<BoardRow>,
}

#[derive(Serialize)]
struct Master {
    name: String,
    mode: &'static str,
    /// Tcl variable with the signals of its channels.
    signals: &'static str,
}

#[derive(Serialize)]
struct RegisterRow {
    name: &'static str,
    offset: String,
    access: &'static str,
}

/// A high-performance port and the masters that share it.
#[derive(Debug, PartialEq, Serialize)]
struct HpPort {
    number: u32,
    masters: Vec<String>,
    count: usize,
}

#[derive(Serialize)]
struct BoardRow {
    name: &'static str,
    part: &'static str,
    memory: &'static str,
    settings: Vec<Setting>,
}

/// Files of the folder `vivado`; none for a part that is not AMD's. `system.tcl` is there when a board can hold the
/// configuration's device.
pub fn files(arch: &Arch) -> Result<Vec<RtlFile>, EmitError> {
    let part = arch.config.device.part.to_ascii_lowercase();
    if !part.starts_with("xc") {
        return Ok(Vec::new());
    }
    let vars = vars(arch, part);
    let mut templates = vec![
        ("brickwork_ooc.xdc", include_str!("../../../rtl-templates/vivado/brickwork_ooc.xdc.tera")),
        ("synth.tcl", include_str!("../../../rtl-templates/vivado/synth.tcl.tera")),
        ("package_ip.tcl", include_str!("../../../rtl-templates/vivado/package_ip.tcl.tera")),
    ];
    if !vars.boards.is_empty() {
        templates.push(("system.tcl", include_str!("../../../rtl-templates/vivado/system.tcl.tera")));
    }
    templates.into_iter().map(|(name, text)| render_as("#", arch, name, text, &vars)).collect()
}

/// Boards whose device is a Zynq-7000 at least as large as the configuration's.
fn boards(part: &str) -> Vec<&'static Board> {
    let Some(device) = Device::of_part(part).filter(|_| part.starts_with("xc7z")) else { return Vec::new() };
    let holds = |b: &&Board| Device::of_part(b.part).is_some_and(|d| d.luts >= device.luts);
    BOARDS.iter().filter(holds).collect()
}

/// Each data port has a port of its own as long as there are enough; the program and the results take what is left.
fn hp_ports(read_ports: u32) -> Vec<HpPort> {
    let used = (read_ports + 1).min(HP_PORTS);
    let mut masters: Vec<Vec<String>> =
        (0..used).map(|i| (i < read_ports).then(|| format!("m_axi_ld{i}")).into_iter().collect()).collect();
    let last = masters.len() - 1;
    masters[last.saturating_sub((read_ports == HP_PORTS) as usize)].push("m_axi_if".into());
    masters[last].push("m_axi_st".into());
    let port = |(number, masters): (usize, Vec<String>)| HpPort {
        number: number as u32,
        count: masters.len(),
        masters,
    };
    masters.into_iter().enumerate().map(port).collect()
}

fn vars(arch: &Arch, part: String) -> Vars {
    let reader = |name: String| Master { name, mode: "READ_ONLY", signals: "read" };
    let mut masters = vec![reader("if".into())];
    masters.extend((0..arch.read_ports).map(|i| reader(format!("ld{i}"))));
    masters.push(Master { name: "st".into(), mode: "WRITE_ONLY", signals: "write" });
    let settings = |b: &Board| COMMON.iter().chain(b.settings).copied().collect();
    let board =
        |b: &'static Board| BoardRow { name: b.name, part: b.part, memory: b.memory, settings: settings(b) };
    let xc7 = Device::of_part(&part).is_some_and(|d| d.family == Family::Xc7);
    Vars {
        boards: boards(&part).into_iter().map(board).collect(),
        part,
        config: arch.config.name.clone(),
        hash: format!("{:016x}", arch.hash),
        clock_mhz: arch.config.device.clock_mhz,
        period_ns: format!("{:.3}", 1000.0 / arch.config.device.clock_mhz as f64),
        clock_site: xc7.then_some("BUFGCTRL_X0Y16"),
        vendor: VENDOR,
        library: LIBRARY,
        ip_name: IP_NAME,
        ip_version: IP_VERSION,
        vlnv: format!("{VENDOR}:{LIBRARY}:{IP_NAME}:{IP_VERSION}"),
        burst_beats: arch.burst_beats,
        register_bytes: REGISTER_BYTES,
        register_base: format!("0x{REGISTER_BASE:08X}"),
        masters,
        registers: REGISTERS
            .iter()
            .map(|r| RegisterRow {
                name: r.name,
                offset: format!("0x{:02X}", r.offset),
                access: access(r.access),
            })
            .collect(),
        hp_ports: hp_ports(arch.read_ports),
    }
}

/// Access of a register in IP-XACT.
fn access(access: Access) -> &'static str {
    match access {
        Access::ReadOnly => "read-only",
        Access::ReadWrite | Access::WriteOneClears => "read-write",
        Access::WriteOneActs => "write-only",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_master_has_one_port() {
        for read_ports in [1, 2, 4] {
            let ports = hp_ports(read_ports);
            assert!(ports.len() as u32 <= HP_PORTS);
            let mut all: Vec<&str> =
                ports.iter().flat_map(|p| p.masters.iter().map(String::as_str)).collect();
            all.sort();
            let mut expected: Vec<String> = (0..read_ports).map(|i| format!("m_axi_ld{i}")).collect();
            expected.extend(["m_axi_if".into(), "m_axi_st".into()]);
            expected.sort();
            assert_eq!(all, expected);
        }
        assert_eq!(hp_ports(4)[2].masters, ["m_axi_ld2", "m_axi_if"]);
    }

    #[test]
    fn boards_hold_the_device() {
        let names = |part: &str| boards(part).iter().map(|b| b.name).collect::<Vec<_>>();
        assert_eq!(names("xc7z020clg400-1"), ["pynq-z2", "zedboard"]);
        assert_eq!(names("xc7z010clg400-1"), ["pynq-z2", "zedboard"]);
        assert_eq!(names("xc7z045ffg900-2"), [""; 0]);
        assert_eq!(names("xc7a35tcpg236-1"), [""; 0]);
    }
}
