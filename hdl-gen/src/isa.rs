// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The instruction set and the register map: one table each.
//!
//! Encoder, decoder, disassembler, machine model, Verilog and `docs/isa.md` are all made from [`INSTRUCTIONS`] and
//! [`REGISTERS`]; no other place knows a bit position.
//!
//! An instruction has 128 bits, little-endian in memory:
//!
//! | bits | meaning |
//! |---|---|
//! | 127:120 | opcode |
//! | 119:116 | `wait`: bit *s* set = take one token of counter (queue *s* -> own queue) before starting |
//! | 115:112 | `signal`: bit *d* set = give one token to counter (own queue -> queue *d*) when finished |
//! | 111:0 | operands, see the table |

mod registers;

pub use registers::{
    Access, ErrorCode, Flag, Register, CTRL_RESET, CTRL_START, ERRORS, FLAGS, ID_VALUE, REGISTERS,
    STATUS_BUSY, STATUS_DONE, STATUS_ERROR, VERSION_VALUE,
};

use std::fmt;

/// Bits of one instruction.
pub const INSTR_BITS: u32 = 128;
/// Bytes of one instruction in memory.
pub const INSTR_BYTES: u64 = 16;
const OPCODE: (u32, u32) = (120, 8);
const WAIT: (u32, u32) = (116, 4);
const SIGNAL: (u32, u32) = (112, 4);

/// In-order instruction queues. The discriminant is the bit number in `wait` and `signal`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Queue {
    Load = 0,
    Wgt = 1,
    Pass = 2,
    Post = 3,
}

impl Queue {
    pub const ALL: [Queue; 4] = [Queue::Load, Queue::Wgt, Queue::Pass, Queue::Post];

    pub fn index(self) -> usize {
        self as usize
    }
    /// Mask bit of this queue in `wait` and `signal`.
    pub fn bit(self) -> u8 {
        1 << self.index()
    }
    pub fn name(self) -> &'static str {
        ["load", "wgt", "pass", "post"][self.index()]
    }
}

/// One operand of an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    pub name: &'static str,
    /// Lowest bit.
    pub lo: u32,
    /// Width in bits, 1..=64.
    pub width: u32,
    /// Two's complement.
    pub signed: bool,
    pub doc: &'static str,
}

/// One instruction.
#[derive(Clone, Copy, Debug)]
pub struct InstrDef {
    pub op: Op,
    pub mnemonic: &'static str,
    /// `None`: executed by the dispatcher itself.
    pub queue: Option<Queue>,
    pub doc: &'static str,
    pub fields: &'static [Field],
}

/// Opcodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Op {
    Begin = 0x01,
    End = 0x02,
    LoadNop = 0x10,
    Load = 0x11,
    WgtNop = 0x20,
    WgtShift = 0x21,
    PassNop = 0x30,
    PassShape = 0x31,
    PassJump01 = 0x32,
    PassJump23 = 0x33,
    Pass = 0x34,
    PostNop = 0x40,
    PostMode = 0x41,
    PostOut = 0x42,
    PostDram = 0x43,
    PostAdd = 0x44,
    Post = 0x45,
    PostMark = 0x46,
}

/// Destination of a `Load`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum LoadDst {
    /// Activation banks; one word = 4 plane-words of `lanes` bits. Port 0 only.
    Act = 0,
    /// Weight buffer; one word = the columns of one fusion group in one row.
    Wgt = 1,
    /// Parameter buffer; one word = one channel's requantization parameters.
    Param = 2,
    /// Tap table; one word = one row's address and coordinate offsets.
    Tap = 3,
    /// Activation function table; one word = one entry.
    Table = 4,
}

impl LoadDst {
    pub const ALL: [LoadDst; 5] = [LoadDst::Act, LoadDst::Wgt, LoadDst::Param, LoadDst::Tap, LoadDst::Table];
    pub fn from_bits(v: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|d| *d as u64 == v)
    }
}

/// What happens to the values of one pooling window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum WindowOp {
    None = 0,
    /// Maximum of the requantized values.
    Max = 1,
    /// Sum of the accumulators, before the multiplication; the bias is added once.
    Sum = 2,
}

const fn f(name: &'static str, lo: u32, width: u32, doc: &'static str) -> Field {
    Field { name, lo, width, signed: false, doc }
}
const fn s(name: &'static str, lo: u32, width: u32, doc: &'static str) -> Field {
    Field { name, lo, width, signed: true, doc }
}

/// The instruction table.
pub const INSTRUCTIONS: &[InstrDef] = &[
    InstrDef { op: Op::Begin, mnemonic: "begin", queue: None,
        doc: "First instruction of a program; refused unless `hash` is the configuration hash.",
        fields: &[f("hash", 0, 64, "configuration hash")] },
    InstrDef { op: Op::End, mnemonic: "end", queue: None,
        doc: "Last instruction: when every queue is empty and every unit idle the run is done.",
        fields: &[] },
    InstrDef { op: Op::LoadNop, mnemonic: "load.nop", queue: Some(Queue::Load),
        doc: "Moves tokens only.", fields: &[] },
    InstrDef { op: Op::Load, mnemonic: "load", queue: Some(Queue::Load),
        doc: "DRAM to an on-chip buffer: `rows` rows of `words` buffer words, written to consecutive buffer words from `base`. \
              Source rows are `pitch` apart. `act` uses read port 0 alone; the others are striped over all read ports: \
              port i reads the i-th part of the block, every part words * beats-per-word * 8 bytes long (`rows` must be 1).",
        fields: &[
            f("offset", 0, 32, "byte offset in the region, a multiple of 8"),
            f("region", 32, 2, "base address register"),
            f("dst", 34, 3, "0 act, 1 wgt, 2 param, 3 tap, 4 table"),
            f("base", 37, 16, "first buffer word"),
            f("words", 53, 16, "buffer words per row, at least 1"),
            f("rows", 69, 12, "rows, at least 1"),
            f("pitch", 81, 24, "distance of source rows in units of 8 bytes"),
        ] },
    InstrDef { op: Op::WgtNop, mnemonic: "wgt.nop", queue: Some(Queue::Wgt),
        doc: "Moves tokens only.", fields: &[] },
    InstrDef { op: Op::WgtShift, mnemonic: "wgt.shift", queue: Some(Queue::Wgt),
        doc: "Weight buffer to shadow registers, tap table to shadow tap registers. For each row in turn `groups` words are \
              shifted in, the word of group `groups - 1` first. Rows from `rows` on are switched off. Waits until the shadow is free.",
        fields: &[
            f("addr", 0, 16, "first weight buffer word"),
            f("rows", 16, 6, "rows in use, 1..=array rows"),
            f("groups", 22, 8, "fusion groups in use, 1..=groups"),
            f("tap", 30, 12, "first tap table entry; row r takes entry tap + r"),
        ] },
    InstrDef { op: Op::PassNop, mnemonic: "pass.nop", queue: Some(Queue::Pass),
        doc: "Moves tokens only.", fields: &[] },
    InstrDef { op: Op::PassShape, mnemonic: "pass.shape", queue: Some(Queue::Pass),
        doc: "Loop counts and bounds of the following passes.",
        fields: &[
            f("n0", 0, 12, "turns of loop 0 (innermost), minus 1"),
            f("n1", 12, 12, "turns of loop 1, minus 1"),
            f("n2", 24, 12, "turns of loop 2, minus 1"),
            f("n3", 36, 12, "turns of loop 3 (outermost), minus 1"),
            f("h", 48, 12, "a tap reads real data where 0 <= y + dy < h ..."),
            f("w", 60, 12, "... and 0 <= x + dx < w, else the pad value"),
            f("pad", 72, 16, "pad value: bit 15 is the first plane streamed, bit 14 the second, ..."),
        ] },
    InstrDef { op: Op::PassJump01, mnemonic: "pass.jump01", queue: Some(Queue::Pass),
        doc: "What is added to address and coordinates when loop 0 (or 1) steps and all inner loops start over.",
        fields: &[
            s("da0", 0, 16, "address, in plane-words"), s("dy0", 16, 12, "y"), s("dx0", 28, 12, "x"),
            s("da1", 40, 16, "address, in plane-words"), s("dy1", 56, 12, "y"), s("dx1", 68, 12, "x"),
        ] },
    InstrDef { op: Op::PassJump23, mnemonic: "pass.jump23", queue: Some(Queue::Pass),
        doc: "The same for loops 2 and 3.",
        fields: &[
            s("da2", 0, 16, "address, in plane-words"), s("dy2", 16, 12, "y"), s("dx2", 28, 12, "x"),
            s("da3", 40, 16, "address, in plane-words"), s("dy3", 56, 12, "y"), s("dx3", 68, 12, "x"),
        ] },
    InstrDef { op: Op::Pass, mnemonic: "pass", queue: Some(Queue::Pass),
        doc: "Stream all pixels of the loop nest through the array, `steps` steps each; pixel m goes to accumulator `acc + m`.",
        fields: &[
            f("addr", 0, 16, "plane-word address of the first pixel"),
            s("y", 16, 12, "y of the first pixel"),
            s("x", 28, 12, "x of the first pixel"),
            f("acc", 40, 12, "first accumulator"),
            f("steps", 52, 4, "steps per pixel, minus 1"),
            f("act_signed", 56, 1, "the first plane counts negative"),
            f("wgt_log2", 57, 2, "log2 of the weight bits (0..=3)"),
            f("wgt_signed", 59, 1, "the top weight plane counts negative"),
            f("swap", 60, 1, "take the shadow weights and taps first"),
            f("overwrite", 61, 1, "start the accumulators anew"),
            f("shift8", 62, 1, "multiply the old accumulator by 256 first (8-bit weight mode only)"),
        ] },
    InstrDef { op: Op::PostNop, mnemonic: "post.nop", queue: Some(Queue::Post),
        doc: "Moves tokens only.", fields: &[] },
    InstrDef { op: Op::PostMode, mnemonic: "post.mode", queue: Some(Queue::Post),
        doc: "Arithmetic of the following `post`s.",
        fields: &[
            f("rounding", 0, 3, "0 floor, 1 half up, 2 half even, 3 TFLite (half up at 31, then half away), 4 float32 (also 5 to 7)"),
            s("zp", 3, 17, "output zero point, added after rounding"),
            s("lo", 20, 17, "lower clamp, after the zero point"),
            s("hi", 37, 17, "upper clamp"),
            f("raw", 54, 1, "1: 32-bit result, no zero point, clamp, table or maximum"),
            f("table", 55, 1, "1: result = table[clamped & 255]"),
            f("window", 56, 2, "0 none, 1 maximum, 2 sum"),
            f("bipolar", 58, 1, "1: accumulator value = S - 2 P, S the sum of the activations"),
            f("add", 59, 1, "1: addition of two operands, see post.add"),
            f("wgt_log2", 60, 2, "log2 of the weight bits of the passes"),
            f("shl20", 62, 1, "1: the accumulator value counts 2^20 times"),
            f("dram", 63, 1, "0: results go to the activation banks, 1: to DRAM"),
            f("int32", 64, 1, "0: bit-planes, 1: one 32-bit word per value (DRAM only)"),
            f("planes", 65, 4, "planes of the result, minus 1; the first plane is the most significant"),
            f("slots", 69, 3, "plane slots per channel block: 0: 1, 1: 2, 2: 4, 3: 8, 4: 12, 5: 16"),
            f("gap", 72, 4, "idle cycles after a channel block (bit-planes) or beat (int32)"),
        ] },
    InstrDef { op: Op::PostOut, mnemonic: "post.out", queue: Some(Queue::Post),
        doc: "Where the results of the following `post`s go in the banks (plane-word addresses).",
        fields: &[
            f("nx", 0, 12, "results per row, minus 1"),
            s("dx", 12, 16, "address step to the next result in the row"),
            s("dy", 28, 16, "address step from the last result of a row to the first of the next"),
            s("db", 44, 16, "address step to the next channel block"),
        ] },
    InstrDef { op: Op::PostDram, mnemonic: "post.dram", queue: Some(Queue::Post),
        doc: "Where the results go in DRAM: words are written in order, `words` per row, rows `pitch` apart.",
        fields: &[
            f("offset", 0, 32, "byte offset in the region, a multiple of 8"),
            f("region", 32, 2, "base address register"),
            f("words", 34, 24, "64-bit words per row, at least 1"),
            f("pitch", 58, 24, "distance of rows in units of 8 bytes"),
        ] },
    InstrDef { op: Op::PostAdd, mnemonic: "post.add", queue: Some(Queue::Post),
        doc: "Second operand of an addition: same order of beats, from other groups, accumulators and parameters.",
        fields: &[
            f("beat", 0, 10, "beats from operand A to operand B"),
            f("acc", 10, 12, "accumulators from operand A to operand B"),
            f("param_b", 22, 12, "parameter words (of `requant lanes` channels) from operand A to operand B"),
            f("param_s", 34, 12, "from operand A to the parameters of the sum"),
        ] },
    InstrDef { op: Op::Post, mnemonic: "post", queue: Some(Queue::Post),
        doc: "Accumulators to results: for each result pixel, for each tile, for each beat of `requant lanes` channels, for each \
              pixel of the window.",
        fields: &[
            f("acc", 0, 12, "first accumulator"),
            f("pixels", 12, 12, "result pixels, minus 1"),
            f("window", 24, 12, "accumulators per result pixel, minus 1"),
            f("tiles", 36, 6, "channel tiles, minus 1"),
            f("tile_acc", 42, 12, "accumulators from one tile to the next"),
            f("beats", 54, 10, "beats per tile, minus 1"),
            f("beat", 64, 10, "first beat of a tile"),
            f("param", 74, 12, "parameter word of the first beat; counts up over beats and tiles"),
            f("out", 86, 16, "plane-word address of the first result"),
            f("last_lanes", 102, 5, "valid channels of the last block of a pixel, minus 1; lanes beyond are written as 0"),
        ] },
    InstrDef { op: Op::PostMark, mnemonic: "post.mark", queue: Some(Queue::Post),
        doc: "Everything before in this queue is finished: note the time of layer `id`.",
        fields: &[f("id", 0, 16, "layer number")] },
];

impl Op {
    pub fn def(self) -> &'static InstrDef {
        INSTRUCTIONS.iter().find(|d| d.op == self).expect("every opcode stands in the table")
    }
    pub fn from_bits(bits: u8) -> Option<Op> {
        INSTRUCTIONS.iter().map(|d| d.op).find(|o| *o as u8 == bits)
    }
}

/// A value that does not fit its field, or a field that the instruction does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodeError {
    pub mnemonic: &'static str,
    pub field: String,
    pub value: i64,
    /// Allowed range; `None` when there is no such field.
    pub range: Option<(i64, i64)>,
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.range {
            Some((lo, hi)) => write!(
                f,
                "operand `{}` of `{}` is {}, outside {lo}..={hi}",
                self.field, self.mnemonic, self.value
            ),
            None => write!(f, "`{}` has no operand `{}`", self.mnemonic, self.field),
        }
    }
}
impl std::error::Error for EncodeError {}

impl Field {
    /// Smallest and largest value that the field holds.
    pub fn range(&self) -> (i64, i64) {
        match (self.signed, self.width) {
            (true, w) => (-(1i64 << (w - 1)), (1i64 << (w - 1)) - 1),
            (false, w) if w >= 63 => (i64::MIN, i64::MAX),
            (false, w) => (0, (1i64 << w) - 1),
        }
    }
    /// Verilog part select, e.g. `[15:0]`.
    pub fn select(&self) -> String {
        match self.width {
            1 => format!("[{}]", self.lo),
            w => format!("[{}:{}]", self.lo + w - 1, self.lo),
        }
    }
}

impl InstrDef {
    pub fn field(&self, name: &str) -> Option<&'static Field> {
        self.fields.iter().find(|f| f.name == name)
    }
}

fn bits(v: u128, lo: u32, width: u32) -> u64 {
    ((v >> lo) & ((1u128 << width) - 1)) as u64
}

/// One encoded instruction.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Instr(pub u128);

impl Instr {
    /// The instruction with all operands 0.
    pub fn new(op: Op) -> Self {
        Instr((op as u8 as u128) << OPCODE.0)
    }
    /// Sets one operand. Errors: no such operand, or the value does not fit.
    pub fn with(self, field: &str, value: i64) -> Result<Self, EncodeError> {
        let def = self.op().expect("made by `new`").def();
        let err = |range| EncodeError { mnemonic: def.mnemonic, field: field.into(), value, range };
        let fd = def.field(field).ok_or_else(|| err(None))?;
        let (lo, hi) = fd.range();
        if value < lo || value > hi {
            return Err(err(Some((lo, hi))));
        }
        let mask = ((1u128 << fd.width) - 1) << fd.lo;
        Ok(Instr((self.0 & !mask) | (((value as u128) << fd.lo) & mask)))
    }
    /// Waits for one token of each queue in the mask (see [`Queue::bit`]).
    pub fn wait(self, mask: u8) -> Self {
        Instr(self.0 | ((mask as u128 & 0xf) << WAIT.0))
    }
    /// Gives one token to each queue in the mask when finished.
    pub fn signal(self, mask: u8) -> Self {
        Instr(self.0 | ((mask as u128 & 0xf) << SIGNAL.0))
    }
    pub fn opcode(self) -> u8 {
        bits(self.0, OPCODE.0, OPCODE.1) as u8
    }
    /// `None` for an illegal opcode.
    pub fn op(self) -> Option<Op> {
        Op::from_bits(self.opcode())
    }
    pub fn wait_mask(self) -> u8 {
        bits(self.0, WAIT.0, WAIT.1) as u8
    }
    pub fn signal_mask(self) -> u8 {
        bits(self.0, SIGNAL.0, SIGNAL.1) as u8
    }
    /// Value of an operand, sign-extended where the field is signed. The instruction must have it.
    pub fn get(self, field: &str) -> i64 {
        let def = self.op().expect("legal opcode").def();
        let fd = def.field(field).unwrap_or_else(|| panic!("{} has no `{field}`", def.mnemonic));
        let raw = bits(self.0, fd.lo, fd.width);
        if fd.signed && fd.width < 64 && (raw >> (fd.width - 1)) & 1 == 1 {
            raw as i64 - (1i64 << fd.width)
        } else {
            raw as i64
        }
    }
    /// Value of a one-bit operand.
    pub fn flag(self, field: &str) -> bool {
        self.get(field) != 0
    }
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.to_le_bytes()
    }
    pub fn from_bytes(b: [u8; 16]) -> Self {
        Instr(u128::from_le_bytes(b))
    }
}

impl fmt::Display for Instr {
    /// Assembler text: `pass addr=12 y=-1 ... wait=load signal=post`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(op) = self.op() else {
            return write!(f, "illegal 0x{:032x}", self.0);
        };
        let def = op.def();
        write!(f, "{}", def.mnemonic)?;
        for fd in def.fields {
            if fd.width == 64 {
                write!(f, " {}=0x{:016x}", fd.name, self.get(fd.name))?;
            } else {
                write!(f, " {}={}", fd.name, self.get(fd.name))?;
            }
        }
        for (word, mask) in [("wait", self.wait_mask()), ("signal", self.signal_mask())] {
            let names: Vec<_> = Queue::ALL.iter().filter(|q| mask & q.bit() != 0).map(|q| q.name()).collect();
            if !names.is_empty() {
                write!(f, " {word}={}", names.join("+"))?;
            }
        }
        Ok(())
    }
}
impl fmt::Debug for Instr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_do_not_overlap_and_stay_below_the_header() {
        for d in INSTRUCTIONS {
            let mut used = 0u128;
            for fd in d.fields {
                assert!(fd.lo + fd.width <= SIGNAL.0, "{}.{} reaches the header", d.mnemonic, fd.name);
                let m = ((1u128 << fd.width) - 1) << fd.lo;
                assert_eq!(used & m, 0, "{}.{} overlaps", d.mnemonic, fd.name);
                used |= m;
            }
        }
    }

    #[test]
    fn every_field_keeps_its_extreme_values() {
        for d in INSTRUCTIONS {
            for fd in d.fields {
                let (lo, hi) = fd.range();
                for v in [lo, hi, 0] {
                    let i = Instr::new(d.op).with(fd.name, v).expect("in range");
                    assert_eq!(i.get(fd.name), v, "{}.{}", d.mnemonic, fd.name);
                    assert_eq!(i.op(), Some(d.op));
                }
                if fd.width < 63 {
                    assert!(Instr::new(d.op).with(fd.name, hi + 1).is_err());
                }
            }
        }
    }
}
