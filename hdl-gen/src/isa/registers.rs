// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Registers and error codes: what software sees beside the instructions.

use std::fmt;

/// How software may use a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    ReadOnly,
    ReadWrite,
    /// Reads as 0; a written 1 acts once.
    WriteOneActs,
    /// Reads the flag; a written 1 clears it.
    WriteOneClears,
}

/// One AXI-Lite register of 32 bits.
#[derive(Clone, Copy, Debug)]
pub struct Register {
    pub name: &'static str,
    /// Byte offset.
    pub offset: u32,
    pub access: Access,
    pub doc: &'static str,
}

const fn r(name: &'static str, offset: u32, access: Access, doc: &'static str) -> Register {
    Register { name, offset, access, doc }
}

/// Value of the `ID` register: "BRWK".
pub const ID_VALUE: u32 = 0x4252_574b;
/// Value of the `VERSION` register: major 16, minor 8, patch 8 bits.
pub const VERSION_VALUE: u32 = 0x0000_0200;

/// The register map.
pub const REGISTERS: &[Register] = &[
    r("ID", 0x00, Access::ReadOnly, "0x4252574b, \"BRWK\""),
    r("VERSION", 0x04, Access::ReadOnly, "hardware version: major 16, minor 8, patch 8 bits"),
    r("HASH_LO", 0x08, Access::ReadOnly, "configuration hash, low word"),
    r("HASH_HI", 0x0c, Access::ReadOnly, "configuration hash, high word"),
    r("CTRL", 0x10, Access::WriteOneActs, "bit 0 start, bit 1 soft reset"),
    r("STATUS", 0x14, Access::ReadOnly, "bit 0 busy, bit 1 done, bit 2 error"),
    r("IRQ_ENABLE", 0x18, Access::ReadWrite, "bit 0 done, bit 1 error"),
    r("IRQ_STATUS", 0x1c, Access::WriteOneClears, "bit 0 done, bit 1 error"),
    r("ERROR_CODE", 0x20, Access::ReadOnly, "see the error table"),
    r("ERROR_INSTR", 0x24, Access::ReadOnly, "number of the instruction that failed"),
    r("PROGRAM", 0x28, Access::ReadWrite, "byte address of the program, a multiple of 16"),
    r("BASE0", 0x30, Access::ReadWrite, "byte address of region 0 (constants), a multiple of 8"),
    r("BASE1", 0x34, Access::ReadWrite, "byte address of region 1 (input)"),
    r("BASE2", 0x38, Access::ReadWrite, "byte address of region 2 (output)"),
    r("BASE3", 0x3c, Access::ReadWrite, "byte address of region 3 (scratch)"),
    r("WATCHDOG", 0x40, Access::ReadWrite, "cycles without progress before an error; 0 = off"),
    r("CYCLES_LO", 0x44, Access::ReadOnly, "cycles of the present or last run, low word"),
    r("CYCLES_HI", 0x48, Access::ReadOnly, "high word"),
    r("PASS_BUSY", 0x4c, Access::ReadOnly, "cycles in which the array was fed"),
    r("PASS_WAIT_TOKEN", 0x50, Access::ReadOnly, "cycles in which the pass queue waited for a token"),
    r("PASS_WAIT_WGT", 0x54, Access::ReadOnly, "cycles in which a pass waited for its weights"),
    r("LOAD_BUSY", 0x58, Access::ReadOnly, "cycles in which the load unit worked"),
    r("POST_BUSY", 0x5c, Access::ReadOnly, "cycles in which post-processing issued beats"),
    r("WGT_BUSY", 0x60, Access::ReadOnly, "cycles in which weights were shifted in"),
];

/// A flag of a register.
#[derive(Clone, Copy, Debug)]
pub struct Flag {
    pub register: &'static str,
    pub name: &'static str,
    pub bit: u32,
}

impl Flag {
    pub const fn mask(&self) -> u32 {
        1 << self.bit
    }
}

const fn flag(register: &'static str, name: &'static str, bit: u32) -> Flag {
    Flag { register, name, bit }
}

/// Flags of CTRL: begins a run; breaks one off.
pub const CTRL_START: Flag = flag("CTRL", "START", 0);
pub const CTRL_RESET: Flag = flag("CTRL", "RESET", 1);
/// Flags of STATUS.
pub const STATUS_BUSY: Flag = flag("STATUS", "BUSY", 0);
pub const STATUS_DONE: Flag = flag("STATUS", "DONE", 1);
pub const STATUS_ERROR: Flag = flag("STATUS", "ERROR", 2);

/// All flags.
pub const FLAGS: &[Flag] = &[
    CTRL_START,
    CTRL_RESET,
    STATUS_BUSY,
    STATUS_DONE,
    STATUS_ERROR,
    flag("IRQ_ENABLE", "DONE", 0),
    flag("IRQ_ENABLE", "ERROR", 1),
    flag("IRQ_STATUS", "DONE", 0),
    flag("IRQ_STATUS", "ERROR", 1),
];

/// What stops a run. The discriminant is the value of `ERROR_CODE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u32)]
pub enum ErrorCode {
    None = 0,
    /// Unknown opcode, or `begin` in the middle, or no `begin` at the start.
    BadOpcode = 1,
    /// Operand outside what the configuration has.
    BadOperand = 2,
    /// The program was made for another configuration.
    WrongConfig = 3,
    /// Read answered SLVERR or DECERR.
    BusRead = 4,
    /// Write answered SLVERR or DECERR.
    BusWrite = 5,
    /// No progress for `WATCHDOG` cycles.
    Watchdog = 6,
    /// A token for a counter that holds 255; `ERROR_INSTR` is the next instruction to be dispatched, as for the watchdog.
    TokenOverflow = 7,
}

/// Every value of `ERROR_CODE` with its name and what it means, in order.
#[rustfmt::skip]
pub const ERRORS: &[(ErrorCode, &str, &str)] = &[
    (ErrorCode::None, "none", "no error"),
    (ErrorCode::BadOpcode, "bad opcode", "unknown opcode, or `begin` in the middle, or no `begin` at the start"),
    (ErrorCode::BadOperand, "bad operand", "operand outside what the configuration has"),
    (ErrorCode::WrongConfig, "wrong configuration", "the program was made for another configuration"),
    (ErrorCode::BusRead, "bus read", "a read answered SLVERR or DECERR"),
    (ErrorCode::BusWrite, "bus write", "a write answered SLVERR or DECERR"),
    (ErrorCode::Watchdog, "watchdog", "no progress for `WATCHDOG` cycles; `ERROR_INSTR` is the next instruction to be dispatched"),
    (ErrorCode::TokenOverflow, "token overflow",
        "a token for a counter that holds 255; `ERROR_INSTR` is the next instruction to be dispatched"),
];

impl ErrorCode {
    /// `None` for a code that the hardware does not have.
    pub fn from_bits(v: u32) -> Option<Self> {
        ERRORS.iter().map(|e| e.0).find(|c| *c as u32 == v)
    }
    pub fn name(self) -> &'static str {
        ERRORS[self as usize].1
    }
    pub fn doc(self) -> &'static str {
        ERRORS[self as usize].2
    }
}
impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name(), self.doc())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_table_is_in_order_of_the_codes() {
        for (i, (code, _, _)) in ERRORS.iter().enumerate() {
            assert_eq!(*code as usize, i);
            assert_eq!(ErrorCode::from_bits(i as u32), Some(*code));
        }
        assert_eq!(ErrorCode::from_bits(ERRORS.len() as u32), None);
    }

    #[test]
    fn flags_are_those_that_the_documentation_names() {
        for flag in FLAGS {
            let register = REGISTERS.iter().find(|r| r.name == flag.register).expect("the register exists");
            let text = format!("bit {}", flag.bit);
            let at = register.doc.find(&text).unwrap_or_else(|| panic!("{}: no {text}", register.name));
            let name = register.doc[at + text.len()..].split(',').next().unwrap_or("").to_ascii_uppercase();
            assert!(name.ends_with(flag.name), "{}.{}: {name}", flag.register, flag.name);
        }
    }

    #[test]
    fn registers_have_distinct_aligned_offsets() {
        for (i, a) in REGISTERS.iter().enumerate() {
            assert_eq!(a.offset % 4, 0);
            assert!(REGISTERS[..i].iter().all(|b| b.offset != a.offset), "{}", a.name);
        }
    }
}
