// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Registers and error codes. Made by `brickwork isa --constants` from hdl-gen/src/isa/registers.rs; `make bless` writes it. Do not edit.

/// Value of the register `ID`.
pub const ID_VALUE: u32 = 0x4252574b;
/// Value of the register `VERSION`: major 16, minor 8, patch 8 bits.
pub const VERSION_VALUE: u32 = 0x00000200;

/// Byte offset: 0x4252574b, "BRWK".
pub const REG_ID: u32 = 0x00;

/// Byte offset: hardware version: major 16, minor 8, patch 8 bits.
pub const REG_VERSION: u32 = 0x04;

/// Byte offset: configuration hash, low word.
pub const REG_HASH_LO: u32 = 0x08;

/// Byte offset: configuration hash, high word.
pub const REG_HASH_HI: u32 = 0x0c;

/// Byte offset: bit 0 start, bit 1 soft reset.
pub const REG_CTRL: u32 = 0x10;

/// Byte offset: bit 0 busy, bit 1 done, bit 2 error.
pub const REG_STATUS: u32 = 0x14;

/// Byte offset: bit 0 done, bit 1 error.
pub const REG_IRQ_ENABLE: u32 = 0x18;

/// Byte offset: bit 0 done, bit 1 error.
pub const REG_IRQ_STATUS: u32 = 0x1c;

/// Byte offset: see the error table.
pub const REG_ERROR_CODE: u32 = 0x20;

/// Byte offset: number of the instruction that failed.
pub const REG_ERROR_INSTR: u32 = 0x24;

/// Byte offset: byte address of the program, a multiple of 16.
pub const REG_PROGRAM: u32 = 0x28;

/// Byte offset: byte address of region 0 (constants), a multiple of 8.
pub const REG_BASE0: u32 = 0x30;

/// Byte offset: byte address of region 1 (input).
pub const REG_BASE1: u32 = 0x34;

/// Byte offset: byte address of region 2 (output).
pub const REG_BASE2: u32 = 0x38;

/// Byte offset: byte address of region 3 (scratch).
pub const REG_BASE3: u32 = 0x3c;

/// Byte offset: cycles without progress before an error; 0 = off.
pub const REG_WATCHDOG: u32 = 0x40;

/// Byte offset: cycles of the present or last run, low word.
pub const REG_CYCLES_LO: u32 = 0x44;

/// Byte offset: high word.
pub const REG_CYCLES_HI: u32 = 0x48;

/// Byte offset: cycles in which the array was fed.
pub const REG_PASS_BUSY: u32 = 0x4c;

/// Byte offset: cycles in which the pass queue waited for a token.
pub const REG_PASS_WAIT_TOKEN: u32 = 0x50;

/// Byte offset: cycles in which a pass waited for its weights.
pub const REG_PASS_WAIT_WGT: u32 = 0x54;

/// Byte offset: cycles in which the load unit worked.
pub const REG_LOAD_BUSY: u32 = 0x58;

/// Byte offset: cycles in which post-processing issued beats.
pub const REG_POST_BUSY: u32 = 0x5c;

/// Byte offset: cycles in which weights were shifted in.
pub const REG_WGT_BUSY: u32 = 0x60;

/// Flag of `CTRL`.
pub const CTRL_START: u32 = 0x1;

/// Flag of `CTRL`.
pub const CTRL_RESET: u32 = 0x2;

/// Flag of `STATUS`.
pub const STATUS_BUSY: u32 = 0x1;

/// Flag of `STATUS`.
pub const STATUS_DONE: u32 = 0x2;

/// Flag of `STATUS`.
pub const STATUS_ERROR: u32 = 0x4;

/// Flag of `IRQ_ENABLE`.
pub const IRQ_ENABLE_DONE: u32 = 0x1;

/// Flag of `IRQ_ENABLE`.
pub const IRQ_ENABLE_ERROR: u32 = 0x2;

/// Flag of `IRQ_STATUS`.
pub const IRQ_STATUS_DONE: u32 = 0x1;

/// Flag of `IRQ_STATUS`.
pub const IRQ_STATUS_ERROR: u32 = 0x2;

/// Value of `ERROR_CODE`: no error.
pub const ERROR_NONE: u32 = 0;

/// Value of `ERROR_CODE`: unknown opcode, or begin in the middle, or no begin at the start.
pub const ERROR_BAD_OPCODE: u32 = 1;

/// Value of `ERROR_CODE`: operand outside what the configuration has.
pub const ERROR_BAD_OPERAND: u32 = 2;

/// Value of `ERROR_CODE`: the program was made for another configuration.
pub const ERROR_WRONG_CONFIGURATION: u32 = 3;

/// Value of `ERROR_CODE`: a read answered SLVERR or DECERR.
pub const ERROR_BUS_READ: u32 = 4;

/// Value of `ERROR_CODE`: a write answered SLVERR or DECERR.
pub const ERROR_BUS_WRITE: u32 = 5;

/// Value of `ERROR_CODE`: no progress for WATCHDOG cycles; ERROR_INSTR is the next instruction to be dispatched.
pub const ERROR_WATCHDOG: u32 = 6;

/// Value of `ERROR_CODE`: a token for a counter that holds 255; ERROR_INSTR is the next instruction to be dispatched.
pub const ERROR_TOKEN_OVERFLOW: u32 = 7;

/// Names of the error codes.
pub const ERROR_NAMES: [&str; 8] = [
    "none",
    "bad opcode",
    "bad operand",
    "wrong configuration",
    "bus read",
    "bus write",
    "watchdog",
    "token overflow",
];
