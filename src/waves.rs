// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What makes a recording readable: a GTKWave save file with the signals grouped by unit, and the filter files that turn
//! opcodes, error codes and states into names. All names come from the instruction table, the error table and the Verilog.

use crate::{out_file, Failure};
use hdl_gen::emit;
use hdl_gen::isa::{Op, Queue, ERRORS, INSTRUCTIONS, INSTR_BITS};
use hdl_gen::Arch;
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// Flags of a trace as GTKWave numbers them.
const BINARY: u32 = 0x28;
const HEX: u32 = 0x22;
const DECIMAL: u32 = 0x24;
const FILTERED: u32 = 0x2022;
const GROUP: u32 = 0x80_0200;
const GROUP_END: u32 = 0x100_0200;

const TOP: &str = "top.brickwork_top";
const STORE: &str = "u_post_unit.u_store";
const OPCODE: (u32, u32) = (INSTR_BITS - 8, 8);

/// A filter file: name and its lines `value name`.
type Filter = (&'static str, String);

/// Writes `wave.gtkw` and the folder `wave.names` beside the recording `wave.fst`; the save file's path.
pub fn write(arch: &Arch, recording: &Path) -> Result<PathBuf, Failure> {
    let whole = |p: &Path| std::path::absolute(p).map_err(|e| Failure::file("find", p, e));
    let (save, names) = (recording.with_extension("gtkw"), recording.with_extension("names"));
    for (name, text) in filters(arch)? {
        out_file::write_whole(&names.join(name), text.as_bytes())?;
    }
    let text = save_file(arch, &whole(recording)?, &whole(&save)?, &whole(&names)?);
    out_file::write_whole(&save, text.as_bytes())?;
    Ok(save)
}

/// The filter files.
pub fn filters(arch: &Arch) -> Result<Vec<Filter>, Failure> {
    let opcodes = INSTRUCTIONS.iter().map(|d| (d.op as u64, d.mnemonic.to_string()));
    let errors = ERRORS.iter().map(|(code, name, _)| (*code as u64, name.to_string()));
    Ok(vec![
        ("opcodes.txt", lines(opcodes, 2)),
        ("load_dst.txt", lines(load_destinations(), 1)),
        ("errors.txt", lines(errors, 1)),
        ("store_states.txt", lines(states(arch, "post_store.v", "plan_q")?, 1)),
    ])
}

/// One line for each value, as GTKWave shows it in `digits` hexadecimal digits.
fn lines(values: impl IntoIterator<Item = (u64, String)>, digits: usize) -> String {
    values.into_iter().map(|(value, name)| format!("{value:0digits$X} {name}\n")).collect()
}

/// The destinations of a load as the description of its field lists them: `0 act, 1 wgt, ...`.
fn load_destinations() -> Vec<(u64, String)> {
    let field = Op::Load.def().field("dst").expect("a load has a destination");
    let one = |item: &str| {
        let (value, name) = item.trim().split_once(' ')?;
        Some((value.parse().ok()?, name.to_string()))
    };
    field.doc.split(',').filter_map(one).collect()
}

/// The states of a register: the local parameters of its width that the generated Verilog assigns to it.
fn states(arch: &Arch, file: &str, register: &str) -> Result<Vec<(u64, String)>, Failure> {
    let rtl = emit::rtl_files(arch).map_err(Failure::other)?;
    let text = rtl.iter().find(|f| f.name == file).map_or("", |f| f.text.as_str());
    let assigned = |name: &str| text.contains(&format!("{register} <= {name};"));
    // the text wraps long lines
    let parameters = text.split("localparam [").skip(1).filter_map(|t| t.split(';').next());
    let items = parameters.filter_map(|l| l.split_once(']')).flat_map(|(_, list)| list.split(','));
    let state = |item: &str| {
        let (name, value) = item.split_once('=')?;
        let (_, value) = value.trim().split_once("'d")?;
        Some((value.trim().parse().ok()?, name.trim().to_string()))
    };
    let found: Vec<(u64, String)> = items.filter_map(state).filter(|(_, n)| assigned(n)).collect();
    match found.is_empty() {
        false => Ok(found),
        true => Err(Failure::Other(format!("{file} has no states of {register}; this is a defect"))),
    }
}

/// The text of a save file, line by line.
struct Save {
    text: String,
    names: PathBuf,
}

impl Save {
    fn signal(&mut self, flags: u32, name: &str) {
        let _ = writeln!(self.text, "@{flags:x}\n{TOP}.{name}");
    }

    /// Bits `lo .. lo + width` of a signal of `bits` bits under their own name.
    fn bits(
        &mut self,
        flags: u32,
        filter: Option<&str>,
        name: &str,
        (signal, bits): (&str, u32),
        (lo, width): (u32, u32),
    ) {
        let _ = writeln!(self.text, "@{flags:x}");
        if let Some(filter) = filter {
            let _ = writeln!(self.text, "^1 {}", self.names.join(filter).display());
        }
        let first = bits - lo - width;
        let list: Vec<String> =
            (first..first + width).map(|b| format!("({b}){TOP}.{signal}[{}:0]", bits - 1)).collect();
        let _ = writeln!(self.text, "#{{{name}}} {}", list.join(" "));
    }

    fn filtered(&mut self, filter: &str, name: &str) {
        let _ = writeln!(self.text, "@{FILTERED:x}\n^1 {}\n{TOP}.{name}", self.names.join(filter).display());
    }

    fn group(&mut self, name: &str, content: impl FnOnce(&mut Save)) {
        let _ = writeln!(self.text, "@{GROUP:x}\n-{name}");
        content(self);
        let _ = writeln!(self.text, "@{GROUP_END:x}\n-{name}");
    }

    /// An operand of an instruction.
    fn operand(&mut self, filter: Option<&str>, op: Op, field: &str, queue: Queue) {
        let Some(f) = op.def().field(field) else { return };
        let flags = if filter.is_some() { FILTERED } else { DECIMAL };
        let signal = format!("{}_cmd", queue.name());
        self.bits(
            flags,
            filter,
            &format!("{}.{field}", op.def().mnemonic),
            (&signal, INSTR_BITS),
            (f.lo, f.width),
        );
    }

    /// The command that a queue offers to its unit.
    fn command(&mut self, queue: Queue) {
        let q = queue.name();
        self.bits(
            FILTERED,
            Some("opcodes.txt"),
            &format!("{q} instruction"),
            (&format!("{q}_cmd"), INSTR_BITS),
            OPCODE,
        );
        self.signal(BINARY, &format!("{q}_cmd_valid"));
        self.signal(BINARY, &format!("{q}_cmd_ready"));
        self.signal(DECIMAL, &format!("{q}_cmd_pc[23:0]"));
        self.signal(BINARY, &format!("{q}_busy"));
        self.signal(BINARY, &format!("{q}_signal[3:0]"));
    }
}

/// Operands that are worth a line of their own.
const OPERANDS: [(Queue, &[(Op, &str)]); 4] = [
    (Queue::Load, &[(Op::Load, "base"), (Op::Load, "words"), (Op::Load, "rows")]),
    (Queue::Wgt, &[(Op::WgtShift, "addr"), (Op::WgtShift, "rows"), (Op::WgtShift, "groups")]),
    (
        Queue::Pass,
        &[
            (Op::Pass, "addr"),
            (Op::Pass, "acc"),
            (Op::Pass, "steps"),
            (Op::Pass, "swap"),
            (Op::Pass, "overwrite"),
        ],
    ),
    (
        Queue::Post,
        &[
            (Op::Post, "acc"),
            (Op::Post, "pixels"),
            (Op::Post, "tiles"),
            (Op::Post, "beats"),
            (Op::Post, "out"),
        ],
    ),
];

/// The save file of a recording.
pub fn save_file(arch: &Arch, recording: &Path, save: &Path, names: &Path) -> String {
    let mut s = Save { text: String::new(), names: names.into() };
    let _ = writeln!(
        s.text,
        "[*]\n[*] Signals of {} by unit\n[*]\n[dumpfile] \"{}\"\n[savefile] \"{}\"\n[timestart] 0\n[size] 1500 900\n\
         [pos] -1 -1\n*-10.0 0 -1 -1 -1 -1 -1 -1 -1 -1 -1 -1 -1 -1 -1 -1 -1 -1 -1 -1 -1 -1 -1 -1 -1 -1 -1 -1\n\
         [treeopen] top.\n[treeopen] {TOP}.\n[signals_width] 260",
        arch.config.name,
        recording.display(),
        save.display()
    );
    s.signal(BINARY, "aclk");
    s.signal(DECIMAL, "run_cycle_o[47:0]");
    s.signal(BINARY, "mark_valid_o");
    s.signal(DECIMAL, "mark_id_o[15:0]");
    s.group("control", |s| {
        s.bits(
            FILTERED,
            Some("opcodes.txt"),
            "dispatched instruction",
            ("u_control.u_dispatcher.chk_q", INSTR_BITS),
            OPCODE,
        );
        s.signal(BINARY, "u_control.u_dispatcher.chk_valid_q");
        s.signal(DECIMAL, "u_control.pc[23:0]");
        s.signal(BINARY, "u_control.running_q");
        s.filtered("errors.txt", "u_control.error_code_q[3:0]");
        s.signal(BINARY, "irq_o");
    });
    for (queue, operands) in OPERANDS {
        s.group(super::report::timeline::TITLES[queue.index()], |s| {
            s.command(queue);
            if queue == Queue::Load {
                s.operand(Some("load_dst.txt"), Op::Load, "dst", queue);
            }
            operands.iter().for_each(|(op, field)| s.operand(None, *op, field, queue));
            match queue {
                Queue::Pass => {
                    s.signal(BINARY, "pass_feed");
                    s.signal(BINARY, "pass_wait_wgt");
                }
                Queue::Post => {
                    s.signal(BINARY, "post_issue");
                    s.filtered("store_states.txt", &format!("{STORE}.plan_q[2:0]"));
                }
                Queue::Load => s.signal(BINARY, "load_feed"),
                Queue::Wgt => s.signal(BINARY, "wgt_feed"),
            }
        });
    }
    s.group("memory", |s| {
        let reads = (0..arch.read_ports).map(|p| format!("m_axi_ld{p}"));
        for port in std::iter::once("m_axi_if".to_string()).chain(reads) {
            s.signal(BINARY, &format!("{port}_arvalid"));
            s.signal(HEX, &format!("{port}_araddr[31:0]"));
            s.signal(BINARY, &format!("{port}_rvalid"));
            s.signal(BINARY, &format!("{port}_rready"));
        }
        s.signal(BINARY, "m_axi_st_awvalid");
        s.signal(HEX, "m_axi_st_awaddr[31:0]");
        s.signal(BINARY, "m_axi_st_wvalid");
        s.signal(BINARY, "m_axi_st_wready");
        s.signal(BINARY, "m_axi_st_bvalid");
    });
    s.text
}
