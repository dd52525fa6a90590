// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Waveforms of the real top: from the chosen cycle or layer on, so long as asked for, readable, with signals that move.

mod common;

use common::{brickwork, repo, scratch};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;

const MODEL: &str = "models/TFC_1W2A.onnx";
const VECTORS: &str = "models/TFC_1W2A.vectors.npz";
const TINY: &str = "configs/tiny.toml";
/// Units of time in a clock cycle, see `sim/harness/harness.cpp.tera`.
const CYCLE: u64 = 10;

/// What an FST file says of itself.
struct Fst {
    start: u64,
    end: u64,
    variables: u64,
    /// Bytes of the sections with value changes.
    changes: usize,
    /// Scopes and names, unpacked, as bytes and as text.
    names: Vec<u8>,
    hierarchy: String,
}

fn number(bytes: &[u8], at: usize) -> u64 {
    u64::from_be_bytes(bytes[at..at + 8].try_into().expect("8 bytes"))
}

/// Reads the chain of sections; panics where it does not lead exactly to the end of the file.
fn read(path: &Path) -> Fst {
    let file = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut fst = Fst { start: 0, end: 0, variables: 0, changes: 0, names: vec![], hierarchy: String::new() };
    let (mut at, mut kinds) = (0, vec![]);
    while at < file.len() {
        let (kind, length) = (file[at], number(&file, at + 1) as usize);
        let section = &file[at + 1..at + 1 + length];
        match kind {
            0 => {
                (fst.start, fst.end) = (number(section, 8), number(section, 16));
                assert_eq!(f64::from_le_bytes(section[24..32].try_into().unwrap()), std::f64::consts::E);
                fst.variables = number(section, 48);
            }
            1 | 5 | 8 => fst.changes += length,
            6 => fst.names = unpack(&section[16..], number(section, 8) as usize),
            _ => {}
        }
        kinds.push(kind);
        at += 1 + length;
    }
    fst.hierarchy = String::from_utf8_lossy(&fst.names).into_owned();
    assert_eq!(at, file.len(), "the last section is cut off");
    assert_eq!(kinds[0], 0, "the header comes first: {kinds:?}");
    assert!(kinds.contains(&3) && kinds.contains(&6), "geometry and hierarchy: {kinds:?}");
    fst
}

/// The text of an LZ4 block.
fn unpack(mut from: &[u8], length: usize) -> Vec<u8> {
    fn count(from: &mut &[u8], nibble: u8) -> usize {
        let mut n = nibble as usize;
        if nibble == 15 {
            loop {
                let more = from[0];
                *from = &from[1..];
                n += more as usize;
                if more < 255 {
                    break;
                }
            }
        }
        n
    }
    let mut text = vec![];
    while text.len() < length {
        let token = from[0];
        from = &from[1..];
        let (literals, rest) = {
            let n = count(&mut from, token >> 4);
            from.split_at(n)
        };
        text.extend(literals);
        from = rest;
        if from.is_empty() {
            break;
        }
        let back = u16::from_le_bytes([from[0], from[1]]) as usize;
        from = &from[2..];
        for _ in 0..count(&mut from, token & 15) + 4 {
            text.push(text[text.len() - back]);
        }
    }
    assert_eq!(text.len(), length, "the hierarchy is whole");
    text
}

/// The full names of the recorded signals, without ranges.
fn signals(mut bytes: &[u8]) -> BTreeSet<String> {
    let (mut scopes, mut names) = (vec![], BTreeSet::new());
    let text = |bytes: &mut &[u8]| {
        let end = bytes.iter().position(|b| *b == 0).expect("a text ends");
        let found = String::from_utf8_lossy(&bytes[..end]).into_owned();
        *bytes = &bytes[end + 1..];
        found
    };
    fn number(bytes: &mut &[u8]) {
        while bytes[0] & 0x80 != 0 {
            *bytes = &bytes[1..];
        }
        *bytes = &bytes[1..];
    }
    while let [kind, rest @ ..] = bytes {
        bytes = rest;
        match kind {
            254 => {
                bytes = &bytes[1..];
                scopes.push(text(&mut bytes));
                text(&mut bytes);
            }
            255 => drop(scopes.pop()),
            252 => {
                bytes = &bytes[2..];
                text(&mut bytes);
                number(&mut bytes);
            }
            253 => {}
            _ => {
                bytes = &bytes[1..];
                let name = text(&mut bytes);
                number(&mut bytes);
                number(&mut bytes);
                let bare = name.split([' ', '[']).next().unwrap_or_default();
                names.insert(format!("{}.{bare}", scopes.join(".")));
            }
        }
    }
    names
}

/// The save file beside a recording names signals that are there, and filter files that name every instruction.
fn save_file_fits(recording: &Path, fst: &Fst) {
    let save = std::fs::read_to_string(recording.with_extension("gtkw")).expect("a save file");
    let there = signals(&fst.names);
    assert!(there.contains("top.brickwork_top.u_control.u_dispatcher.chk_q"), "{} signals", there.len());
    let mut shown = 0;
    for line in save.lines().filter(|l| l.starts_with("top.") || l.starts_with("#{")) {
        for name in line.split(' ').filter_map(|w| w.find("top.").map(|at| &w[at..])) {
            let bare = name.split('[').next().unwrap();
            assert!(there.contains(bare), "{name} is not recorded");
            shown += 1;
        }
    }
    assert!(shown > 60, "{shown} signals and bits in the save file");
    for group in ["control", "load", "weights", "array", "post and store", "memory"] {
        assert_eq!(save.matches(&format!("\n-{group}\n")).count(), 2, "{group} begins and ends");
    }
    let filters: BTreeSet<&str> = save.lines().filter_map(|l| l.strip_prefix("^1 ")).collect();
    assert_eq!(filters.len(), 4, "{filters:?}");
    let text: String = filters.iter().map(|f| std::fs::read_to_string(f).expect("a filter file")).collect();
    for instruction in hdl_gen::isa::INSTRUCTIONS {
        let line = format!("{:02X} {}\n", instruction.op as u8, instruction.mnemonic);
        assert!(text.contains(&line), "no {line}");
    }
    for line in ["0 act\n", "4 table\n", "6 watchdog\n", "7 NONE\n", "0 READY\n", "5 SET_ADDR\n"] {
        assert!(text.contains(line), "no {line} in {text}");
    }
}

/// Runs the first digit and records it; gives the recording and the cycles of the run.
fn record(name: &str, more: &[&str]) -> (Fst, u64) {
    let dir = scratch(&format!("trace_{name}"));
    let (file, output) = (dir.join("x.fst"), dir.join("out.npz"));
    let arguments = [
        "run",
        MODEL,
        "--config",
        TINY,
        "--input",
        VECTORS,
        "--output",
        output.to_str().unwrap(),
        "--backend",
        "rtl",
        "--batch-limit",
        "1",
        "--json",
        "--trace",
        file.to_str().unwrap(),
    ];
    let ran = brickwork(&[&arguments, more].concat());
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let report: Value = serde_json::from_slice(&ran.stdout).expect("a report");
    let cycles = report["cycles_measured"].as_u64().unwrap_or_else(|| panic!("no cycles in {report}"));
    let fst = read(&file);
    save_file_fits(&file, &fst);
    assert_eq!(report["waves"], file.with_extension("gtkw").to_str().unwrap());
    (fst, cycles)
}

#[test]
fn a_recording_begins_where_it_is_told_to_and_shows_the_machine() {
    assert!(repo(MODEL).is_file());
    let (whole, cycles) = record("whole", &[]);
    let seen = (whole.end - whole.start) / CYCLE;
    assert!((cycles..cycles + 200).contains(&seen), "{seen} cycles recorded of {cycles}");
    for name in
        ["brickwork_top", "u_control", "u_compute_core", "u_post_unit", "m_axi_ld0_araddr", "acc_rd_en"]
    {
        assert!(whole.hierarchy.contains(name), "no {name} among {} variables", whole.variables);
    }
    assert!(whole.variables > 500, "{} variables", whole.variables);

    let from = cycles / 2;
    let (part, _) = record("cycle", &["--trace-from", &from.to_string(), "--trace-cycles", "200"]);
    assert_eq!((part.end - part.start).div_ceil(CYCLE), 200);
    assert_eq!((part.start - whole.start) / CYCLE, from - 1, "a recording from 0 on begins with cycle 1");
    assert!(part.changes < whole.changes / 4 && part.changes > 1000, "{} bytes of changes", part.changes);

    let layer = layer(0);
    let (rest, _) = record("layer", &["--trace-from", &layer]);
    assert!(rest.start > whole.start + CYCLE && rest.end <= whole.end + CYCLE, "from {} on", rest.start);
}

/// Name of a layer of the network on `tiny`.
fn layer(n: usize) -> String {
    let output = brickwork(&[
        "verify",
        MODEL,
        "--config",
        TINY,
        "--inputs",
        VECTORS,
        "--backend",
        "machine",
        "--batch-limit",
        "1",
        "--json",
    ]);
    let report: Value = serde_json::from_slice(&output.stdout).expect("a report");
    report["layers"][n]["name"].as_str().unwrap_or_else(|| panic!("no layers in {report}")).into()
}
