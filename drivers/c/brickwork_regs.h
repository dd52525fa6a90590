/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* brickwork_regs.h : registers and error codes. Made by brickwork isa --constants from hdl-gen/src/isa/registers.rs; make bless writes it. Do not edit. */
#ifndef BRICKWORK_REGS_H
#define BRICKWORK_REGS_H

#define BRICKWORK_ID_VALUE 0x4252574bu
#define BRICKWORK_VERSION_VALUE 0x00000200u

/* Byte offsets. */
#define BRICKWORK_REG_ID 0x00u /* 0x4252574b, "BRWK" */
#define BRICKWORK_REG_VERSION 0x04u /* hardware version: major 16, minor 8, patch 8 bits */
#define BRICKWORK_REG_HASH_LO 0x08u /* configuration hash, low word */
#define BRICKWORK_REG_HASH_HI 0x0cu /* configuration hash, high word */
#define BRICKWORK_REG_CTRL 0x10u /* bit 0 start, bit 1 soft reset */
#define BRICKWORK_REG_STATUS 0x14u /* bit 0 busy, bit 1 done, bit 2 error */
#define BRICKWORK_REG_IRQ_ENABLE 0x18u /* bit 0 done, bit 1 error */
#define BRICKWORK_REG_IRQ_STATUS 0x1cu /* bit 0 done, bit 1 error */
#define BRICKWORK_REG_ERROR_CODE 0x20u /* see the error table */
#define BRICKWORK_REG_ERROR_INSTR 0x24u /* number of the instruction that failed */
#define BRICKWORK_REG_PROGRAM 0x28u /* byte address of the program, a multiple of 16 */
#define BRICKWORK_REG_BASE0 0x30u /* byte address of region 0 (constants), a multiple of 8 */
#define BRICKWORK_REG_BASE1 0x34u /* byte address of region 1 (input) */
#define BRICKWORK_REG_BASE2 0x38u /* byte address of region 2 (output) */
#define BRICKWORK_REG_BASE3 0x3cu /* byte address of region 3 (scratch) */
#define BRICKWORK_REG_WATCHDOG 0x40u /* cycles without progress before an error; 0 = off */
#define BRICKWORK_REG_CYCLES_LO 0x44u /* cycles of the present or last run, low word */
#define BRICKWORK_REG_CYCLES_HI 0x48u /* high word */
#define BRICKWORK_REG_PASS_BUSY 0x4cu /* cycles in which the array was fed */
#define BRICKWORK_REG_PASS_WAIT_TOKEN 0x50u /* cycles in which the pass queue waited for a token */
#define BRICKWORK_REG_PASS_WAIT_WGT 0x54u /* cycles in which a pass waited for its weights */
#define BRICKWORK_REG_LOAD_BUSY 0x58u /* cycles in which the load unit worked */
#define BRICKWORK_REG_POST_BUSY 0x5cu /* cycles in which post-processing issued beats */
#define BRICKWORK_REG_WGT_BUSY 0x60u /* cycles in which weights were shifted in */

/* Flags. */
#define BRICKWORK_CTRL_START 0x1u
#define BRICKWORK_CTRL_RESET 0x2u
#define BRICKWORK_STATUS_BUSY 0x1u
#define BRICKWORK_STATUS_DONE 0x2u
#define BRICKWORK_STATUS_ERROR 0x4u
#define BRICKWORK_IRQ_ENABLE_DONE 0x1u
#define BRICKWORK_IRQ_ENABLE_ERROR 0x2u
#define BRICKWORK_IRQ_STATUS_DONE 0x1u
#define BRICKWORK_IRQ_STATUS_ERROR 0x2u

/* Values of ERROR_CODE. */
enum brickwork_error_code {
    BRICKWORK_ERROR_NONE = 0, /* no error */
    BRICKWORK_ERROR_BAD_OPCODE = 1, /* unknown opcode, or begin in the middle, or no begin at the start */
    BRICKWORK_ERROR_BAD_OPERAND = 2, /* operand outside what the configuration has */
    BRICKWORK_ERROR_WRONG_CONFIGURATION = 3, /* the program was made for another configuration */
    BRICKWORK_ERROR_BUS_READ = 4, /* a read answered SLVERR or DECERR */
    BRICKWORK_ERROR_BUS_WRITE = 5, /* a write answered SLVERR or DECERR */
    BRICKWORK_ERROR_WATCHDOG = 6, /* no progress for WATCHDOG cycles; ERROR_INSTR is the next instruction to be dispatched */
    BRICKWORK_ERROR_TOKEN_OVERFLOW = 7, /* a token for a counter that holds 255; ERROR_INSTR is the next instruction to be dispatched */
};
#define BRICKWORK_ERROR_NAMES \
    { "none", "bad opcode", "bad operand", "wrong configuration", "bus read", "bus write", "watchdog", "token overflow" }

#endif
