// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The last pass: every access of a finished program lies within its buffer or memory region, and every token that is
//! taken was given. It knows the instructions, not how they were made.

use super::error::CompileErrorKind;
use crate::program::ProgramInfo;
use hdl_gen::isa::{Instr, LoadDst, Op, Queue};
use hdl_gen::Arch;

type Result<T> = std::result::Result<T, CompileErrorKind>;

/// What the checks need of the machine's state.
struct Proof<'a> {
    arch: &'a Arch,
    /// Bytes of the memory regions.
    regions: [usize; 4],
    shape: Instr,
    mode: Instr,
    out: Instr,
    dram: Instr,
    add: Instr,
    /// `[from][to]`
    tokens: [[usize; 4]; 4],
    at: usize,
}

/// Most tokens that a counter holds.
const MOST_TOKENS: usize = 255;

/// Checks a program. Errors: the first access out of bounds, which a compiler without faults does not make.
pub fn check(arch: &Arch, info: &ProgramInfo, constants: usize, instrs: &[Instr]) -> Result<()> {
    let mut proof = Proof {
        arch,
        regions: [constants, info.input_bytes, info.output_bytes, info.scratch_bytes],
        shape: Instr::new(Op::PassShape),
        mode: Instr::new(Op::PostMode),
        out: Instr::new(Op::PostOut),
        dram: Instr::new(Op::PostDram),
        add: Instr::new(Op::PostAdd),
        tokens: [[0; 4]; 4],
        at: 0,
    };
    for (at, instr) in instrs.iter().enumerate() {
        proof.at = at;
        proof.instr(*instr)?;
    }
    let left: usize = proof.tokens.iter().flatten().sum();
    proof.within("tokens left at the end", left, 0)
}

fn get(i: Instr, field: &str) -> usize {
    i.get(field) as usize
}

impl Proof<'_> {
    /// `value` is at most `limit`.
    fn within(&self, what: &'static str, value: usize, limit: usize) -> Result<()> {
        match value <= limit {
            true => Ok(()),
            false => Err(CompileErrorKind::OutOfBounds { what, at: self.at, value, limit }),
        }
    }

    fn instr(&mut self, i: Instr) -> Result<()> {
        let Some(op) = i.op() else {
            return self.within("an opcode", i.opcode() as usize, 0);
        };
        if let Some(queue) = op.def().queue {
            self.tokens(i, queue)?;
        }
        match op {
            Op::Load => self.load(i),
            Op::WgtShift => self.shift(i),
            Op::PassShape => self.keep(i, |p| &mut p.shape),
            Op::Pass => self.pass(i),
            Op::PostMode => self.keep(i, |p| &mut p.mode),
            Op::PostOut => self.keep(i, |p| &mut p.out),
            Op::PostDram => self.keep(i, |p| &mut p.dram),
            Op::PostAdd => self.keep(i, |p| &mut p.add),
            Op::Post => self.post(i),
            _ => Ok(()),
        }
    }

    fn keep(&mut self, i: Instr, place: impl Fn(&mut Self) -> &mut Instr) -> Result<()> {
        *place(self) = i;
        Ok(())
    }

    fn tokens(&mut self, i: Instr, queue: Queue) -> Result<()> {
        for other in Queue::ALL {
            if i.wait_mask() & other.bit() != 0 {
                let count = self.tokens[other.index()][queue.index()];
                self.within("tokens taken before they are given", 1, count)?;
                self.tokens[other.index()][queue.index()] = count - 1;
            }
        }
        for other in Queue::ALL.into_iter().filter(|q| i.signal_mask() & q.bit() != 0) {
            let count = &mut self.tokens[queue.index()][other.index()];
            *count += 1;
            let count = *count;
            self.within("tokens in a counter", count, MOST_TOKENS)?;
        }
        Ok(())
    }

    fn load(&self, i: Instr) -> Result<()> {
        let Some(dst) = LoadDst::from_bits(i.get("dst") as u64) else {
            return self.within("a load's destination", get(i, "dst"), LoadDst::ALL.len() - 1);
        };
        let (words, rows) = (get(i, "words"), get(i, "rows"));
        self.within(
            "buffer words loaded",
            get(i, "base") + words * rows,
            self.arch.load_depth(dst) as usize,
        )?;
        let ports = self.arch.load_ports(dst) as usize;
        let row = words * self.arch.load_beats(dst) as usize * ports;
        let end = get(i, "offset") + ((rows - 1) * get(i, "pitch") + row) * 8;
        self.within("bytes read from a region", end, self.regions[get(i, "region")])
    }

    fn shift(&self, i: Instr) -> Result<()> {
        let (rows, groups) = (get(i, "rows"), get(i, "groups"));
        self.within("rows", rows, self.arch.rows as usize)?;
        self.within("groups", groups, self.arch.groups as usize)?;
        self.within("weight words shifted", get(i, "addr") + rows * groups, self.arch.wgt_depth as usize)?;
        self.within("taps", get(i, "tap") + rows, self.arch.tap_depth as usize)
    }

    fn pass(&self, i: Instr) -> Result<()> {
        let pixels: usize = ["n0", "n1", "n2", "n3"].iter().map(|n| get(self.shape, n) + 1).product();
        self.within("accumulators of a pass", get(i, "acc") + pixels, self.arch.acc_depth as usize)?;
        self.within("a pass's address", get(i, "addr"), self.arch.plane_words as usize - 1)
    }

    fn post(&self, i: Instr) -> Result<()> {
        let n = |field| get(i, field) + 1;
        let (pixels, window, tiles, beats) = (n("pixels"), n("window"), n("tiles"), n("beats"));
        let (mode, add) = (self.mode, self.mode.flag("add"));
        let second = |field| if add { get(self.add, field) } else { 0 };
        let accs = get(i, "acc") + pixels * window + (tiles - 1) * get(i, "tile_acc") + second("acc");
        self.within("accumulators of a post", accs, self.arch.acc_depth as usize)?;
        let params = get(i, "param") + tiles * beats + second("param_b").max(second("param_s"));
        self.within("parameter words", params, self.arch.param_depth as usize)?;
        let last_beat = get(i, "beat") + beats + second("beat");
        let all_beats = self.arch.beats_per_pass(get(mode, "wgt_log2") as u32) as usize;
        self.within("beats of a tile", last_beat, all_beats)?;
        let values = tiles * beats * self.arch.requant_lanes as usize;
        let blocks = values.div_ceil(self.arch.lanes as usize);
        let planes = get(mode, "planes") + 1;
        match mode.flag("dram") || mode.flag("int32") {
            true => {
                let wide = mode.flag("int32");
                let block = self.arch.post_write_cycles(planes as u32, false, true) as usize;
                self.to_memory(pixels * if wide { values / 2 } else { blocks * block })
            }
            false => self.to_banks(i, pixels, blocks, planes),
        }
    }

    /// 64-bit words written in order.
    fn to_memory(&self, words: usize) -> Result<()> {
        let (row, pitch) = (get(self.dram, "words"), get(self.dram, "pitch"));
        let last = words - 1;
        let end = get(self.dram, "offset") + (last / row * pitch + last % row + 1) * 8;
        self.within("bytes written to a region", end, self.regions[get(self.dram, "region")])
    }

    fn to_banks(&self, i: Instr, pixels: usize, blocks: usize, planes: usize) -> Result<()> {
        let nx = get(self.out, "nx") as i64 + 1;
        let (dx, dy, db) = (self.out.get("dx"), self.out.get("dy"), self.out.get("db"));
        let offset = |p: i64| p % nx * dx + p / nx * (dy + (nx - 1) * dx);
        let ends = [0, pixels as i64 - 1].map(offset);
        let blocks = [0, (blocks as i64 - 1) * db];
        let start = i.get("out");
        let low = start + ends[0].min(ends[1]) + blocks[0].min(blocks[1]);
        let high = start + ends[0].max(ends[1]) + blocks[0].max(blocks[1]) + planes as i64;
        self.within("plane-words below the banks", (-low).max(0) as usize, 0)?;
        self.within("plane-words written", high as usize, self.arch.plane_words as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::{Conv, Graph, IntType, Node, Op as GraphOp, Requant, Rounding, Tensor, Weights};
    use crate::lower::{compile, test_arch, Options};
    use crate::program::Program;

    /// A convolution whose input, weights and results take several loads and posts.
    fn program() -> Program {
        let ty = IntType { bits: 8, signed: true };
        let tensor = |shape| Tensor { name: "t".into(), shape, ty, scale: 1.0, zero_point: 0 };
        let params = hdl_gen::numfmt::ChannelParams { bias: 1, multiplier: 1 << 30, addend: 0, shift: 9 };
        let conv = Conv {
            input: 0,
            output: 1,
            weights: Weights { shape: [24, 3, 3, 24], data: vec![3; 24 * 9 * 24], ty, bipolar: false },
            stride: [1, 1],
            dilation: [1, 1],
            pads: [1; 4],
            pad_code: 0,
            groups: 1,
            requant: Requant {
                channels: vec![params; 24],
                rounding: Rounding::HalfUp,
                zero_point: 0,
                clamp: (-128, 127),
                table: None,
                raw: false,
            },
        };
        let second = Conv { input: 1, output: 2, ..conv.clone() };
        let node = |name: &str, conv| Node { name: name.into(), op: GraphOp::Conv(conv) };
        let graph = Graph {
            name: "two".into(),
            tensors: vec![tensor([6, 7, 24]), tensor([6, 7, 24]), tensor([6, 7, 24])],
            nodes: vec![node("a", conv), node("b", second)],
            inputs: vec![0],
            outputs: vec![2],
        };
        compile(&graph, &test_arch(), &Options::default()).expect("it compiles")
    }

    fn verdict(p: &Program) -> Result<()> {
        check(&test_arch(), &p.info, p.constants.len(), &p.instrs)
    }

    #[test]
    fn every_operand_that_leads_out_of_bounds_is_seen() {
        let good = program();
        assert_eq!(verdict(&good), Ok(()));
        let changes: [(Op, &str, i64); 12] = [
            (Op::Load, "base", 0xffff),
            (Op::Load, "offset", 0x7fff_fff8),
            (Op::WgtShift, "addr", 0xffff),
            (Op::WgtShift, "tap", 0xfff),
            (Op::WgtShift, "groups", 0xff),
            (Op::Pass, "acc", 0xfff),
            (Op::Pass, "addr", 0xffff),
            (Op::Post, "acc", 0xfff),
            (Op::Post, "param", 0xfff),
            (Op::Post, "beats", 0x3ff),
            (Op::Post, "pixels", 0xfff),
            (Op::PostDram, "offset", 0x7fff_fff8),
        ];
        for (op, field, value) in changes {
            let mut bad = good.clone();
            for i in bad.instrs.iter_mut().filter(|i| i.op() == Some(op)) {
                *i = i.with(field, value).expect("the field holds it");
            }
            assert!(matches!(verdict(&bad), Err(CompileErrorKind::OutOfBounds { .. })), "{op:?} {field}");
        }
        // results in the banks: the first post of the program goes there
        let mut bad = good.clone();
        let post = bad.instrs.iter_mut().find(|i| i.op() == Some(Op::Post)).expect("there is one");
        *post = post.with("out", 0xffff).expect("the field holds it");
        assert!(verdict(&bad).is_err());
    }

    #[test]
    fn a_lost_and_a_superfluous_token_are_seen() {
        let good = program();
        let given = good.instrs.iter().position(|i| i.signal_mask() != 0).expect("tokens are used");
        for mask in [0, 0xf] {
            let mut bad = good.clone();
            let i = bad.instrs[given];
            bad.instrs[given] = Instr(i.0 & !(0xf << 112)).signal(mask);
            assert!(verdict(&bad).is_err(), "mask {mask}");
        }
    }
}
