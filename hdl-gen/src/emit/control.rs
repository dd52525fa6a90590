// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Control, load unit and top.

use super::{fixed, render, Derived, EmitError, RtlFile};
use crate::arch::Arch;
use crate::isa::{Access, LoadDst, Op, Queue, Register, ID_VALUE, INSTRUCTIONS, REGISTERS, VERSION_VALUE};
use serde::Serialize;

/// Beats of the program that are on their way or waiting: hides a latency of about 40 cycles.
pub const FETCH_FIFO_LOG2: u32 = 6;
/// Longest burst of the program fetch, as a power of two.
pub const FETCH_BURST_LOG2: u32 = 4;

/// log2 of the beats that a read port of the load unit buffers: four of the longest bursts, at least 64 beats.
pub fn load_fifo_log2(arch: &Arch) -> u32 {
    (burst_log2(arch) + 2).max(6)
}

/// log2 of the longest burst in beats.
pub fn burst_log2(arch: &Arch) -> u32 {
    arch.burst_beats.ilog2()
}

/// log2 of the program fetch's longest burst in beats.
pub fn fetch_burst_log2(arch: &Arch) -> u32 {
    burst_log2(arch).min(FETCH_BURST_LOG2)
}

/// Width of the operands of the widest instruction of a queue, in bits.
fn operand_bits(queue: Queue) -> u32 {
    let of_queue = INSTRUCTIONS.iter().filter(|i| i.queue == Some(queue));
    let ends = of_queue.flat_map(|i| i.fields.iter().map(|f| f.lo + f.width));
    ends.max().expect("every queue has an instruction with operands")
}

/// Bits of a queue's entry: instruction number, opcode and tokens, operands; of a pass also whether it goes to the same
/// accumulators in as many steps as the pass before.
pub fn queue_entry_bits(queue: Queue) -> u32 {
    24 + 12 + operand_bits(queue) + (queue == Queue::Pass) as u32
}

#[derive(Serialize)]
struct OpcodeRow {
    literal: String,
    mnemonic: &'static str,
    /// One-hot; 0: executed by the dispatcher.
    queue: String,
}

#[derive(Serialize)]
struct LoadRow {
    literal: String,
    name: &'static str,
    depth: String,
    /// Words to beats of one port.
    beats_expr: String,
    last_piece: u32,
}

#[derive(Serialize)]
struct QueueRow {
    name: &'static str,
    index: usize,
    operand_w: u32,
    entry_w: u32,
    opcode_high: String,
    /// What fills the operands up to 112 bits.
    zeros: String,
}

#[derive(Serialize)]
struct RegisterRow {
    name: &'static str,
    ident: String,
    addr: String,
    /// What a read returns.
    value: String,
}

#[derive(Serialize)]
struct DispatcherVars {
    opcodes: Vec<OpcodeRow>,
    loads: Vec<LoadRow>,
    /// The bits of a byte offset that are 0.
    offset_low: String,
    dram_low: String,
    has_missing: bool,
    /// A `post.mode` that asks for what the configuration lacks.
    missing: String,
}

#[derive(Serialize)]
struct ControlVars {
    queues: Vec<QueueRow>,
    registers: Vec<RegisterRow>,
    written: Vec<RegisterRow>,
    fetch_burst_log2: u32,
    /// Lowest bit of a pass's accumulator.
    pass_acc: u32,
}

#[derive(Serialize)]
struct JobRow {
    port: u32,
    two_d: u32,
    valid: &'static str,
    addr: String,
}

#[derive(Serialize)]
struct SliceRow {
    lo: u32,
    hi: u32,
    enable: String,
    data: String,
}

#[derive(Serialize)]
struct LoadVars {
    ports: Vec<u32>,
    last_port: u32,
    jobs: Vec<JobRow>,
    loads: Vec<LoadRow>,
    slices: Vec<SliceRow>,
    word_bits: u32,
    burst_log2: u32,
    fifo_log2: u32,
    fifo_beats: u32,
    fifo_block: u32,
    fifo_kind: &'static str,
    beat_ready: String,
    all_data: String,
}

#[derive(Serialize)]
struct TopVars {
    readers: Vec<String>,
    ports: Vec<u32>,
    queues: Vec<QueueRow>,
    acc_bits: u32,
}

/// Library cells, control, load unit, arbiter and the top.
pub fn files(arch: &Arch) -> Result<Vec<RtlFile>, EmitError> {
    macro_rules! template {
        ($path:literal) => {
            include_str!(concat!("../../../rtl-templates/", $path))
        };
    }
    Ok(vec![
        fixed(arch, "sync_fifo.v", template!("lib/sync_fifo.v")),
        fixed(arch, "axi_reader.v", template!("lib/axi_reader.v")),
        fixed(arch, "axil_slave.v", template!("lib/axil_slave.v")),
        fixed(arch, "token_counters.v", template!("control/token_counters.v")),
        render(arch, "dispatcher.v", template!("control/dispatcher.v.tera"), &dispatcher_vars(arch))?,
        render(arch, "control.v", template!("control/control.v.tera"), &control_vars(arch)?)?,
        render(arch, "load_unit.v", template!("control/load_unit.v.tera"), &load_vars(arch))?,
        render(arch, "bank_arbiter.v", template!("control/bank_arbiter.v.tera"), &())?,
        render(arch, "brickwork_top.v", template!("control/brickwork_top.v.tera"), &top_vars(arch))?,
    ])
}

fn dispatcher_vars(arch: &Arch) -> DispatcherVars {
    let opcodes = INSTRUCTIONS.iter().map(|i| OpcodeRow {
        literal: format!("8'h{:02x}", i.op as u8),
        mnemonic: i.mnemonic,
        queue: format!("4'b{:04b}", i.queue.map_or(0, Queue::bit)),
    });
    let select =
        |field: &str| format!("ir_q{}", Op::PostMode.def().field(field).expect("in the table").select());
    let features = [("table", arch.has_table), ("add", arch.has_add), ("bipolar", arch.has_sum_column)];
    let missing: Vec<String> =
        features.iter().filter(|(_, has)| !has).map(|(name, _)| select(name)).collect();
    let low_bits = |op: Op| {
        let lo = op.def().field("offset").expect("in the table").lo;
        format!("ir_q[{}:{lo}]", lo + 2)
    };
    DispatcherVars {
        opcodes: opcodes.collect(),
        loads: load_rows(arch),
        offset_low: low_bits(Op::Load),
        dram_low: low_bits(Op::PostDram),
        has_missing: !missing.is_empty(),
        missing: missing.join(" || "),
    }
}

/// Destinations that the configuration has.
fn load_rows(arch: &Arch) -> Vec<LoadRow> {
    let exists = |d: &LoadDst| *d != LoadDst::Table || arch.has_table;
    let row = |d: LoadDst| LoadRow {
        literal: format!("3'd{}", d as u8),
        name: ["act", "wgt", "param", "tap", "table"][d as usize],
        depth: format!("17'd{}", arch.load_depth(d)),
        beats_expr: times_words(arch.load_beats(d)),
        last_piece: arch.load_beats(d) - 1,
    };
    LoadDst::ALL.into_iter().filter(exists).map(row).collect()
}

/// Verilog for `cmd_words * factor` in 18 bits, `factor` 1..=4.
fn times_words(factor: u32) -> String {
    match factor {
        1 => "{2'd0, cmd_words}".into(),
        2 => "{1'd0, cmd_words, 1'b0}".into(),
        3 => "{1'd0, cmd_words, 1'b0} + {2'd0, cmd_words}".into(),
        _ => "{cmd_words, 2'b00}".into(),
    }
}

fn queue_rows() -> Vec<QueueRow> {
    let row = |q: Queue| {
        let operand_w = operand_bits(q);
        QueueRow {
            name: q.name(),
            index: q.index(),
            operand_w,
            entry_w: queue_entry_bits(q),
            opcode_high: format!("4'h{:x}", q.index() + 1),
            zeros: match 112 - operand_w {
                0 => String::new(),
                n => format!(", {n}'d0"),
            },
        }
    };
    Queue::ALL.into_iter().map(row).collect()
}

fn control_vars(arch: &Arch) -> Result<ControlVars, EmitError> {
    let rows = |keep: fn(&Register) -> bool| {
        REGISTERS
            .iter()
            .filter(move |r| keep(r))
            .map(|r| register_row(arch, r))
            .collect::<Result<Vec<_>, _>>()
    };
    Ok(ControlVars {
        queues: queue_rows(),
        registers: rows(|_| true)?,
        written: rows(|r| r.access != Access::ReadOnly)?,
        fetch_burst_log2: fetch_burst_log2(arch),
        pass_acc: Op::Pass.def().field("acc").expect("in the table").lo,
    })
}

fn register_row(arch: &Arch, register: &Register) -> Result<RegisterRow, EmitError> {
    let value = register_value(arch, register.name).ok_or_else(|| EmitError {
        file: "control.v".into(),
        reason: format!("register {} has no hardware", register.name),
    })?;
    Ok(RegisterRow {
        name: register.name,
        ident: register.name.to_lowercase(),
        addr: format!("10'h{:03x}", register.offset / 4),
        value,
    })
}

/// What the hardware returns when a register is read.
fn register_value(arch: &Arch, name: &str) -> Option<String> {
    let literal = |v: u32| format!("32'h{v:08x}");
    let hex = Derived::new(arch).hash;
    debug_assert!(hex.ends_with(&format!("{:016x}", arch.hash)));
    Some(match name {
        "ID" => literal(ID_VALUE),
        "VERSION" => literal(VERSION_VALUE),
        "HASH_LO" => literal(arch.hash as u32),
        "HASH_HI" => literal((arch.hash >> 32) as u32),
        "CTRL" => "32'd0".into(),
        "STATUS" => "{29'd0, error_q, done_q, busy}".into(),
        "IRQ_ENABLE" => "{30'd0, irq_enable_q}".into(),
        "IRQ_STATUS" => "{30'd0, irq_status_q}".into(),
        "ERROR_CODE" => "{28'd0, error_code_q}".into(),
        "ERROR_INSTR" => "{8'd0, error_pc_q}".into(),
        "PROGRAM" => "{program_q, 4'd0}".into(),
        "BASE0" => "base0_o".into(),
        "BASE1" => "base1_o".into(),
        "BASE2" => "base2_o".into(),
        "BASE3" => "base3_o".into(),
        "WATCHDOG" => "watchdog_q".into(),
        "CYCLES_LO" => "cycles_q[31:0]".into(),
        "CYCLES_HI" => "{16'd0, cycles_q[47:32]}".into(),
        "PASS_BUSY" => "pass_busy_q".into(),
        "PASS_WAIT_TOKEN" => "pass_wait_token_q".into(),
        "PASS_WAIT_WGT" => "pass_wait_wgt_q".into(),
        "LOAD_BUSY" => "load_busy_q".into(),
        "POST_BUSY" => "post_busy_q".into(),
        "WGT_BUSY" => "wgt_busy_q".into(),
        _ => return None,
    })
}

fn load_vars(arch: &Arch) -> LoadVars {
    let ports: Vec<u32> = (0..arch.read_ports).collect();
    let word_bits =
        LoadDst::ALL.into_iter().map(|d| arch.load_word_bits(d)).max().expect("five destinations");
    let fifo_log2 = load_fifo_log2(arch);
    let block = fifo_log2 >= 8;
    let names: Vec<String> = ports.iter().map(|p| format!("beat{p}_data")).collect();
    LoadVars {
        last_port: arch.read_ports - 1,
        jobs: ports.iter().map(|&p| job_row(p)).collect(),
        loads: load_rows(arch),
        slices: slices(arch, word_bits),
        word_bits,
        burst_log2: burst_log2(arch),
        fifo_log2,
        fifo_beats: 1 << fifo_log2,
        fifo_block: block as u32,
        fifo_kind: if block { "block" } else { "distributed" },
        beat_ready: match arch.read_ports {
            1 => "consume".into(),
            n => format!("{{{{{}{{consume && !cur_act_q}}}}, consume}}", n - 1),
        },
        all_data: names.join(", "),
        ports,
    }
}

/// Port `p` reads the `p`-th part; port 0 alone reads rows.
fn job_row(port: u32) -> JobRow {
    let addr = match port {
        0 => "job_addr_q",
        1 => "job_addr_q + {11'd0, job_beats_q}",
        2 => "job_addr_q + {10'd0, job_beats_q, 1'b0}",
        _ => "job_addr_q + {10'd0, job_beats_q, 1'b0} + {11'd0, job_beats_q}",
    };
    JobRow {
        port,
        two_d: (port == 0) as u32,
        valid: if port == 0 { "job_fire" } else { "job_fire && !job_act_q" },
        addr: addr.into(),
    }
}

/// The 64-bit slices of a buffer word and where each comes from: slice j is beat j of an `act` load, beat j / ports of
/// port j mod ports otherwise.
fn slices(arch: &Arch, word_bits: u32) -> Vec<SliceRow> {
    let act_slices = arch.load_beats(LoadDst::Act);
    let row = |j: u32| {
        let (lo, hi) = (64 * j, (64 * j + 63).min(word_bits - 1));
        let (port, piece) = (j % arch.read_ports, j / arch.read_ports);
        let bits = if hi - lo == 63 { String::new() } else { format!("[{}:0]", hi - lo) };
        let striped = format!("beat{port}_data{bits}");
        let shared = j < act_slices && port != 0;
        let (enable, data) = match (shared, piece == j) {
            (_, true) => (format!("piece_q == 2'd{piece}"), striped),
            (true, false) => (
                format!("(cur_act_q ? piece_q == 2'd{j} : piece_q == 2'd{piece})"),
                format!("cur_act_q ? beat0_data{bits} : {striped}"),
            ),
            (false, false) => (format!("!cur_act_q && piece_q == 2'd{piece}"), striped),
        };
        SliceRow { lo, hi, enable, data }
    };
    (0..word_bits.div_ceil(64)).map(row).collect()
}

fn top_vars(arch: &Arch) -> TopVars {
    let data = (0..arch.read_ports).map(|p| format!("ld{p}"));
    TopVars {
        readers: std::iter::once("if".to_string()).chain(data).collect(),
        ports: (0..arch.read_ports).collect(),
        queues: queue_rows(),
        acc_bits: arch.groups * crate::arch::ACC_WORD_BITS,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_high_half_of_an_opcode_names_its_queue() {
        for i in INSTRUCTIONS {
            let high = i.queue.map_or(0, |q| q.index() as u8 + 1);
            assert_eq!(i.op as u8 >> 4, high, "{}", i.mnemonic);
            assert!(!super::super::ident(i.mnemonic).contains('.'));
        }
    }

    #[test]
    fn every_register_is_readable() {
        let config = include_str!("../../../configs/tiny.toml");
        let arch = Arch::new(&toml::from_str(config).expect("tiny.toml parses"));
        for r in REGISTERS {
            assert!(register_value(&arch, r.name).is_some(), "{}", r.name);
        }
    }
}
