// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `brickwork explore`: the cycles it goes by are those of the full compiler, and its command line.

mod common;

use brickwork::explore::journal;
use brickwork::explore::network::{Network, Outcome};
use brickwork::explore::plans::{measure, Plans};
use brickwork::explore::point::{Point, PARAMS, PORTS, TAPS, WEIGHTS};
use brickwork::explore::random::Random;
use brickwork::explore::space::Space;
use brickwork::explore::target::Target;
use brickwork_compiler::lower::{compile, Options};
use brickwork_sim::image::{Image, RunOptions};
use brickwork_sim::machine::Machine;
use common::{brickwork, repo, scratch};
use hdl_gen::Arch;
use std::cell::Cell;
use std::fs;
use std::path::Path;
use std::process::Output;

fn shipped(name: &str) -> Network {
    Network::load(&repo(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// Cycles of the full way: compiled for this configuration alone, run with data.
fn full_cycles(network: &Network, arch: &Arch) -> Result<u64, String> {
    let program = compile(&network.graph, arch, &Options::default()).map_err(|e| e[0].to_string())?;
    let info = &program.info;
    let regions = [
        program.constants.clone(),
        vec![0x5a; info.input_bytes],
        vec![0; info.output_bytes],
        vec![0; info.scratch_bytes],
    ];
    let mut image = Image { program: program.instrs, regions };
    let result = Machine::new(arch).run(&mut image, &RunOptions::default());
    assert_eq!(result.error, None);
    Ok(result.cycles)
}

#[test]
fn cycles_of_a_search_are_those_of_the_full_compiler_and_no_bound_is_above_them() {
    let seed = 20261123;
    println!("seed {seed}");
    let mut random = Random::new(seed, &[]);
    let target = Target::new("xc7z020", 150, 100, None).expect("known");
    let space = Space::default();
    let arrays = space.arrays();
    let models =
        ["TFC_1W2A.onnx", "kws_ref_model.tflite", "pretrainedResnet_quant.tflite", "ad01_int8.tflite"];
    let networks: Vec<Network> = models.iter().map(|m| shipped(&format!("models/{m}"))).collect();
    let (mut compared, mut refused) = (0, 0);
    while compared < 48 {
        let array = arrays[random.below(arrays.len())];
        let Some((point, _)) = space.furnish(array, &target) else { continue };
        // another point of the same plan
        let other = [(WEIGHTS, 2), (TAPS, 2), (PARAMS, 2), (PORTS, 2)]
            .into_iter()
            .filter(|_| random.below(2) == 0)
            .fold(point, |p, (field, factor)| p.with(field, p.get(field) * factor));
        let network = &networks[random.below(networks.len())];
        let alone = std::slice::from_ref(network);
        let Some(first) = target.arch(&point) else { continue };
        let plans = Plans::new(alone, &first);
        // the last one finds the program of the first one timed
        for point in [point, other, point.with(PARAMS, 2 * point.get(PARAMS))] {
            let place = format!("seed {seed}: {} on {:?}", network.identity.name, point.0);
            let Some(arch) = target.arch(&point) else { continue };
            let bound = Cell::new(0);
            let outcome = plans.outcome(alone, &arch, |least| {
                bound.set(least[0]);
                false
            });
            match (outcome, full_cycles(network, &arch)) {
                (Outcome::Exact { cycles, .. }, Ok(full)) => {
                    assert_eq!(cycles, [full], "{place}");
                    let bounds = [network.least_cycles(&arch), bound.get()];
                    assert!(bounds.iter().all(|b| *b <= full), "{place}: {bounds:?} above {full}");
                    compared += 1;
                }
                (Outcome::Refused(_), Err(_)) => refused += 1,
                (a, b) => panic!("{place}: {a:?} against {b:?}"),
            }
        }
    }
    println!("{compared} compared, {refused} refused");
}

/// A small search: TFC on a few arrays of the xc7z010.
const SMALL: [&str; 16] = [
    "explore",
    "models/TFC_1W2A.onnx",
    "--budget",
    "70",
    "--device",
    "xc7z010",
    "--clock",
    "100",
    "--limit",
    "rows=2..4",
    "--limit",
    "lanes=8..8",
    "--limit",
    "brick_bits=1",
    "--limit",
    "columns=32..64",
];

fn explore(dir: &Path, more: &[&str]) -> Output {
    let dir = dir.to_str().expect("UTF-8");
    brickwork(&[&SMALL[..], &["-o", dir], more].concat())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The report without what a run took.
fn findings(dir: &Path) -> serde_json::Value {
    let mut json: serde_json::Value = serde_json::from_str(&read(&dir.join("report.json"))).expect("JSON");
    for name in ["took", "compiled_now"] {
        json.as_object_mut().expect("an object").remove(name);
    }
    json
}

fn good(output: &Output) {
    assert_eq!(output.status.code(), Some(0), "{}{}", text(&output.stdout), text(&output.stderr));
}

fn refused(output: &Output, why: &str) {
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stdout));
    assert!(text(&output.stderr).contains(why), "{}", text(&output.stderr));
}

#[test]
fn a_search_does_not_depend_on_threads_or_interruptions_and_its_winner_is_ready() {
    let dir = scratch("explore");
    let (one, two) = (dir.join("one"), dir.join("two"));
    good(&explore(&one, &["--threads", "1", "--from", "configs/tiny.toml"]));
    good(&explore(&two, &["--threads", "3", "--from", "configs/tiny.toml"]));
    assert_eq!(findings(&one), findings(&two));

    // ended after some lines, the last one torn
    let journal = two.join("journal.jsonl");
    let lines = read(&journal);
    let keep: usize = lines.split_inclusive('\n').take(9).map(str::len).sum();
    fs::write(&journal, &lines[..keep + 17]).expect("written");
    good(&explore(&two, &["--threads", "2", "--from", "configs/tiny.toml"]));
    assert_eq!(findings(&one), findings(&two));
    let count = |path: &Path| read(path).lines().count();
    assert_eq!(count(&journal), count(&one.join("journal.jsonl")));

    // everything known: nothing is evaluated
    let again = explore(&one, &["--from", "configs/tiny.toml", "--json"]);
    good(&again);
    let json: serde_json::Value = serde_json::from_slice(&again.stdout).expect("JSON");
    assert_eq!(json["compiled_now"], 0);

    // the winner is no worse than what it began with, and what it promises holds
    let best = &json["best"];
    let price = |v: &serde_json::Value| v["price"].as_f64().expect("a number");
    assert!(price(best) <= price(&json["given"][0]));
    let winner = one.join("winner.toml");
    let compiled = brickwork(&[
        "compile",
        "models/TFC_1W2A.onnx",
        "--config",
        winner.to_str().expect("UTF-8"),
        "-o",
        one.join("tfc.bwp").to_str().expect("UTF-8"),
        "--json",
    ]);
    good(&compiled);
    let report: serde_json::Value = serde_json::from_slice(&compiled.stdout).expect("JSON");
    assert_eq!(report["cycles_predicted"], best["cycles"][0]);
    for name in ["front_lut.svg", "front_block_ram.svg"] {
        let svg = read(&one.join(name));
        assert!(svg.starts_with("<svg") && svg.contains("<circle") && !svg.contains("NaN"), "{name}");
    }

    // another seed is another search
    refused(&explore(&one, &["--seed", "2"]), "it belongs to another search");
}

#[test]
fn shards_merge_without_loss() {
    let dir = scratch("explore_shards");
    let shards: Vec<_> = (1..=2).map(|i| dir.join(format!("shard-{i}"))).collect();
    for (i, shard) in shards.iter().enumerate() {
        good(&explore(shard, &["--shard", &format!("{}/2", i + 1)]));
    }
    let journals: Vec<_> = shards.iter().map(|s| s.join("journal.jsonl")).collect();
    let merged = dir.join("merged");
    let [a, b] = [0, 1].map(|i| journals[i].to_str().expect("UTF-8"));
    let out = merged.to_str().expect("UTF-8");
    good(&brickwork(&["explore", "merge", a, b, "-o", out]));
    let all = journal::read(&merged.join("journal.jsonl")).expect("a journal").outcomes;
    let mut best = f64::INFINITY;
    for (path, shard) in journals.iter().zip(&shards) {
        for (point, outcome) in journal::read(path).expect("a journal").outcomes {
            match outcome {
                Outcome::Exact { .. } => assert_eq!(all[&point], outcome),
                _ => assert!(all.contains_key(&point)),
            }
        }
        best = best.min(findings(shard)["best"]["price"].as_f64().expect("a number"));
    }
    assert_eq!(findings(&merged)["best"]["price"].as_f64(), Some(best));
    // merging again, also what is merged already, changes nothing
    let twice = dir.join("twice");
    let merged_journal = merged.join("journal.jsonl");
    let arguments = ["explore", "merge", merged_journal.to_str().expect("UTF-8"), b, "-o"];
    good(&brickwork(&[&arguments[..], &[twice.to_str().expect("UTF-8")]].concat()));
    assert_eq!(read(&twice.join("journal.jsonl")), read(&merged_journal));

    fs::write(&journals[0], "not a journal\n").expect("written");
    refused(&brickwork(&["explore", "merge", a, b, "-o", out]), "line 1 is not one of a journal");
}

#[test]
fn what_cannot_be_searched_is_said() {
    let dir = scratch("explore_refusals");
    refused(&brickwork(&["explore", "models/TFC_1W2A.onnx", "--device", "xc9"]), "known are xc7z007s");
    refused(&explore(&dir, &["--limit", "rows=40..50"]), "rows goes from 2 to 4");
    refused(&explore(&dir, &["--limit", "row=4"]), "fields are rows, lanes");
    refused(&explore(&dir.join("full"), &["--fill", "3"]), "fits xc7z010 with at most 3 % of its LUTs");
    refused(&explore(&dir, &["--from", "configs/odd.toml"]), "queues and bursts of the usual size");
    // no room for the window of the last pooling, so nothing can be compiled
    let small = ["--limit", "banks=64", "--limit", "accumulators=64", "--limit", "columns=32"];
    let kws = ["explore", "models/kws_ref_model.tflite", "--device", "xc7z010", "--budget", "5"];
    let place = dir.join("refused");
    let output = ["-o", place.to_str().expect("UTF-8"), "--limit", "rows=1..2", "--limit", "lanes=4"];
    let result = brickwork(&[&kws[..], &small[..], &output[..]].concat());
    refused(&result, "cannot do the networks");
    assert!(read(&place.join("journal.jsonl")).contains("refused"));
    // 25 x 5 pixels of 2 blocks of channels with 8 planes
    refused(&result, "2000 needed, the configuration has 256");
}

#[test]
fn job_files_hold_the_whole_search() {
    let dir = scratch("explore_jobs");
    good(&explore(&dir, &["--jobs", "3", "--seed", "7", "--bandwidth", "2000"]));
    let list = read(&dir.join("explore.parallel"));
    assert_eq!(list.lines().count(), 3);
    let second = list.lines().nth(1).expect("three lines");
    for part in ["--device xc7z010", "--limit rows=2..4", "--seed 7", "--bandwidth 2000", "--shard 2/3"] {
        assert!(second.contains(part), "{second}");
    }
    // the commands are those of this program
    let words: Vec<&str> = second.split(' ').skip(1).filter(|w| !w.is_empty()).collect();
    let cut = words.iter().position(|w| *w == "--budget").expect("it is there");
    let mut small = words.clone();
    small[cut + 1] = "4";
    good(&brickwork(&small));
    assert!(dir.join("shard-2/winner.toml").is_file());
    assert!(read(&dir.join("explore.slurm")).contains("#SBATCH --array=1-3"));
}

#[test]
fn narrower_widths_take_fewer_cycles_and_the_given_ones_those_of_compile() {
    let dir = scratch("explore_widths");
    let out = dir.to_str().expect("UTF-8");
    let model = "models/pretrainedResnet_quant.tflite";
    let arguments =
        ["explore", model, "--widths=4x4,2x2", "--config", "configs/tiny.toml", "-o", out, "--json"];
    let output = brickwork(&arguments);
    good(&output);
    let rows: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).expect("JSON");
    let number = |i: usize, name: &str| rows[i][name].as_u64().expect("a number");
    assert_eq!(rows.len(), 3);
    for name in ["cycles", "bit_operations", "weight_bytes", "feature_bytes", "moved_bytes"] {
        assert!(number(0, name) > number(1, name) && number(1, name) > number(2, name), "{name}");
    }
    let network = shipped(model);
    let config = fs::read_to_string(repo("configs/tiny.toml")).expect("shipped");
    let arch = Arch::new(&hdl_gen::Config::from_toml(&config, "tiny.toml").expect("correct"));
    match measure(&[network], &arch) {
        Outcome::Exact { cycles, bytes } => {
            assert_eq!([cycles[0], bytes[0]], [number(0, "cycles"), number(0, "moved_bytes")])
        }
        other => panic!("{other:?}"),
    }
    assert!(read(&dir.join("widths.svg")).contains("4x4"));
    refused(&brickwork(&["explore", model, "--widths=4", "--config", "configs/tiny.toml"]), "as in 4x2");
    let layer = ["explore", model, "--widths", "--config", "configs/tiny.toml", "--layer", "nobody=1x1"];
    refused(&brickwork(&layer), "no such layer");
}

/// A journal is readable by what wrote it.
#[test]
fn points_are_written_as_plain_numbers() {
    let point = Point([9, 16, 128, 1, 8, 4096, 512, 2048, 512, 512, 2]);
    let text = serde_json::to_string(&point).expect("plain");
    assert_eq!(text, "[9,16,128,1,8,4096,512,2048,512,512,2]");
}
