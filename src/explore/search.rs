// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The search: rounds of configurations, each chosen from what the rounds before gave.
//!
//! A round takes neighbours of the best configurations known and arrays that were not looked at yet, the most promising and
//! random ones in turn. What is evaluated depends on the seed and on the results alone, never on threads or time; so a search that
//! was ended goes through the same rounds again and takes from its journal what it knows.

use super::front::{dominated, front};
use super::journal::{Header, Journal};
use super::network::{Network, Outcome};
use super::objective::{mean_cycles, seconds};
use super::plans::{by_plan, Shelf};
use super::point::Point;
use super::random::Random;
use super::space::Space;
use super::target::Cost;
use crate::Failure;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::Mutex;

/// Configurations of a round.
const ROUND: usize = 64;
/// Of these, neighbours of good ones.
const NEIGHBOURS: usize = 40;
/// Good configurations by the objective alone.
const BEST: usize = 8;
/// Random pairs of steps from each good configuration in a round.
const JUMPS: usize = 8;

/// A configuration with exact cycles.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    pub point: Point,
    pub cost: Cost,
    pub cycles: Vec<u64>,
    pub bytes: Vec<u64>,
    pub seconds: Vec<f64>,
    /// Of the objective; the smaller the better.
    pub price: f64,
}

/// How many configurations ended how.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counts {
    /// Keep the rules of configurations.
    pub considered: usize,
    /// Do not fit the device: known before anything was compiled.
    pub too_large: usize,
    /// Cannot beat what is known, by a bound on their cycles: known before (`bounded`) or after (`sketched`) planning.
    pub bounded: usize,
    pub sketched: usize,
    /// A network cannot be compiled, by reason.
    pub refused: BTreeMap<String, usize>,
    /// Cycles are exact.
    pub exact: usize,
}

/// A search under way.
pub struct Search<'a> {
    header: &'a Header,
    networks: &'a [Network],
    space: &'a Space,
    known: BTreeMap<Point, Outcome>,
    shelf: Shelf,
    seen: BTreeSet<Point>,
    /// Arrays, the most promising first; and in random order.
    promising: VecDeque<Point>,
    random: VecDeque<Point>,
    found: Vec<Found>,
    fronts: [Vec<[f64; 2]>; 2],
    counts: Counts,
    rounds: u64,
}

/// What a search says while it goes on.
pub struct Progress<'a> {
    pub counts: &'a Counts,
    pub best: Option<&'a Found>,
}

impl<'a> Search<'a> {
    /// `known`: outcomes of an earlier run of the same search.
    pub fn new(header: &'a Header, networks: &'a [Network], known: BTreeMap<Point, Outcome>) -> Search<'a> {
        let mut search = Search {
            header,
            networks,
            space: &header.space,
            known,
            shelf: Shelf::default(),
            seen: BTreeSet::new(),
            promising: VecDeque::new(),
            random: VecDeque::new(),
            found: Vec::new(),
            fronts: [Vec::new(), Vec::new()],
            counts: Counts::default(),
            rounds: 0,
        };
        search.deal();
        search
    }

    /// The arrays of this shard in the order in which they are looked at.
    fn deal(&mut self) {
        let [shard, shards] = self.header.shard;
        let mut arrays: Vec<(f64, Point)> = self
            .space
            .arrays()
            .into_iter()
            .filter_map(|p| {
                let arch = self.header.target.arch(&p)?;
                Some((mean_cycles(&self.least(&arch)), p))
            })
            .collect();
        arrays.sort_by(|a, b| a.partial_cmp(b).expect("finite"));
        let mine = arrays.into_iter().map(|a| a.1).skip(shard as usize - 1).step_by(shards as usize);
        self.promising = mine.collect();
        let mut shuffled: Vec<Point> = self.promising.iter().copied().collect();
        Random::new(self.header.seed, &[shard as u64]).shuffle(&mut shuffled);
        self.random = shuffled.into();
    }

    fn least(&self, arch: &hdl_gen::Arch) -> Vec<u64> {
        self.networks.iter().map(|n| n.least_cycles(arch)).collect()
    }

    /// Searches until `budget` configurations have exact cycles or nothing is left to try; everything found, best first.
    ///
    /// Errors: the journal cannot be written.
    pub fn run(
        mut self,
        budget: usize,
        threads: usize,
        journal: &Journal,
        mut watch: impl FnMut(Progress),
    ) -> Result<(Vec<Found>, Counts), Failure> {
        while self.counts.exact < budget {
            let round = self.next_round();
            if round.is_empty() {
                break;
            }
            self.evaluate(&round, threads, journal)?;
            for (point, cost) in round {
                self.take(point, cost);
            }
            self.found.sort_by(better);
            self.find_fronts();
            self.rounds += 1;
            watch(Progress { counts: &self.counts, best: self.found.first() });
        }
        Ok((self.found, self.counts))
    }

    fn next_round(&mut self) -> Vec<(Point, Cost)> {
        let mut round = Vec::new();
        if self.rounds == 0 {
            for point in self.header.from.clone() {
                self.consider(point, &mut round, usize::MAX);
            }
        }
        self.neighbours(&mut round);
        let mut turn = 0;
        while round.len() < ROUND && !(self.promising.is_empty() && self.random.is_empty()) {
            turn += 1;
            let list = if turn % 2 == 0 { &mut self.promising } else { &mut self.random };
            let Some(array) = list.pop_front() else { continue };
            if !self.seen.insert(array) {
                continue;
            }
            let furnished = self.space.furnish(array, &self.header.target);
            match furnished {
                None => {
                    self.counts.considered += 1;
                    self.counts.too_large += 1;
                }
                Some((point, _)) => {
                    if point == array {
                        self.seen.remove(&point);
                    }
                    self.consider(point, &mut round, ROUND);
                }
            }
        }
        round
    }

    /// Configurations one step, and some two steps, away from the good ones.
    fn neighbours(&mut self, round: &mut Vec<(Point, Cost)>) {
        for good in self.good() {
            for point in self.space.steps(&good) {
                self.consider(point, round, NEIGHBOURS);
            }
            let mut stream = vec![self.header.shard[0] as u64, self.rounds];
            stream.extend(good.0.map(u64::from));
            let mut random = Random::new(self.header.seed, &stream);
            for _ in 0..JUMPS {
                let first = self.space.steps(&good);
                let Some(middle) = first.get(random.below(first.len().max(1))).copied() else { break };
                let second = self.space.steps(&middle);
                if let Some(point) = second.get(random.below(second.len().max(1))) {
                    self.consider(*point, round, NEIGHBOURS);
                }
            }
        }
    }

    /// The best ones, then those of the fronts.
    fn good(&self) -> Vec<Point> {
        let mut good: Vec<Point> = self.found.iter().take(BEST).map(|f| f.point).collect();
        for axis in [0, 1] {
            let points: Vec<[f64; 2]> = self.found.iter().map(|f| f.axes(axis)).collect();
            good.extend(front(&points).into_iter().map(|i| self.found[i].point));
        }
        let mut seen = BTreeSet::new();
        good.retain(|p| seen.insert(*p));
        good
    }

    /// Adds a configuration to a round of at most `most`, if it is new, fits and may be good.
    fn consider(&mut self, point: Point, round: &mut Vec<(Point, Cost)>, most: usize) {
        if self.seen.contains(&point) || round.len() >= most {
            return;
        }
        self.seen.insert(point);
        let Some(arch) = self.header.target.arch(&point) else { return };
        self.counts.considered += 1;
        let Some(cost) = self.header.target.cost(&arch) else {
            self.counts.too_large += 1;
            return;
        };
        match self.is_hopeless(&self.least(&arch), &cost) {
            true => self.counts.bounded += 1,
            false => round.push((point, cost)),
        }
    }

    /// Whether a configuration with at least these cycles can neither be the best nor be on a front.
    fn is_hopeless(&self, least: &[u64], cost: &Cost) -> bool {
        let nothing = vec![0; least.len()];
        let times = seconds(&self.header.target, least, &nothing);
        let price = self.header.objective.price(&times, cost);
        let cycles = mean_cycles(least);
        self.found.first().is_some_and(|best| best.price <= price)
            && dominated(&self.fronts[0], [cycles, cost.lut as f64])
            && dominated(&self.fronts[1], [cycles, cost.block_ram])
    }

    /// Outcomes of a round, by as many threads as are wanted; each goes to the journal when it is there.
    fn evaluate(
        &mut self,
        round: &[(Point, Cost)],
        threads: usize,
        journal: &Journal,
    ) -> Result<(), Failure> {
        let costs: BTreeMap<Point, Cost> = round.iter().copied().collect();
        let wanted: Vec<Point> = round.iter().map(|r| r.0).filter(|p| !self.known.contains_key(p)).collect();
        let groups = by_plan(&wanted);
        let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
        let results = Mutex::new(Vec::new());
        let this = &*self;
        let work = || {
            while let Some(group) = groups.get(next.fetch_add(1, Ordering::Relaxed)) {
                let Some(arch) = this.header.target.arch(&group[0]) else { continue };
                let plans = this.shelf.plans(this.networks, &group[0], &arch);
                for point in group.iter().filter(|_| !stop.load(Ordering::Relaxed)) {
                    let Some(arch) = this.header.target.arch(point) else { continue };
                    let hopeless = |least: &[u64]| this.is_hopeless(least, &costs[point]);
                    let outcome = plans.outcome(this.networks, &arch, hopeless);
                    let written = journal.add(*point, &outcome);
                    stop.fetch_or(written.is_err(), Ordering::Relaxed);
                    let mut results = results.lock().unwrap_or_else(|e| e.into_inner());
                    results.push(written.map(|()| (*point, outcome)));
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..threads.min(groups.len()) {
                scope.spawn(work);
            }
            work();
        });
        for result in results.into_inner().unwrap_or_else(|e| e.into_inner()) {
            let (point, outcome) = result?;
            self.known.insert(point, outcome);
        }
        Ok(())
    }

    /// Takes a known outcome into account.
    fn take(&mut self, point: Point, cost: Cost) {
        match self.known.get(&point) {
            None => {}
            Some(Outcome::Least(_)) => self.counts.sketched += 1,
            Some(Outcome::Refused(why)) => *self.counts.refused.entry(why.clone()).or_default() += 1,
            Some(Outcome::Exact { cycles, bytes }) => {
                self.counts.exact += 1;
                self.found.push(Found::new(self.header, point, cost, cycles.clone(), bytes.clone()));
            }
        }
    }

    fn find_fronts(&mut self) {
        for axis in [0, 1] {
            let points: Vec<[f64; 2]> = self.found.iter().map(|f| f.axes(axis)).collect();
            self.fronts[axis] = front(&points).into_iter().map(|i| points[i]).collect();
        }
    }
}

impl Found {
    pub fn new(header: &Header, point: Point, cost: Cost, cycles: Vec<u64>, bytes: Vec<u64>) -> Found {
        let seconds = seconds(&header.target, &cycles, &bytes);
        let price = header.objective.price(&seconds, &cost);
        Found { point, cost, cycles, bytes, seconds, price }
    }

    /// Mean cycles against LUT (0) or block RAM (1).
    pub fn axes(&self, axis: usize) -> [f64; 2] {
        let other = if axis == 0 { self.cost.lut as f64 } else { self.cost.block_ram };
        [mean_cycles(&self.cycles), other]
    }
}

/// By price, then by what it takes of the device; of equal ones the larger, whose depths cost nothing.
pub fn better(a: &Found, b: &Found) -> std::cmp::Ordering {
    let key = |f: &Found| (f.price, f.cost.lut, f.cost.block_ram, Reverse(f.point));
    key(a).partial_cmp(&key(b)).expect("finite")
}
