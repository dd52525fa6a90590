// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Mirror of `load_unit`: timing of the registers that its RTL has, and the function of a `load`.

use super::axi::{Fifo, Job, Reader};
use super::buffers::{Buffers, Tap};
use super::unit::Command;
use crate::image::{region_base, RunOptions, REGION_STRIDE};
use hdl_gen::emit::control::load_fifo_log2;
use hdl_gen::isa::{Instr, LoadDst, Op};
use hdl_gen::numfmt::ChannelParams;
use hdl_gen::Arch;

/// Descriptors that wait for the writer.
const DESCRIPTORS: usize = 4;

/// What the writer has to do for one instruction.
#[derive(Clone, Copy, Debug)]
struct Descriptor {
    command: Command,
    /// `None`: a nop.
    dst: Option<LoadDst>,
    /// Beats per buffer word.
    pieces: u32,
}

/// The descriptor at work.
#[derive(Clone, Copy, Debug)]
struct Current {
    descriptor: Descriptor,
    /// Buffer words left.
    words: u32,
    piece: u32,
}

/// The output register of the writer.
#[derive(Clone, Copy, Debug)]
struct Output {
    /// A bank write, which post-processing can displace.
    bank: bool,
    signal: u8,
    /// Number of the instruction whose last word this is.
    last_of: Option<u32>,
}

/// The load unit with its read ports.
#[derive(Clone, Debug)]
pub struct LoadUnit {
    arch: Arch,
    /// A job that waits for the ports; `true`: port 0 alone.
    job: Option<(Job, bool)>,
    ports: Vec<Reader>,
    descriptors: Fifo<Descriptor>,
    current: Option<Current>,
    output: Option<Output>,
    error: Option<u32>,
    finished: Option<u32>,
}

impl LoadUnit {
    pub fn new(arch: &Arch, options: &RunOptions) -> Self {
        let port = Reader::new(arch.burst_beats, 1 << load_fifo_log2(arch), options);
        LoadUnit {
            arch: arch.clone(),
            job: None,
            ports: vec![port; arch.read_ports as usize],
            descriptors: Fifo::new(DESCRIPTORS),
            current: None,
            output: None,
            error: None,
            finished: None,
        }
    }

    /// `load_cmd_ready_o`
    pub fn ready(&self) -> bool {
        self.job.is_none() && self.descriptors.has_room()
    }
    /// `load_busy_o`
    pub fn busy(&self) -> bool {
        self.job.is_some() || !self.descriptors.is_empty() || self.current.is_some() || self.output.is_some()
    }
    /// Number of the instruction, where `err_valid_o`.
    pub fn error(&self) -> Option<u32> {
        self.error
    }
    /// Number of the instruction whose last word left for its buffer in the cycle that was ticked last.
    pub fn finished(&self) -> Option<u32> {
        self.finished
    }
    /// `load_feed_o`, when bank writes are accepted or not.
    pub fn feeds(&self, bank_ready: bool) -> bool {
        self.current.is_some_and(|c| self.consumes(&c, bank_ready))
    }

    /// The output register takes something new in this cycle.
    fn output_free(&self, bank_ready: bool) -> bool {
        bank_ready || self.output.is_none_or(|o| !o.bank)
    }

    /// A beat is taken for `current` in this cycle.
    fn consumes(&self, current: &Current, bank_ready: bool) -> bool {
        let ports = match current.descriptor.dst {
            None => return false,
            Some(LoadDst::Act) => &self.ports[..1],
            Some(_) => &self.ports[..],
        };
        self.output_free(bank_ready) && ports.iter().all(|p| p.head().is_some())
    }

    /// One cycle; gives the signal mask of this cycle. `bank_ready`: a bank write is accepted.
    pub fn tick(&mut self, accepted: Option<Command>, bank_ready: bool) -> u8 {
        let free = self.output_free(bank_ready);
        let signal = self.output.filter(|_| free).map_or(0, |o| o.signal);
        self.finished = self.output.filter(|_| free).and_then(|o| o.last_of);
        let consume = self.feeds(bank_ready);
        let job = self.job.filter(|_| self.ports.iter().all(Reader::ready));

        let done = self.write(consume, free);
        let take = self.current.is_none() || done;
        let next = self.descriptors.head().filter(|_| take);
        self.tick_ports(consume, job);
        if take {
            self.current = next.map(|d| self.begin(d));
        }
        self.descriptors.tick(accepted.map(|c| self.descriptor(c)), next.is_some());
        self.job = match accepted {
            Some(command) => self.job_of(command.instr),
            None => self.job.filter(|_| job.is_none()),
        };
        signal
    }

    /// The writer's cycle; gives whether the descriptor is done.
    fn write(&mut self, consume: bool, free: bool) -> bool {
        self.error = None;
        let mut output = None;
        let mut done = false;
        if let Some(current) = self.current.as_mut() {
            let d = current.descriptor;
            let ports = if d.dst == Some(LoadDst::Act) { 1 } else { self.ports.len() };
            if consume {
                let faulty = self.ports[..ports].iter().any(|p| p.head().is_some_and(|b| b.error));
                self.error = faulty.then_some(d.command.pc);
                current.piece += 1;
            }
            let nop = d.dst.is_none() && free;
            let word = consume && current.piece == d.pieces;
            if word {
                current.piece = 0;
                current.words -= 1;
            }
            done = nop || (word && current.words == 0);
            if nop || word {
                let signal = if done { d.command.instr.signal_mask() } else { 0 };
                let last_of = done.then_some(d.command.pc);
                output = Some(Output { bank: d.dst == Some(LoadDst::Act), signal, last_of });
            }
        }
        if free {
            self.output = output;
        }
        done
    }

    fn tick_ports(&mut self, consume: bool, job: Option<(Job, bool)>) {
        let act = self.current.is_some_and(|c| c.descriptor.dst == Some(LoadDst::Act));
        for (i, port) in self.ports.iter_mut().enumerate() {
            let alone = job.is_some_and(|(_, alone)| alone);
            let part = job.filter(|_| i == 0 || !alone).map(|(job, _)| Job {
                address: (job.address + i as u32 * job.beats) & ((1 << 29) - 1),
                ..job
            });
            port.tick(false, part, consume && (i == 0 || !act));
        }
    }

    fn begin(&self, descriptor: Descriptor) -> Current {
        let words = descriptor.dst.map_or(0, |_| {
            let i = descriptor.command.instr;
            (i.get("words") * i.get("rows")) as u32
        });
        Current { descriptor, words, piece: 0 }
    }

    fn descriptor(&self, command: Command) -> Descriptor {
        let dst = destination(command.instr);
        Descriptor { command, dst, pieces: dst.map_or(1, |d| self.arch.load_beats(d)) }
    }

    /// The job of a `load` and whether port 0 reads it alone.
    fn job_of(&self, instr: Instr) -> Option<(Job, bool)> {
        let dst = destination(instr)?;
        let start =
            (region_base(instr.get("region") as usize) as u32).wrapping_add(instr.get("offset") as u32);
        let job = Job {
            address: start >> 3,
            beats: instr.get("words") as u32 * self.arch.load_beats(dst),
            rows: instr.get("rows") as u32,
            pitch: instr.get("pitch") as u32,
        };
        Some((job, dst == LoadDst::Act))
    }

    /// No instruction ends in this cycle, and nothing is to be told.
    pub fn is_inside(&self) -> bool {
        self.error.is_none() && self.output.is_none_or(|o| o.signal == 0 && o.last_of.is_none())
    }

    /// Cycles for which `tick(None, _)` changes nothing but the time.
    pub fn quiet_cycles(&self) -> u64 {
        let moving = self.output.is_some()
            || self.error.is_some()
            || self.job.is_some()
            || !self.descriptors.is_still()
            || self.current.is_some_and(|c| c.descriptor.dst.is_none() || self.consumes(&c, true))
            || (self.current.is_none() && !self.descriptors.is_empty());
        if moving {
            return 0;
        }
        self.ports.iter().map(Reader::quiet_cycles).min().expect("at least one port")
    }

    pub fn skip(&mut self, cycles: u64) {
        self.ports.iter_mut().for_each(|p| p.skip(cycles));
    }

    /// The function of a `load`: from the regions of the memory to a buffer.
    pub fn execute(&self, instr: Instr, buffers: &mut Buffers, regions: &[Vec<u8>; 4]) {
        let Some(dst) = destination(instr) else { return };
        let field = |name: &str| instr.get(name) as u64;
        let base = region_base(field("region") as usize) + field("offset");
        let row_words = field("words") as usize;
        let ports = self.arch.load_ports(dst) as u64;
        let pieces = self.arch.load_beats(dst) as u64;
        let part = 8 * row_words as u64 * pieces;
        let mut word = vec![0u64; (ports * pieces) as usize];
        for index in 0..row_words * field("rows") as usize {
            let (row, column) = (index / row_words, index % row_words);
            let start = base + 8 * (row as u64 * field("pitch") + column as u64 * pieces);
            for (s, slot) in word.iter_mut().enumerate() {
                let (piece, port) = (s as u64 / ports, s as u64 % ports);
                *slot = read(regions, start + port * part + 8 * piece);
            }
            self.store(dst, field("base") as usize + index, &word, buffers);
        }
    }

    /// Writes one buffer word.
    fn store(&self, dst: LoadDst, index: usize, word: &[u64], buffers: &mut Buffers) {
        let at = |lo: u32, width: u32| bits(word, lo, width);
        let signed = |lo: u32, width: u32| ((at(lo, width) << (64 - width)) as i64) >> (64 - width);
        match dst {
            LoadDst::Act => {
                for plane in 0..4 {
                    buffers.banks[4 * index + plane] = at(plane as u32 * self.arch.lanes, self.arch.lanes);
                }
            }
            LoadDst::Wgt => {
                let columns = self.arch.group_columns as usize;
                for column in 0..columns {
                    buffers.wgt[columns * index + column] =
                        at(column as u32 * self.arch.act_bits, self.arch.act_bits);
                }
            }
            LoadDst::Param => {
                buffers.params[index] = ChannelParams {
                    bias: signed(0, 32) as i32,
                    multiplier: signed(32, 32) as i32,
                    addend: at(64, 32) as u32,
                    shift: at(96, 6) as u8,
                }
            }
            LoadDst::Tap => {
                buffers.taps[index] =
                    Tap { addr: signed(0, 16) as i16, dy: signed(16, 10) as i16, dx: signed(26, 10) as i16 }
            }
            LoadDst::Table => buffers.table[index] = signed(0, 16) as i16,
        }
    }
}

/// Destination of a `load`; `None` for a nop.
fn destination(instr: Instr) -> Option<LoadDst> {
    let is_load = instr.op() == Some(Op::Load);
    is_load.then(|| LoadDst::from_bits(instr.get("dst") as u64).expect("checked at dispatch"))
}

/// `width` bits (1..=64) from bit `lo` of a buffer word.
fn bits(word: &[u64], lo: u32, width: u32) -> u64 {
    let (i, s) = ((lo / 64) as usize, lo % 64);
    let low = word[i] >> s;
    let high = if s + width > 64 { word[i + 1] << (64 - s) } else { 0 };
    (low | high) & (u64::MAX >> (64 - width))
}

/// The 8 bytes at an address of the simulated memory (32 bits, wrapping), outside the regions 0.
fn read(regions: &[Vec<u8>; 4], address: u64) -> u64 {
    let address = (address & 0xffff_ffff) & !7;
    let Some(region) = (address / REGION_STRIDE).checked_sub(1).and_then(|r| regions.get(r as usize)) else {
        return 0;
    };
    let offset = (address % REGION_STRIDE) as usize;
    match region.get(offset..offset + 8) {
        Some(bytes) => u64::from_le_bytes(bytes.try_into().expect("8 bytes")),
        None => (0..8).map(|i| (region.get(offset + i).copied().unwrap_or(0) as u64) << (8 * i)).sum(),
    }
}
