// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `brickwork disasm`.

use crate::cli::Disasm;
use crate::{evaluate, Failure};
use brickwork_compiler::program::Program;
use hdl_gen::isa::{Instr, Op};
use std::fmt::Write;

/// The program as text: one instruction per line with its number; layers are named at their marks.
pub fn run(arguments: &Disasm) -> Result<String, Failure> {
    let program = evaluate::load_program(&arguments.program)?;
    let info = &program.info;
    let mut text = format!(
        "# {}: {} instructions for configuration {} ({:016x})\n",
        info.name,
        program.instrs.len(),
        info.arch_name,
        info.arch_hash
    );
    for (i, instr) in program.instrs.iter().enumerate() {
        let _ = writeln!(text, "{i:6}  {instr}{}", comment(&program, *instr));
    }
    Ok(text)
}

fn comment(program: &Program, instr: Instr) -> String {
    if instr.op() != Some(Op::PostMark) {
        return String::new();
    }
    let layer = program.info.layers.iter().find(|l| l.mark as i64 == instr.get("id"));
    layer.map_or(String::new(), |l| format!("   # end of {} ({})", l.name, l.op))
}
