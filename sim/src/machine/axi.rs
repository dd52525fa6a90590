// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Mirrors of `sync_fifo.v` and `axi_reader.v`, and of a read port of a memory that never stalls.

use crate::image::{Fault, RunOptions};
use std::collections::VecDeque;

/// `sync_fifo`: a memory and an output register.
#[derive(Clone, Debug)]
pub struct Fifo<T> {
    memory: VecDeque<T>,
    out: Option<T>,
    capacity: usize,
}

impl<T: Copy> Fifo<T> {
    pub fn new(capacity: usize) -> Self {
        Fifo { memory: VecDeque::with_capacity(capacity), out: None, capacity }
    }
    /// `rd_data_o`, where `rd_valid_o`.
    pub fn head(&self) -> Option<T> {
        self.out
    }
    /// `wr_ready_o`
    pub fn has_room(&self) -> bool {
        self.memory.len() < self.capacity
    }
    /// `empty_o`
    pub fn is_empty(&self) -> bool {
        self.out.is_none() && self.memory.is_empty()
    }
    /// A cycle without push and pop changes nothing.
    pub fn is_still(&self) -> bool {
        self.out.is_some() || self.memory.is_empty()
    }
    /// One cycle; a push needs [`Fifo::has_room`].
    pub fn tick(&mut self, push: Option<T>, pop: bool) {
        let load = !self.memory.is_empty() && (self.out.is_none() || pop);
        if pop {
            self.out = None;
        }
        if load {
            self.out = self.memory.pop_front();
        }
        if let Some(item) = push {
            self.memory.push_back(item);
        }
    }
}

/// A beat of read data, without the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beat {
    /// Byte address.
    pub address: u32,
    /// Answered SLVERR or DECERR.
    pub error: bool,
}

/// The memory behind a read port: beats and the cycles in which they come.
#[derive(Clone, Debug)]
struct ReadPort {
    latency: u64,
    faults: Vec<Fault>,
    /// First cycle, first byte address, beats.
    bursts: VecDeque<(u64, u32, u32)>,
    /// First cycle after the last beat of the last burst.
    free: u64,
}

impl ReadPort {
    fn new(options: &RunOptions) -> Self {
        ReadPort {
            latency: options.timing.latency_cycles.max(1) as u64,
            faults: options.faults.clone(),
            bursts: VecDeque::new(),
            free: 0,
        }
    }

    /// An address is accepted in cycle `now`.
    fn accept(&mut self, now: u64, address: u32, beats: u32) {
        let first = self.free.max(now + self.latency);
        self.free = first + beats as u64;
        self.bursts.push_back((first, address, beats));
    }

    /// The beat that comes in cycle `now`.
    fn beat(&mut self, now: u64) -> Option<Beat> {
        let (first, start, beats) = *self.bursts.front()?;
        if now < first {
            return None;
        }
        let index = (now - first) as u32;
        if index + 1 == beats {
            self.bursts.pop_front();
        }
        let address = start.wrapping_add(8 * index);
        let error = self.faults.iter().any(|f| f.touches(address as u64, 8));
        Some(Beat { address, error })
    }
}

/// What a reader is to read: `rows` rows of `beats` beats, `pitch` beats apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Job {
    /// Byte address / 8, of 29 bits.
    pub address: u32,
    pub beats: u32,
    pub rows: u32,
    pub pitch: u32,
}

const ADDRESS_MASK: u32 = (1 << 29) - 1;

/// `axi_reader` with the memory behind it.
#[derive(Clone, Debug)]
pub struct Reader {
    burst: u32,
    now: u64,
    /// The rest of the job; `address` is that of the present row.
    job: Option<Job>,
    /// Of the next burst, in beats.
    address: u32,
    /// Beats left in the row.
    left: u32,
    length: Option<u32>,
    room: u32,
    pending: u32,
    /// The announced burst: address and beats.
    announced: Option<(u32, u32)>,
    fifo: Fifo<Beat>,
    memory: ReadPort,
}

impl Reader {
    /// A reader with bursts of at most `burst` beats and a FIFO of `room` beats.
    pub fn new(burst: u32, room: u32, options: &RunOptions) -> Self {
        Reader {
            burst,
            now: 0,
            job: None,
            address: 0,
            left: 0,
            length: None,
            room,
            pending: 0,
            announced: None,
            fifo: Fifo::new(room as usize),
            memory: ReadPort::new(options),
        }
    }

    /// `job_ready_o`
    pub fn ready(&self) -> bool {
        self.job.is_none()
    }
    /// The beat that is offered.
    pub fn head(&self) -> Option<Beat> {
        self.fifo.head()
    }
    /// `axi_idle_o`
    pub fn axi_idle(&self) -> bool {
        self.pending == 0 && self.announced.is_none()
    }

    /// One cycle. A job needs [`Reader::ready`]; `pop` takes the head.
    pub fn tick(&mut self, flush: bool, job: Option<Job>, pop: bool) {
        if let Some((address, beats)) = self.announced.take() {
            self.memory.accept(self.now, address << 3, beats);
        }
        let beat = self.memory.beat(self.now);
        self.pending -= beat.is_some() as u32;
        let issued = self.length.filter(|n| self.room >= *n && !flush);
        self.room += pop as u32;
        match issued {
            Some(beats) => self.issue(beats),
            None if self.job.is_some() && self.length.is_none() => {
                self.length = Some(self.left.min(self.burst - self.address % self.burst));
            }
            None => {}
        }
        if let Some(job) = job {
            self.job = Some(job);
            self.address = job.address;
            self.left = job.beats;
        }
        if flush {
            self.job = None;
            self.length = None;
        }
        self.fifo.tick(beat, pop);
        self.now += 1;
    }

    /// Announces a burst and moves on to the one behind it.
    fn issue(&mut self, beats: u32) {
        self.announced = Some((self.address, beats));
        self.room -= beats;
        self.pending += beats;
        self.length = None;
        self.left -= beats;
        self.address = (self.address + beats) & ADDRESS_MASK;
        let Some(job) = self.job.as_mut().filter(|_| self.left == 0) else { return };
        if job.rows == 1 {
            self.job = None;
            return;
        }
        job.rows -= 1;
        job.address = (job.address + job.pitch) & ADDRESS_MASK;
        (self.address, self.left) = (job.address, job.beats);
    }

    /// Cycles for which `tick(false, None, false)` changes nothing but the time. Assumes that the head stays.
    pub fn quiet_cycles(&self) -> u64 {
        let stuck = self.length.is_some_and(|n| self.room < n);
        let moving = self.announced.is_some() || !self.fifo.is_still() || (self.job.is_some() && !stuck);
        match self.memory.bursts.front() {
            _ if moving => 0,
            Some((first, ..)) => first.saturating_sub(self.now),
            None => u64::MAX,
        }
    }

    pub fn skip(&mut self, cycles: u64) {
        self.now += cycles;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::MemoryTiming;

    fn beats(job: Job, burst: u32, latency_cycles: u32) -> Vec<(u64, u32)> {
        let timing = MemoryTiming { latency_cycles, ..MemoryTiming::default() };
        let mut reader = Reader::new(burst, 64, &RunOptions { timing, ..RunOptions::default() });
        let mut got = vec![];
        reader.tick(false, Some(job), false);
        while !(reader.ready() && reader.axi_idle() && reader.fifo.is_empty()) {
            let head = reader.head();
            got.extend(head.map(|b| (reader.now, b.address)));
            reader.tick(false, None, head.is_some());
        }
        got
    }

    #[test]
    fn a_long_job_gives_a_beat_in_each_cycle_at_40_cycles_of_latency() {
        let got = beats(Job { address: 0x100, beats: 1000, rows: 1, pitch: 0 }, 16, 40);
        assert_eq!(got.len(), 1000);
        assert_eq!(got[0], (3 + 40 + 2, 0x800));
        assert_eq!(got[999].0 - got[0].0, 999);
    }

    #[test]
    fn rows_are_pitch_apart_and_in_order() {
        let got = beats(Job { address: 0x1fd, beats: 5, rows: 3, pitch: 100 }, 4, 1);
        let expected: Vec<u32> =
            (0..3).flat_map(|r| (0..5).map(move |b| (0x1fd + 100 * r + b) * 8)).collect();
        assert_eq!(got.iter().map(|g| g.1).collect::<Vec<_>>(), expected);
    }
}
