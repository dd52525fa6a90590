# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Registers and error codes. Made by `brickwork isa --constants` from hdl-gen/src/isa/registers.rs; `make bless` writes it. Do not edit."""

ID_VALUE = 0x4252574b
VERSION_VALUE = 0x00000200

# Byte offsets.
REG_ID = 0x00  # 0x4252574b, "BRWK"
REG_VERSION = 0x04  # hardware version: major 16, minor 8, patch 8 bits
REG_HASH_LO = 0x08  # configuration hash, low word
REG_HASH_HI = 0x0c  # configuration hash, high word
REG_CTRL = 0x10  # bit 0 start, bit 1 soft reset
REG_STATUS = 0x14  # bit 0 busy, bit 1 done, bit 2 error
REG_IRQ_ENABLE = 0x18  # bit 0 done, bit 1 error
REG_IRQ_STATUS = 0x1c  # bit 0 done, bit 1 error
REG_ERROR_CODE = 0x20  # see the error table
REG_ERROR_INSTR = 0x24  # number of the instruction that failed
REG_PROGRAM = 0x28  # byte address of the program, a multiple of 16
REG_BASE0 = 0x30  # byte address of region 0 (constants), a multiple of 8
REG_BASE1 = 0x34  # byte address of region 1 (input)
REG_BASE2 = 0x38  # byte address of region 2 (output)
REG_BASE3 = 0x3c  # byte address of region 3 (scratch)
REG_WATCHDOG = 0x40  # cycles without progress before an error; 0 = off
REG_CYCLES_LO = 0x44  # cycles of the present or last run, low word
REG_CYCLES_HI = 0x48  # high word
REG_PASS_BUSY = 0x4c  # cycles in which the array was fed
REG_PASS_WAIT_TOKEN = 0x50  # cycles in which the pass queue waited for a token
REG_PASS_WAIT_WGT = 0x54  # cycles in which a pass waited for its weights
REG_LOAD_BUSY = 0x58  # cycles in which the load unit worked
REG_POST_BUSY = 0x5c  # cycles in which post-processing issued beats
REG_WGT_BUSY = 0x60  # cycles in which weights were shifted in

# Flags.
CTRL_START = 0x1
CTRL_RESET = 0x2
STATUS_BUSY = 0x1
STATUS_DONE = 0x2
STATUS_ERROR = 0x4
IRQ_ENABLE_DONE = 0x1
IRQ_ENABLE_ERROR = 0x2
IRQ_STATUS_DONE = 0x1
IRQ_STATUS_ERROR = 0x2

# Values of ERROR_CODE.
ERROR_NONE = 0  # no error
ERROR_BAD_OPCODE = 1  # unknown opcode, or begin in the middle, or no begin at the start
ERROR_BAD_OPERAND = 2  # operand outside what the configuration has
ERROR_WRONG_CONFIGURATION = 3  # the program was made for another configuration
ERROR_BUS_READ = 4  # a read answered SLVERR or DECERR
ERROR_BUS_WRITE = 5  # a write answered SLVERR or DECERR
ERROR_WATCHDOG = 6  # no progress for WATCHDOG cycles; ERROR_INSTR is the next instruction to be dispatched
ERROR_TOKEN_OVERFLOW = 7  # a token for a counter that holds 255; ERROR_INSTR is the next instruction to be dispatched
ERROR_NAMES = [
    "none",
    "bad opcode",
    "bad operand",
    "wrong configuration",
    "bus read",
    "bus write",
    "watchdog",
    "token overflow",
]
