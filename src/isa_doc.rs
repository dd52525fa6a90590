// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The instruction set, the register map and the error codes as text; `docs/isa.md` is made here.

use hdl_gen::isa::{
    Access, Field, InstrDef, Queue, Register, ERRORS, ID_VALUE, INSTRUCTIONS, REGISTERS, VERSION_VALUE,
};
use std::fmt::Write;

/// The page `docs/isa.md`.
pub fn markdown() -> String {
    let mut page = String::from(HEAD);
    let _ = write!(page, "\nHardware version {}, `ID` 0x{ID_VALUE:08x}.\n", version());
    page.push_str(FORMAT);
    page.push_str("\n## Instructions\n\n| opcode | instruction | queue | meaning |\n|---|---|---|---|\n");
    for d in INSTRUCTIONS {
        let doc = cell(d.doc);
        let link = anchor(d);
        let _ =
            writeln!(page, "| 0x{:02x} | [`{}`](#{link}) | {} | {doc} |", d.op as u8, d.mnemonic, queue(d));
    }
    for d in INSTRUCTIONS {
        instruction(&mut page, d);
    }
    page.push_str(REGISTER_HEAD);
    for r in REGISTERS {
        register(&mut page, r);
    }
    page.push_str("\n## Error codes\n\n| code | name | meaning |\n|---|---|---|\n");
    for (code, name, doc) in ERRORS {
        let _ = writeln!(page, "| {} | {name} | {} |", *code as u32, cell(doc));
    }
    page
}

/// The same for a terminal: one line per instruction with its operands, registers, errors.
pub fn text() -> String {
    let mut text = String::new();
    for d in INSTRUCTIONS {
        let _ = writeln!(text, "0x{:02x} {:<12} {}", d.op as u8, d.mnemonic, d.doc);
        for f in d.fields {
            let _ = writeln!(text, "       {:<10} {:<8} {}{}", f.select(), f.name, sign(f), f.doc);
        }
    }
    text.push('\n');
    for r in REGISTERS {
        let _ = writeln!(text, "0x{:02x} {:<16} {:<3} {}", r.offset, r.name, access(r.access), r.doc);
    }
    text.push('\n');
    for (code, name, doc) in ERRORS {
        let _ = writeln!(text, "{} {name}: {doc}", *code as u32);
    }
    text
}

const HEAD: &str = "# Instruction set and registers\n\n\
    <!-- Made by `brickwork isa --markdown` from hdl-gen/src/isa.rs; `make bless` writes it. Do not edit. -->\n";

const FORMAT: &str = "\n## Format\n\n\
    An instruction has 128 bits and lies in memory with the least significant byte first.\n\n\
    | bits | field | meaning |\n|---|---|---|\n\
    | 127:120 | opcode | see below; any other value is error 1 |\n\
    | 119:116 | `wait` | bit *s* set: take one token of the counter *queue s -> own queue* before starting |\n\
    | 115:112 | `signal` | bit *d* set: give one token to the counter *own queue -> queue d* when finished |\n\
    | 111:0 | operands | see below; bits without a name are 0 |\n\n\
    Queues by bit number: 0 load, 1 wgt, 2 pass, 3 post. Each executes its instructions in order; among each other they keep\n\
    time by tokens alone. Tokens between a queue and itself are a bad operand, and so are tokens of `begin` and `end`.\n";

const REGISTER_HEAD: &str = "\n## Registers\n\n\
    AXI-Lite, 32 bits wide. RO read only, RW read and write, W1S a written 1 acts once, W1C a written 1 clears.\n\n\
    | offset | register | access | meaning |\n|---|---|---|---|\n";

fn version() -> String {
    format!("{}.{}.{}", VERSION_VALUE >> 16, (VERSION_VALUE >> 8) & 0xff, VERSION_VALUE & 0xff)
}

fn queue(d: &InstrDef) -> &'static str {
    d.queue.map_or("dispatcher", Queue::name)
}

/// The anchor that GitHub gives the heading `### pass.shape (0x31)`.
fn anchor(d: &InstrDef) -> String {
    format!("{}-0x{:02x}", d.mnemonic.replace('.', ""), d.op as u8)
}

fn instruction(page: &mut String, d: &InstrDef) {
    let _ = write!(page, "\n### {} (0x{:02x})\n\n{}\n", d.mnemonic, d.op as u8, d.doc);
    if d.fields.is_empty() {
        return;
    }
    page.push_str("\n| bits | operand | type | meaning |\n|---|---|---|---|\n");
    for f in d.fields {
        let bits = f.select();
        let bits = bits.trim_matches(['[', ']']);
        let kind = format!("{}{}", if f.signed { 's' } else { 'u' }, f.width);
        let _ = writeln!(page, "| {bits} | `{}` | {kind} | {} |", f.name, cell(f.doc));
    }
}

fn register(page: &mut String, r: &Register) {
    let _ = writeln!(page, "| 0x{:02x} | `{}` | {} | {} |", r.offset, r.name, access(r.access), cell(r.doc));
}

fn access(access: Access) -> &'static str {
    match access {
        Access::ReadOnly => "RO",
        Access::ReadWrite => "RW",
        Access::WriteOneActs => "W1S",
        Access::WriteOneClears => "W1C",
    }
}

fn sign(f: &Field) -> &'static str {
    if f.signed {
        "(signed) "
    } else {
        ""
    }
}

/// Text that fits a cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "&lt;")
}
