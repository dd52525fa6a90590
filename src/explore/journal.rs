// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The file of a search: a line that says which search it is, then one line of JSON for every configuration evaluated.
//!
//! A line is written when its configuration is done, so a search that is ended in any way goes on where it was. The last line
//! may be torn.

use super::network::{Identity, Outcome};
use super::objective::Objective;
use super::point::Point;
use super::space::Space;
use super::target::Target;
use crate::Failure;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Mutex;

/// Version of the file's format and of what the numbers in it mean.
const FORMAT: u32 = 1;

/// Which search a journal belongs to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    pub journal: u32,
    pub brickwork: String,
    pub isa: u32,
    pub networks: Vec<Identity>,
    pub target: Target,
    pub objective: Objective,
    pub space: Space,
    pub seed: u64,
    /// Number from 1 on, and how many there are.
    pub shard: [u32; 2],
    /// Given configurations to begin with.
    pub from: Vec<Point>,
}

/// What is known of one configuration.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Entry {
    point: Point,
    #[serde(flatten)]
    outcome: Outcome,
}

/// A journal as it is read.
pub struct Contents {
    pub header: Header,
    pub outcomes: BTreeMap<Point, Outcome>,
    /// Bytes that are whole lines.
    whole: u64,
}

/// A journal that is written to.
pub struct Journal {
    path: PathBuf,
    file: Mutex<File>,
    written: AtomicUsize,
}

impl Header {
    pub fn new(networks: Vec<Identity>, target: Target, objective: Objective, space: Space) -> Header {
        Header {
            journal: FORMAT,
            brickwork: env!("CARGO_PKG_VERSION").into(),
            isa: hdl_gen::isa::VERSION_VALUE,
            networks,
            target,
            objective,
            space,
            seed: 1,
            shard: [1, 1],
            from: Vec::new(),
        }
    }

    /// In what the two differ, in words.
    pub fn difference(&self, other: &Header) -> Option<String> {
        let json = |h: &Header| serde_json::to_value(h).unwrap_or_default();
        let (a, b) = (json(self), json(other));
        let fields = a.as_object()?.iter().filter(|(name, value)| b.get(*name) != Some(value));
        let shown = fields.map(|(name, value)| format!("{name} is {} there, {value} here", b[name]));
        let all: Vec<String> = shown.collect();
        (!all.is_empty()).then(|| all.join("; "))
    }

    /// The same search, but for what tells its parts from one another.
    pub fn whole(&self) -> Header {
        Header { seed: 0, shard: [1, 1], ..self.clone() }
    }
}

/// Reads a journal. Errors: it is none, or a line before the last is damaged.
pub fn read(path: &Path) -> Result<Contents, Failure> {
    let text = fs::read_to_string(path).map_err(|e| Failure::file("read", path, e))?;
    let bad = |line: usize, why: &dyn std::fmt::Display| {
        Failure::file("read", path, format!("line {line} is not one of a journal of `explore`: {why}"))
    };
    // what follows the last line feed was torn
    let whole = text.rfind('\n').map_or(0, |at| at + 1);
    let mut lines = text[..whole].lines().enumerate();
    let first = lines.next().map_or("", |(_, line)| line);
    let header: Header = serde_json::from_str(first).map_err(|e| bad(1, &e))?;
    if header.journal != FORMAT {
        return Err(bad(1, &format!("its format is {}, this version writes {FORMAT}", header.journal)));
    }
    let mut outcomes = BTreeMap::new();
    for (at, line) in lines {
        let entry: Entry = serde_json::from_str(line).map_err(|e| bad(at + 1, &e))?;
        let lengths = match &entry.outcome {
            Outcome::Exact { cycles, bytes } => [cycles.len(), bytes.len()],
            Outcome::Least(cycles) => [cycles.len(); 2],
            Outcome::Refused(_) => [header.networks.len(); 2],
        };
        if lengths != [header.networks.len(); 2] {
            return Err(bad(at + 1, &"as many numbers as networks are expected"));
        }
        outcomes.insert(entry.point, entry.outcome);
    }
    Ok(Contents { header, outcomes, whole: whole as u64 })
}

impl Journal {
    /// Goes on with the journal at `path`, or begins it; what is known already comes with it.
    ///
    /// Errors: it belongs to another search, or cannot be read or written.
    pub fn open(path: &Path, header: &Header) -> Result<(Journal, BTreeMap<Point, Outcome>), Failure> {
        let begun = fs::metadata(path).is_ok_and(|m| m.len() > 0);
        let fail = |e: std::io::Error| Failure::file("write", path, e);
        if !begun {
            let mut line = serde_json::to_vec(header).map_err(Failure::other)?;
            line.push(b'\n');
            crate::out_file::write_whole(path, &line)?;
        }
        let contents = read(path)?;
        if let Some(difference) = header.difference(&contents.header) {
            return Err(Failure::file(
                "go on with",
                path,
                format!(
                    "it belongs to another search ({difference}); give the same arguments, \
                     another folder with -o, or remove the file"
                ),
            ));
        }
        let file = OpenOptions::new().append(true).open(path).map_err(fail)?;
        file.set_len(contents.whole).map_err(fail)?;
        Ok((
            Journal { path: path.into(), file: Mutex::new(file), written: AtomicUsize::new(0) },
            contents.outcomes,
        ))
    }

    /// Writes one line, at once.
    pub fn add(&self, point: Point, outcome: &Outcome) -> Result<(), Failure> {
        let mut line =
            serde_json::to_vec(&Entry { point, outcome: outcome.clone() }).map_err(Failure::other)?;
        line.push(b'\n');
        let mut file = self.file.lock().unwrap_or_else(|e| e.into_inner());
        file.write_all(&line).map_err(|e| Failure::file("write", &self.path, e))?;
        self.written.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Lines written since it was opened.
    pub fn written(&self) -> usize {
        self.written.load(Ordering::Relaxed)
    }
}

/// Everything that several journals of one search know. Errors: they are not of one search, or contradict one another.
pub fn merge(paths: &[PathBuf]) -> Result<(Header, BTreeMap<Point, Outcome>), Failure> {
    let mut merged: Option<(Header, BTreeMap<Point, Outcome>)> = None;
    for path in paths {
        let contents = read(path)?;
        let header = contents.header.whole();
        let Some((first, outcomes)) = &mut merged else {
            merged = Some((header, contents.outcomes));
            continue;
        };
        if let Some(difference) = first.difference(&header) {
            let first = paths[0].display();
            let why = format!("it is of another search than {first}: {difference}");
            return Err(Failure::file("merge", path, why));
        }
        for (point, outcome) in contents.outcomes {
            insert(outcomes, point, outcome).map_err(|why| Failure::file("merge", path, why))?;
        }
    }
    merged.ok_or_else(|| Failure::Other("no journal to merge".into()))
}

/// Exact cycles say more than a bound.
fn insert(outcomes: &mut BTreeMap<Point, Outcome>, point: Point, outcome: Outcome) -> Result<(), String> {
    use Outcome::Least;
    match outcomes.get(&point) {
        Some(known) if *known == outcome => {}
        Some(Least(_)) | None => {
            outcomes.insert(point, outcome);
        }
        Some(_) if matches!(outcome, Least(_)) => {}
        Some(known) => {
            return Err(format!("of {:?} it says {outcome:?}, another journal {known:?}", point.0));
        }
    }
    Ok(())
}

/// A journal's text.
pub fn text(header: &Header, outcomes: &BTreeMap<Point, Outcome>) -> Result<String, Failure> {
    let mut text = serde_json::to_string(header).map_err(Failure::other)?;
    text.push('\n');
    for (point, outcome) in outcomes {
        let entry = Entry { point: *point, outcome: outcome.clone() };
        text.push_str(&serde_json::to_string(&entry).map_err(Failure::other)?);
        text.push('\n');
    }
    Ok(text)
}
