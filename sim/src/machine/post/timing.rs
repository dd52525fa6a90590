// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The cycles of post-processing: registers as in `post_unit.v` and its parts, without data.

use crate::image::{region_base, Fault, RunOptions};
use crate::machine::unit::Command;
use hdl_gen::emit::post::PostShape;
use hdl_gen::isa::{ErrorCode, Instr, Op};
use hdl_gen::Arch;
use std::collections::VecDeque;

/// The post unit, cycle by cycle.
#[derive(Clone, Debug)]
pub struct PostTiming {
    shape: PostShape,
    wide_words: u32,
    mode: Mode,
    busy: bool,
    start: bool,
    mark: Option<u16>,
    signal: u8,
    pc: u32,
    loops: Loops,
    /// Bit i = stage i: a result, the end of a block, the end of the post.
    result: u64,
    block_end: u64,
    post_end: u64,
    feed: bool,
    pack: Pack,
    store: Store,
}

/// What the timing needs of `post.mode`.
#[derive(Clone, Copy, Debug, Default)]
struct Mode {
    add: bool,
    dram: bool,
    int32: bool,
    planes: u32,
    gap: u32,
}

/// One slot as it enters the pipeline.
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    valid: bool,
    result: bool,
    block_end: bool,
    post_end: bool,
}

impl PostTiming {
    pub fn new(arch: &Arch, options: &RunOptions) -> Self {
        let shape = PostShape::new(arch);
        PostTiming {
            shape,
            wide_words: arch.requant_lanes / 2,
            mode: Mode { planes: 1, ..Mode::default() },
            busy: false,
            start: false,
            mark: None,
            signal: 0,
            pc: 0,
            loops: Loops::new(arch, &shape),
            result: 0,
            block_end: 0,
            post_end: 0,
            feed: false,
            pack: Pack::default(),
            store: Store::new(arch, &shape, options),
        }
    }

    pub fn ready(&self) -> bool {
        !self.busy
    }
    pub fn feeds(&self) -> bool {
        self.feed
    }
    pub fn writes_bank(&self) -> bool {
        self.pack.out_valid && !self.pack.dram
    }
    pub fn error(&self) -> Option<(ErrorCode, u32)> {
        self.store.error.then_some((ErrorCode::BusWrite, self.pc))
    }
    pub fn mark(&self) -> Option<u16> {
        self.mark
    }
    /// No `post` ends in this cycle, and nothing is to be told.
    pub fn is_inside(&self) -> bool {
        let ends = self.pack.push(&self.shape).last_bank || self.store.done;
        !ends && self.mark.is_none() && !self.store.error
    }
    /// Words of the present `post` whose beat of write data is made up: these get to memory whatever happens.
    pub fn words_sent(&self) -> usize {
        self.store.words_sent
    }

    pub fn tick(&mut self, accepted: Option<Command>) -> u8 {
        let push = self.pack.push(&self.shape);
        let finish = push.last_bank || self.store.done;
        let signal = match accepted {
            Some(c) if c.instr.op() != Some(Op::Post) => c.instr.signal_mask(),
            _ if finish => self.signal,
            _ => 0,
        };
        let load = self.block_end >> (self.shape.res + 3) & 1 == 1;
        let wide_load = self.mode.int32 && self.result >> self.shape.res & 1 == 1;
        let ends = [self.post_end >> (self.shape.res + 3) & 1 == 1, self.post_end >> self.shape.res & 1 == 1];
        self.pack.tick(&self.mode, &push, load, ends[0]);
        self.pack.tick_wide(wide_load, ends[1], self.wide_words);

        let slot = self.loops.tick(&self.mode, self.start, self.store.stall && self.mode.dram);
        self.feed = slot.valid;
        self.result = self.result << 1 | slot.result as u64;
        self.block_end = self.block_end << 1 | (slot.result && slot.block_end && !self.mode.int32) as u64;
        self.post_end = self.post_end << 1 | slot.post_end as u64;

        let dram = accepted.map(|c| c.instr).filter(|i| i.op() == Some(Op::PostDram));
        self.store.tick(push.word, push.last_word, dram);
        self.start = false;
        self.mark = None;
        if finish {
            self.busy = false;
        }
        if let Some(command) = accepted {
            self.accept(command);
        }
        signal
    }

    fn accept(&mut self, command: Command) {
        let i = command.instr;
        match i.op() {
            Some(Op::PostMode) => {
                self.mode = Mode {
                    add: i.flag("add") && self.loops.has_add(),
                    dram: i.flag("dram") || i.flag("int32"),
                    int32: i.flag("int32"),
                    planes: i.get("planes") as u32 + 1,
                    gap: i.get("gap") as u32,
                }
            }
            Some(Op::PostMark) => self.mark = Some(i.get("id") as u16),
            Some(Op::Post) => {
                self.busy = true;
                self.start = true;
                self.signal = i.signal_mask();
                self.pc = command.pc;
                self.store.words_sent = 0;
                self.loops.operands = Operands::new(i);
            }
            _ => {}
        }
    }

    /// Nothing but waiting: for a command, or for a response.
    pub fn quiet_cycles(&self) -> u64 {
        let moving = self.start
            || self.mark.is_some()
            || self.feed
            || self.loops.load
            || self.loops.run
            || (self.result | self.block_end) & ((1 << (self.shape.res + 4)) - 1) != 0
            || self.pack.out_valid
            || self.pack.wide_left != 0
            || self.store.moving();
        match (moving, self.busy, self.store.answers.front()) {
            (true, ..) => 0,
            (false, _, Some(answer)) => answer.at.saturating_sub(self.store.now),
            (false, true, None) => 0,
            (false, false, None) => u64::MAX,
        }
    }

    pub fn skip(&mut self, cycles: u64) {
        debug_assert!(cycles <= self.quiet_cycles(), "only quiet cycles are skipped");
        self.store.now += cycles;
    }
}

/// Loop counts of a `post`, all minus 1.
#[derive(Clone, Copy, Debug, Default)]
struct Operands {
    pixels: u32,
    window: u32,
    tiles: u32,
    beats: u32,
}

impl Operands {
    fn new(i: Instr) -> Self {
        let get = |name: &str| i.get(name) as u32;
        Operands { pixels: get("pixels"), window: get("window"), tiles: get("tiles"), beats: get("beats") }
    }
}

/// `post_issue`.
#[derive(Clone, Debug, Default)]
struct Loops {
    operands: Operands,
    seg_last: u32,
    load: bool,
    run: bool,
    pixel: u32,
    tile: u32,
    beat: u32,
    window: u32,
    seg: u32,
    gap: u32,
    phase: u32,
    group: bool,
    /// Beats whose sum has not been issued yet, the oldest first; one entry per group of three slots. Empty: no adder.
    records: VecDeque<Slot>,
}

impl Loops {
    fn new(arch: &Arch, shape: &PostShape) -> Self {
        let groups = if arch.has_add { shape.add_groups as usize } else { 0 };
        Loops { seg_last: shape.seg_last, records: vec![Slot::default(); groups].into(), ..Loops::default() }
    }

    fn has_add(&self) -> bool {
        !self.records.is_empty()
    }

    /// One cycle; what enters stage 0 with the next one.
    fn tick(&mut self, mode: &Mode, start: bool, stall: bool) -> Slot {
        let begin = self.run && self.gap == 0 && !stall && self.phase == 0;
        let slot_b = self.group && self.phase == 1;
        let in_s = mode.add && self.phase == 2;
        let advance = if mode.add { self.group && in_s } else { begin };
        let beat_done = advance && (mode.add || self.window == self.operands.window);
        let pixel_end = self.beat == self.operands.beats && self.tile == self.operands.tiles;
        let block_end = pixel_end || self.seg == self.seg_last;
        let post_end = pixel_end && self.pixel == self.operands.pixels;

        let mut slot = Slot { valid: begin || slot_b, result: beat_done && !mode.add, block_end, post_end };
        if in_s {
            let record = Slot { valid: self.group, result: self.group, block_end, post_end };
            self.records.push_back(record);
            slot = self.records.pop_front().expect("as many records as groups are under way");
        }
        let load = self.load;
        if self.phase == 0 {
            self.group = begin && mode.add;
        }
        self.phase = if load || !mode.add { 0 } else { (self.phase + 1) % 3 };
        self.gap = match (load, beat_done && (block_end || mode.int32)) {
            (true, _) => 0,
            (false, true) => mode.gap,
            (false, false) => self.gap.saturating_sub(1),
        };
        if advance {
            self.window = if beat_done { 0 } else { self.window + 1 };
        }
        if beat_done {
            self.seg = if block_end { 0 } else { self.seg + 1 };
            self.next_beat();
        }
        if load {
            self.begin();
        }
        self.load = start;
        slot
    }

    fn next_beat(&mut self) {
        if self.beat < self.operands.beats {
            self.beat += 1;
            return;
        }
        self.beat = 0;
        if self.tile < self.operands.tiles {
            self.tile += 1;
            return;
        }
        self.tile = 0;
        self.run = self.pixel < self.operands.pixels;
        self.pixel += 1;
    }

    fn begin(&mut self) {
        (self.pixel, self.tile, self.beat, self.window, self.seg) = (0, 0, 0, 0, 0);
        self.run = true;
        self.records.iter_mut().for_each(|r| *r = Slot::default());
    }
}

/// `post_pack`, from the output register on.
#[derive(Clone, Copy, Debug, Default)]
struct Pack {
    out_valid: bool,
    dram: bool,
    last: bool,
    /// Bank words behind the present one.
    left: u32,
    part: u32,
    wide_left: u32,
    wide_last: bool,
}

/// What leaves the packer in a cycle.
#[derive(Clone, Copy, Debug)]
struct Push {
    word: bool,
    last_word: bool,
    last_bank: bool,
    word_done: bool,
    done: bool,
}

impl Pack {
    fn push(&self, shape: &PostShape) -> Push {
        let part_last = !self.dram || self.part + 1 == shape.word_parts;
        let word_done = self.out_valid && part_last;
        let done = word_done && self.left == 0;
        Push {
            word: self.wide_left != 0 || (self.out_valid && self.dram),
            last_word: (self.wide_last && self.wide_left == 1) || (done && self.last && self.dram),
            last_bank: done && self.last && !self.dram,
            word_done,
            done,
        }
    }

    fn tick(&mut self, mode: &Mode, push: &Push, load: bool, post_end: bool) {
        if load {
            *self = Pack {
                out_valid: true,
                dram: mode.dram,
                last: post_end,
                left: mode.planes.div_ceil(4) - 1,
                part: 0,
                ..*self
            };
            return;
        }
        if self.out_valid {
            self.part = if push.word_done { 0 } else { self.part + 1 };
        }
        if push.word_done {
            self.left = self.left.saturating_sub(1);
        }
        if push.done {
            self.out_valid = false;
        }
    }

    fn tick_wide(&mut self, load: bool, post_end: bool, words: u32) {
        if load {
            self.wide_left = words;
            self.wide_last = post_end;
        } else {
            self.wide_left = self.wide_left.saturating_sub(1);
        }
    }
}

/// A response to come.
#[derive(Clone, Copy, Debug)]
struct Answer {
    at: u64,
    faulty: bool,
}

/// Steps of the burst plan; the numbers are those of `post_store`.
/// No `post.dram` yet.
const NONE: u32 = 7;
const SET_BASE: u32 = 6;
const SET_ADDR: u32 = 5;
const STEP: u32 = 4;
const ROW: u32 = 3;
const LIMITS: u32 = 2;
const LENGTH: u32 = 1;
const READY: u32 = 0;

/// `post_store` and the memory behind it.
#[derive(Clone, Debug)]
struct Store {
    limit: u32,
    burst: u32,
    latency: u64,
    faults: Vec<Fault>,
    now: u64,
    // FIFO
    held: u32,
    avail: u32,
    stall: bool,
    // plan
    plan: u32,
    setting: Option<(u32, u32, u32)>,
    words: u32,
    pitch_bytes: u32,
    address: u32,
    row: u32,
    left: u32,
    by_row: u32,
    by_page: u32,
    plan_len: u32,
    len: u32,
    have: bool,
    tail: bool,
    end: bool,
    done: bool,
    // burst
    aw_valid: bool,
    fetch_left: u32,
    fetched: bool,
    fetched_last: bool,
    w_valid: bool,
    w_last: bool,
    open: u32,
    /// Fault of each burst whose last beat is still to come.
    under_way: VecDeque<bool>,
    answers: VecDeque<Answer>,
    last_answer: u64,
    error: bool,
    words_sent: usize,
}

impl Store {
    fn new(arch: &Arch, shape: &PostShape, options: &RunOptions) -> Self {
        Store {
            limit: shape.fifo_limit,
            burst: arch.burst_beats,
            latency: options.timing.latency_cycles.max(1) as u64,
            faults: options.faults.clone(),
            now: 0,
            held: 0,
            avail: 0,
            stall: false,
            plan: NONE,
            setting: None,
            words: 1,
            pitch_bytes: 0,
            address: 0,
            row: 0,
            left: 1,
            by_row: 0,
            by_page: 0,
            plan_len: 0,
            len: 0,
            have: false,
            tail: false,
            end: false,
            done: false,
            aw_valid: false,
            fetch_left: 0,
            fetched: false,
            fetched_last: false,
            w_valid: false,
            w_last: false,
            open: 0,
            under_way: VecDeque::new(),
            answers: VecDeque::new(),
            last_answer: 0,
            error: false,
            words_sent: 0,
        }
    }

    fn quiet(&self) -> bool {
        self.fetch_left == 0 && !self.fetched && !self.w_valid && !self.aw_valid && self.open == 0
    }

    /// Something else than the arrival of a response will change the state.
    fn moving(&self) -> bool {
        let idle = self.fetch_left == 0 && !self.fetched && !self.w_valid && !self.aw_valid && self.held == 0;
        !idle
            || !matches!(self.plan, READY | NONE)
            || self.have
            || self.tail
            || self.done
            || self.error
            || (self.end && self.open == 0)
    }

    fn tick(&mut self, push: bool, end: bool, dram: Option<Instr>) {
        let start = (self.have || self.tail) && self.fetch_left == 0 && !self.aw_valid && self.open < 255;
        let len = if self.have { self.plan_len } else { self.avail };
        let fetch = self.fetch_left != 0;
        let ready = self.plan == READY && !start;
        let have = ready && self.avail >= self.plan_len;
        let tail = ready && self.end && self.avail != 0 && self.avail < self.plan_len;
        let done = self.end && self.quiet() && self.avail == 0;

        let answer = self.take_answer();
        self.error = answer.is_some_and(|a| a.faulty);
        if self.w_valid && self.w_last {
            self.last_beat();
        }
        self.open = self.open + start as u32 - answer.is_some() as u32;
        self.stall = self.held >= self.limit;
        self.held = self.held + push as u32 - fetch as u32;
        self.avail = self.avail + push as u32 - if start { len } else { 0 };
        self.words_sent += self.fetched as usize;
        self.w_valid = self.fetched;
        self.w_last = self.fetched_last;
        self.fetched = fetch;
        self.fetched_last = self.fetch_left == 1;
        self.fetch_left = if start { len } else { self.fetch_left - fetch as u32 };
        self.aw_valid = start;
        if start {
            self.under_way.push_back(self.is_faulty(self.address, len));
        }
        self.tick_plan(start, len, dram);
        (self.have, self.tail, self.done) = (have, tail, done);
        self.end = end || (self.end && !done);
        self.now += 1;
    }

    fn take_answer(&mut self) -> Option<Answer> {
        let due = self.answers.front().is_some_and(|a| a.at == self.now);
        due.then(|| self.answers.pop_front()).flatten()
    }

    fn is_faulty(&self, address: u32, words: u32) -> bool {
        self.faults.iter().any(|f| f.touches(address as u64, 8 * words as u64))
    }

    fn last_beat(&mut self) {
        let at = (self.now + self.latency).max(self.last_answer + 1);
        self.last_answer = at;
        let faulty = self.under_way.pop_front().expect("every burst was announced");
        self.answers.push_back(Answer { at, faulty });
    }

    fn tick_plan(&mut self, start: bool, len: u32, dram: Option<Instr>) {
        match self.plan {
            SET_ADDR => {
                let (address, words, pitch_bytes) = self.setting.expect("set by post.dram");
                (self.address, self.row, self.left) = (address, address, words);
                (self.words, self.pitch_bytes) = (words, pitch_bytes);
            }
            STEP => {
                self.address = self.address.wrapping_add(self.len * 8);
                self.left -= self.len;
            }
            ROW if self.left == 0 => {
                self.row = self.row.wrapping_add(self.pitch_bytes);
                (self.address, self.left) = (self.row, self.words);
            }
            LIMITS => {
                self.by_row = self.left.min(self.burst);
                self.by_page = (512 - (self.address >> 3 & 511)).min(self.burst);
            }
            LENGTH => self.plan_len = self.by_row.min(self.by_page),
            _ => {}
        }
        self.plan = match self.plan {
            SET_BASE => SET_ADDR,
            SET_ADDR | ROW => LIMITS,
            STEP => ROW,
            LIMITS => LENGTH,
            LENGTH => READY,
            resting => resting,
        };
        if start {
            self.plan = STEP;
            self.len = len;
        }
        if let Some(i) = dram {
            let base = region_base(i.get("region") as usize) as u32;
            let address = base.wrapping_add(i.get("offset") as u32);
            self.setting = Some((address, (i.get("words") as u32).max(1), i.get("pitch") as u32 * 8));
            self.plan = SET_BASE;
        }
    }
}
