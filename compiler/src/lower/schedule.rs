// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Instructions with dependencies, tokens between queues, and program order.
//!
//! Every access to a buffer is recorded in a [`Tracker`], which returns the instructions that must have finished before.
//! Queues finish in order, so a dependency inside a queue costs nothing and one on a later instruction covers all
//! earlier ones of that queue. What remains becomes one token each: the k-th wait of a queue pair takes the k-th signal.

use super::error::CompileErrorKind;
use hdl_gen::isa::{Instr, Queue};

/// Number of an instruction in a [`Schedule`].
pub type NodeId = usize;

/// Most tokens under way in one counter in program order; with a full queue (64) still within the hardware's 255.
const MAX_TOKENS: usize = 150;

struct Node {
    instr: Instr,
    queue: Queue,
    /// Number within its queue.
    index: usize,
    /// Dependencies in other queues.
    deps: Vec<NodeId>,
    /// Cycles for which the unit is taken, and from its end until the results are there.
    duration: u64,
    latency: u64,
    /// The start must not be before the start of this one (weights: the pass that took the previous ones).
    after_start: Option<NodeId>,
    /// The start must not be before the end of this one, which the hardware sees to itself (pass: its weights).
    after_end: Option<NodeId>,
}

/// All instructions in an order in which they could be executed one by one.
#[derive(Default)]
pub struct Schedule {
    nodes: Vec<Node>,
    counts: [usize; 4],
}

/// Cost of an instruction for the ordering; it does not influence correctness.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cost {
    pub duration: u64,
    pub latency: u64,
}

impl Schedule {
    /// Appends an instruction; `deps` must have been appended before.
    pub fn push(&mut self, queue: Queue, instr: Instr, deps: Vec<NodeId>, cost: Cost) -> NodeId {
        let id = self.nodes.len();
        debug_assert!(deps.iter().all(|d| *d < id));
        let deps = deps.into_iter().filter(|d| self.nodes[*d].queue != queue).collect();
        self.nodes.push(Node {
            instr,
            queue,
            index: self.counts[queue.index()],
            deps,
            duration: cost.duration.max(1),
            latency: cost.latency,
            after_start: None,
            after_end: None,
        });
        self.counts[queue.index()] += 1;
        id
    }

    /// Instructions in each queue so far; within a queue they stay in this order.
    pub fn counts(&self) -> [usize; 4] {
        self.counts
    }

    /// Adds a dependency of `node`.
    pub fn depend(&mut self, node: NodeId, on: NodeId) {
        debug_assert!(on < node);
        if self.nodes[on].queue != self.nodes[node].queue {
            self.nodes[node].deps.push(on);
        }
    }

    /// `node` starts after `pass` has started, by the hardware's own interlock.
    pub fn start_after_start(&mut self, node: NodeId, pass: NodeId) {
        self.nodes[node].after_start = Some(pass);
    }

    /// `node` starts after `shift` has ended, by the hardware's own interlock.
    pub fn start_after_end(&mut self, node: NodeId, shift: NodeId) {
        self.nodes[node].after_end = Some(shift);
    }

    /// Places the tokens and brings the instructions into program order (by estimated start, so that loads stand as
    /// early as the buffers allow).
    pub fn finish(mut self) -> Vec<Instr> {
        let edges = self.place_tokens();
        let start = self.estimate(&edges);
        let mut order: Vec<NodeId> = (0..self.nodes.len()).collect();
        order.sort_by_key(|i| (start[*i], *i));
        order.into_iter().map(|i| self.nodes[i].instr).collect()
    }

    /// Sets `wait` and `signal`; returns the edges (producer, consumer) of each queue pair in order.
    fn place_tokens(&mut self) -> Vec<Vec<(NodeId, NodeId)>> {
        let mut edges: Vec<Vec<(NodeId, NodeId)>> = vec![Vec::new(); 16];
        let mut placed: [Vec<NodeId>; 4] = Default::default();
        // finished[q][s]: instructions of queue s known to be finished when the last instruction of q starts
        let mut known = [[0usize; 4]; 4];
        let mut at_start: Vec<[usize; 4]> = Vec::with_capacity(self.nodes.len());
        for i in 0..self.nodes.len() {
            let q = self.nodes[i].queue;
            let mut mine = known[q.index()];
            let mut deps = self.nodes[i].deps.clone();
            // latest first: it may cover the others
            deps.sort_unstable_by(|a, b| b.cmp(a));
            for d in deps {
                let s = self.nodes[d].queue;
                if mine[s.index()] > self.nodes[d].index {
                    continue;
                }
                let behind = &placed[s.index()][self.nodes[d].index..];
                let d = with_room(behind, &edges[s.index() * 4 + q.index()]);
                let need = self.nodes[d].index + 1;
                self.nodes[d].instr = {
                    let instr = self.nodes[d].instr;
                    instr.signal(instr.signal_mask() | q.bit())
                };
                self.nodes[i].instr = {
                    let instr = self.nodes[i].instr;
                    instr.wait(instr.wait_mask() | s.bit())
                };
                edges[s.index() * 4 + q.index()].push((d, i));
                let theirs = at_start[d];
                for (m, t) in mine.iter_mut().zip(theirs) {
                    *m = (*m).max(t);
                }
                mine[s.index()] = mine[s.index()].max(need);
            }
            known[q.index()] = mine;
            at_start.push(mine);
            placed[q.index()].push(i);
        }
        edges
    }

    /// Estimated start of every instruction with queues of unlimited length.
    fn estimate(&self, edges: &[Vec<(NodeId, NodeId)>]) -> Vec<u64> {
        let mut incoming: Vec<Vec<NodeId>> = vec![Vec::new(); self.nodes.len()];
        for list in edges {
            for (k, (producer, consumer)) in list.iter().enumerate() {
                incoming[*consumer].push(*producer);
                // never more than MAX_TOKENS ahead of the consumer
                if let Some((later, _)) = list.get(k + MAX_TOKENS) {
                    if *consumer < *later {
                        incoming[*later].push(*consumer);
                    }
                }
            }
        }
        let mut free = [0u64; 4];
        let mut start = vec![0u64; self.nodes.len()];
        for (i, n) in self.nodes.iter().enumerate() {
            let end = |d: NodeId| start[d] + self.nodes[d].duration + self.nodes[d].latency;
            let mut t = free[n.queue.index()];
            t = incoming[i].iter().map(|d| end(*d)).fold(t, u64::max);
            t = n.after_start.map_or(t, |d| t.max(start[d] + 1));
            t = n.after_end.map_or(t, |d| t.max(end(d)));
            start[i] = t;
            free[n.queue.index()] = t + n.duration;
        }
        start
    }
}

/// The first of `producers` after which fewer tokens than [`MAX_TOKENS`] of `edges` are still to be taken, else the last.
/// Waiting for a later instruction than necessary makes up for tokens that a long ring of buffers would leave lying.
fn with_room(producers: &[NodeId], edges: &[(NodeId, NodeId)]) -> NodeId {
    let lying = |producer: NodeId| edges.len() - edges.partition_point(|(_, consumer)| *consumer < producer);
    let full = producers.partition_point(|p| lying(*p) >= MAX_TOKENS - 1);
    producers[full.min(producers.len() - 1)]
}

/// A set of bytes, words or pixels of one buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// Addresses `lo..hi`; two regions of different owners meet where these overlap.
    pub lo: usize,
    pub hi: usize,
    /// Who laid out the addresses; regions of one owner meet where both rectangles overlap.
    pub owner: usize,
    pub rows: (usize, usize),
    pub blocks: (usize, usize),
}

impl Region {
    /// Plain addresses.
    pub fn span(lo: usize, hi: usize) -> Region {
        Region { lo, hi, owner: usize::MAX, rows: (lo, hi), blocks: (0, 1) }
    }

    /// Addresses `rows` (counted from `base`) of what `owner` laid out, in some of its channel blocks.
    pub fn part(base: usize, owner: usize, rows: (usize, usize), blocks: (usize, usize)) -> Region {
        Region { lo: base + rows.0, hi: base + rows.1, owner, rows, blocks }
    }

    fn meets(&self, o: &Region) -> bool {
        let overlap = |a: (usize, usize), b: (usize, usize)| a.0 < b.1 && b.0 < a.1;
        match self.owner == o.owner {
            true => overlap(self.rows, o.rows) && overlap(self.blocks, o.blocks),
            false => overlap((self.lo, self.hi), (o.lo, o.hi)),
        }
    }

    /// Nothing of `o` lies outside.
    fn covers(&self, o: &Region) -> bool {
        let inside = |a: (usize, usize), b: (usize, usize)| a.0 <= b.0 && b.1 <= a.1;
        match self.owner == o.owner {
            true => inside(self.rows, o.rows) && inside(self.blocks, o.blocks),
            // a write inside a foreign region may leave gaps: only plain spans cover
            false => self.owner == usize::MAX && inside((self.lo, self.hi), (o.lo, o.hi)),
        }
    }
}

struct Access {
    region: Region,
    node: NodeId,
    write: bool,
    queue: Queue,
}

/// Reads and writes of one buffer that later accesses may have to wait for.
#[derive(Default)]
pub struct Tracker {
    live: Vec<Access>,
}

impl Tracker {
    /// Instructions that must be finished before a read of `region`.
    pub fn before_read(&self, region: &Region) -> Vec<NodeId> {
        self.live.iter().filter(|a| a.write && a.region.meets(region)).map(|a| a.node).collect()
    }

    /// Instructions that must be finished before a write of `region`.
    pub fn before_write(&self, region: &Region) -> Vec<NodeId> {
        self.live.iter().filter(|a| a.region.meets(region)).map(|a| a.node).collect()
    }

    /// Records a read by `node`.
    pub fn read(&mut self, region: Region, node: NodeId, queue: Queue) {
        let same = |a: &Access| !a.write && a.queue == queue && region.covers(&a.region);
        self.live.retain(|a| !same(a));
        self.live.push(Access { region, node, write: false, queue });
    }

    /// Records a write by `node`, which waits for everything it covers.
    pub fn write(&mut self, region: Region, node: NodeId, queue: Queue) {
        self.live.retain(|a| !region.covers(&a.region));
        self.live.push(Access { region, node, write: true, queue });
    }
}

/// A ring of `depth` words, handed out in contiguous pieces.
#[derive(Clone, Copy, Debug)]
pub struct Ring {
    depth: usize,
    next: usize,
}

impl Ring {
    pub fn new(depth: usize) -> Ring {
        Ring { depth, next: 0 }
    }

    /// The next `len` words, of which an error says `what` they hold.
    pub fn take(&mut self, what: &'static str, len: usize) -> Result<usize, CompileErrorKind> {
        if len > self.depth {
            return Err(CompileErrorKind::DoesNotFit { what, need: len, limit: self.depth });
        }
        if self.next + len > self.depth {
            self.next = 0;
        }
        let at = self.next;
        self.next += len;
        Ok(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hdl_gen::isa::Op;

    fn nop(q: Queue) -> Instr {
        Instr::new([Op::LoadNop, Op::WgtNop, Op::PassNop, Op::PostNop][q.index()])
    }

    #[test]
    fn dependencies_that_others_cover_cost_no_token() {
        let mut s = Schedule::default();
        let load = s.push(Queue::Load, nop(Queue::Load), vec![], Cost::default());
        let pass = s.push(Queue::Pass, nop(Queue::Pass), vec![load], Cost::default());
        // post waits for pass, and with it for load
        s.push(Queue::Post, nop(Queue::Post), vec![pass, load], Cost::default());
        // the next pass waits for the same load again
        s.push(Queue::Pass, nop(Queue::Pass), vec![load], Cost::default());
        let program = s.finish();
        let waits: Vec<u8> = program.iter().map(|i| i.wait_mask()).collect();
        assert_eq!(waits.iter().map(|w| w.count_ones()).sum::<u32>(), 2);
        assert_eq!(program[0].signal_mask(), Queue::Pass.bit());
    }

    #[test]
    fn tokens_balance_for_every_queue_pair() {
        let mut s = Schedule::default();
        let mut last = Vec::new();
        let mut seed = 12345u64;
        for _ in 0..500 {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let q = Queue::ALL[(seed >> 33) as usize % 4];
            let deps = last.iter().copied().filter(|d| (seed >> (d % 24)) & 3 == 0).collect();
            last.push(s.push(q, nop(q), deps, Cost { duration: seed >> 60, latency: 0 }));
            if last.len() > 8 {
                last.remove(0);
            }
        }
        let program = s.finish();
        let mut tokens = [[0i32; 4]; 4];
        for i in &program {
            let own = i.op().and_then(|o| o.def().queue).expect("queued").index();
            for other in Queue::ALL {
                if i.wait_mask() & other.bit() != 0 {
                    tokens[other.index()][own] -= 1;
                    assert!(tokens[other.index()][own] >= 0, "a wait stands before its signal");
                }
            }
            for other in Queue::ALL {
                tokens[own][other.index()] += (i.signal_mask() & other.bit() != 0) as i32;
            }
        }
        assert_eq!(tokens, [[0; 4]; 4]);
    }

    #[test]
    fn a_write_waits_for_readers_and_a_read_for_writers() {
        let mut t = Tracker::default();
        t.write(Region::span(0, 10), 0, Queue::Load);
        t.read(Region::span(0, 5), 1, Queue::Wgt);
        assert_eq!(t.before_read(&Region::span(4, 6)), vec![0]);
        assert_eq!(t.before_write(&Region::span(4, 6)), vec![0, 1]);
        assert_eq!(t.before_write(&Region::span(6, 7)), vec![0]);
        let block = |b| Region { lo: 0, hi: 100, owner: 3, rows: (0, 4), blocks: (b, b + 1) };
        t.write(block(0), 2, Queue::Post);
        assert!(!t.before_read(&block(1)).contains(&2));
        assert!(t.before_read(&block(0)).contains(&2));
    }
}
