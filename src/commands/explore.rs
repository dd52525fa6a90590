// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `brickwork explore`.

use crate::cli::{Explore, ExploreAction, ExploreArguments};
use crate::explore::journal::{self, Header, Journal};
use crate::explore::network::{Network, Outcome};
use crate::explore::plans::measure;
use crate::explore::point::Point;
use crate::explore::search::{better, Counts, Found, Progress as Round, Search};
use crate::explore::space::Space;
use crate::explore::summary::{Summary, Took};
use crate::explore::target::Target;
use crate::explore::widths::{self, Scenario};
use crate::explore::{jobs, winner};
use crate::out_file::write_whole;
use crate::progress::Progress;
use crate::{generate, Failure};
use hdl_gen::Arch;
use std::path::{Path, PathBuf};
use std::time::Instant;

const JOURNAL: &str = "journal.jsonl";
const WINNER: &str = "winner.toml";
/// Widths that `--widths` tries where none are named.
const WIDTHS: [&str; 7] = ["8x8", "8x4", "4x4", "4x2", "2x2", "2x1", "1x1"];

/// Searches, merges, or replays; returns what is printed.
pub fn run(arguments: &Explore) -> Result<String, Failure> {
    let a = &arguments.arguments;
    match (&arguments.action, &a.widths, a.jobs) {
        (Some(ExploreAction::Merge(m)), ..) => merge(&m.journals, &m.output, m.json),
        (None, Some(list), _) => replay(a, list),
        (None, None, Some(count)) => write_jobs(a, count),
        (None, None, None) => search(a),
    }
}

fn target(a: &ExploreArguments) -> Result<Target, Failure> {
    let device = a.device.as_deref().unwrap_or_default();
    let bandwidth = a.bandwidth.map(|mb| mb as u64 * 1_000_000);
    Target::new(device, a.clock, a.fill, bandwidth)
}

fn space(a: &ExploreArguments) -> Result<Space, Failure> {
    let mut space = Space::default();
    for limit in &a.limit {
        space.limit(limit).map_err(Failure::Other)?;
    }
    Ok(space)
}

fn load(models: &[PathBuf]) -> Result<Vec<Network>, Failure> {
    models.iter().map(|path| Network::load(path)).collect()
}

fn search(a: &ExploreArguments) -> Result<String, Failure> {
    let (target, space) = (target(a)?, space(a)?);
    let given = a.from.iter().map(|path| given(path)).collect::<Result<Vec<_>, _>>()?;
    let networks = load(&a.models)?;
    let identities = networks.iter().map(|n| n.identity.clone()).collect();
    let header = Header {
        seed: a.seed,
        shard: a.shard,
        from: given.iter().map(|g| g.1).collect(),
        ..Header::new(identities, target, a.objective, space)
    };
    let (journal, known) = Journal::open(&a.output.join(JOURNAL), &header)?;
    let threads = a.threads.map_or_else(all_threads, |n| n as usize);
    let start = Instant::now();
    let progress = Watch::new(a.budget as usize, &header);
    let (found, counts) =
        Search::new(&header, &networks, known)
            .run(a.budget as usize, threads, &journal, |round| progress.round(&round))?;
    let took = Took { time: start.elapsed(), threads, compiled: journal.written() };
    drop(progress);
    let (given, notes) = compare(&header, &networks, &given);
    let summary =
        Summary { header: &header, found: &found, counts: &counts, given: &given, took: Some(took), notes };
    finish(&summary, &a.output, a.json)
}

fn all_threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// A configuration to begin with. Errors: the search cannot give it.
fn given(path: &Path) -> Result<(String, Point), Failure> {
    let config = generate::load_config(path)?;
    let point = Point::of(&config).ok_or_else(|| {
        let why = "a search has queues and bursts of the usual size; leave out [queues] and axi.burst_beats";
        Failure::file("begin with", path, why)
    })?;
    Ok((config.name, point))
}

/// The given configurations with the device, the clock and the features of the search.
fn compare(
    header: &Header,
    networks: &[Network],
    given: &[(String, Point)],
) -> (Vec<(String, Found)>, Vec<String>) {
    let (mut all, mut notes) = (Vec::new(), Vec::new());
    for (name, point) in given {
        let Some(arch) = header.target.arch(point) else { continue };
        let Some(cost) = header.target.cost(&arch) else {
            notes.push(format!("{name} does not fit: it is left out"));
            continue;
        };
        match measure(networks, &arch) {
            Outcome::Exact { cycles, bytes } => {
                all.push((name.clone(), Found::new(header, *point, cost, cycles, bytes)));
            }
            Outcome::Refused(why) => notes.push(format!("{name} is left out: {why}")),
            Outcome::Least(_) => {}
        }
    }
    (all, notes)
}

/// Writes what was found.
///
/// Errors: nothing was found; a file cannot be written.
fn finish(summary: &Summary, dir: &Path, as_json: bool) -> Result<String, Failure> {
    let Some(best) = summary.winner() else { return Err(nothing(summary.header, summary.counts)) };
    let json = summary.json()?;
    let files = [
        (WINNER, winner::toml(summary.header, best)?),
        ("front_lut.svg", summary.chart(0)),
        ("front_block_ram.svg", summary.chart(1)),
        ("report.json", json.clone()),
    ];
    for (name, text) in &files {
        write_whole(&dir.join(name), text.as_bytes())?;
    }
    let names: Vec<&str> = files.iter().map(|f| f.0).collect();
    let written = format!("written  {}: {}, {JOURNAL}\n", dir.display(), names.join(", "));
    Ok(if as_json { json } else { summary.text() + &written })
}

fn nothing(header: &Header, counts: &Counts) -> Failure {
    let device = header.target.device().name;
    let considered = counts.considered;
    if counts.too_large == considered {
        return Failure::Other(format!(
            "none of the {considered} configurations considered fits {device} with at most {} % of its LUTs; \
             allow more with --fill, smaller arrays with --limit, or take a larger device",
            header.target.fill
        ));
    }
    let reasons: Vec<String> =
        counts.refused.iter().take(5).map(|(why, n)| format!("\n  {n} x {why}")).collect();
    Failure::Other(format!(
        "no configuration can be used: of {considered}, {} do not fit {device}, {} cannot do the networks:{}",
        counts.too_large,
        counts.refused.values().sum::<usize>(),
        reasons.concat()
    ))
}

fn merge(journals: &[PathBuf], dir: &Path, as_json: bool) -> Result<String, Failure> {
    let (header, outcomes) = journal::merge(journals)?;
    let mut counts = Counts { considered: outcomes.len(), ..Counts::default() };
    let mut found = Vec::new();
    for (point, outcome) in &outcomes {
        let fitting = header.target.arch(point).and_then(|arch| header.target.cost(&arch));
        match (outcome, fitting) {
            (Outcome::Exact { cycles, bytes }, Some(cost)) => {
                counts.exact += 1;
                found.push(Found::new(&header, *point, cost, cycles.clone(), bytes.clone()));
            }
            (Outcome::Refused(why), _) => *counts.refused.entry(why.clone()).or_default() += 1,
            (Outcome::Least(_), _) => counts.sketched += 1,
            (Outcome::Exact { .. }, None) => counts.too_large += 1,
        }
    }
    found.sort_by(better);
    write_whole(&dir.join(JOURNAL), journal::text(&header, &outcomes)?.as_bytes())?;
    let named = |p: &Point| found.iter().find(|f| f.point == *p).map(|f| ("given".to_string(), f.clone()));
    let given: Vec<(String, Found)> = header.from.iter().filter_map(named).collect();
    let notes = vec![format!("merged from {} journals", journals.len())];
    let summary =
        Summary { header: &header, found: &found, counts: &counts, given: &given, took: None, notes };
    finish(&summary, dir, as_json)
}

fn write_jobs(a: &ExploreArguments, count: u32) -> Result<String, Failure> {
    target(a)?;
    space(a)?;
    let dir = a.output.display().to_string();
    for (name, text) in jobs::files(&a.words(), &dir, count) {
        write_whole(&a.output.join(name), text.as_bytes())?;
    }
    Ok(format!(
        "{count} shards, written to {dir}:\n\
         Slurm         sbatch {dir}/explore.slurm\n\
         GNU parallel  parallel < {dir}/explore.parallel\n\
         then          sh {dir}/merge.sh\n"
    ))
}

fn replay(a: &ExploreArguments, list: &str) -> Result<String, Failure> {
    let path = a.config.as_deref().unwrap_or(Path::new(""));
    let arch = Arch::new(&generate::load_config(path)?);
    let networks = load(&a.models)?;
    let named: Vec<&str> = if list.is_empty() { WIDTHS.to_vec() } else { list.split(',').collect() };
    let mut scenarios = vec![Scenario::given()];
    for name in named {
        scenarios.push(Scenario::uniform(name)?);
    }
    if !a.layer.is_empty() {
        scenarios.push(Scenario::mixed(&a.layer)?);
    }
    scenarios.iter().try_for_each(|s| s.check(&networks))?;
    let progress = Progress::bar("widths".into(), networks.len() * scenarios.len());
    let mut replays = Vec::new();
    for network in &networks {
        for scenario in &scenarios {
            replays.push(widths::replay(network, &arch, scenario));
            progress.step();
        }
    }
    drop(progress);
    let mut json = serde_json::to_string_pretty(&replays).map_err(Failure::other)?;
    json.push('\n');
    let files = [("widths.svg", widths::chart(&arch, &replays)), ("widths.json", json.clone())];
    for (name, text) in &files {
        write_whole(&a.output.join(name), text.as_bytes())?;
    }
    let written = format!("written  {}: widths.svg, widths.json\n", a.output.display());
    Ok(if a.json { json } else { widths::text(&arch, &replays) + &written })
}

/// Shows how far a search is: as a bar on a terminal, else as a line now and then.
struct Watch<'a> {
    bar: Progress,
    header: &'a Header,
    budget: usize,
    start: Instant,
    said: std::cell::Cell<u64>,
}

/// Seconds between two lines.
const LINE_SECONDS: u64 = 30;

impl<'a> Watch<'a> {
    fn new(budget: usize, header: &'a Header) -> Watch<'a> {
        let bar = Progress::bar("searching".into(), budget);
        Watch { bar, header, budget, start: Instant::now(), said: Default::default() }
    }

    fn round(&self, round: &Round) {
        let best =
            round.best.map_or("nothing yet".into(), |b| self.header.objective.say(&b.seconds, &b.cost));
        let Counts { considered, exact, .. } = round.counts;
        let text = format!("{considered} considered, best {best}");
        self.bar.set(*exact, &text);
        let lines = self.start.elapsed().as_secs() / LINE_SECONDS;
        if lines > self.said.replace(lines) {
            self.bar.line(&format!("{exact} of {} evaluated, {text}", self.budget));
        }
    }
}
