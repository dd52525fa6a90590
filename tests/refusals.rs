// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a user can get wrong: every command names the place and the cure, ends with status 2 and writes nothing.

mod common;

use brickwork_compiler::npz::{read_npz, write_npz, Array, Data};
use common::{brickwork, repo, scratch};
use std::path::{Path, PathBuf};

const MODEL: &str = "models/TFC_1W2A.onnx";
const VECTORS: &str = "models/TFC_1W2A.vectors.npz";
const TINY: &str = "configs/tiny.toml";

fn path(p: &Path) -> &str {
    p.to_str().expect("a plain path")
}

/// Runs a command that must be refused; returns what it says.
fn refused(arguments: &[&str]) -> String {
    let output = brickwork(arguments);
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {message}");
    assert!(message.starts_with("error: "), "{arguments:?}: {message}");
    assert!(output.stdout.is_empty(), "{arguments:?}");
    message
}

fn refused_with(arguments: &[&str], needed: &[&str]) {
    let message = refused(arguments);
    for text in needed {
        assert!(message.contains(text), "{arguments:?} does not say {text:?}: {message}");
    }
}

fn verify(model: &str, config: &str, inputs: &str, needed: &[&str]) {
    refused_with(&["verify", model, "--config", config, "--backend", "golden", "--inputs", inputs], needed);
}

fn run(model: &str, more: &[&str], needed: &[&str]) {
    refused_with(&[&["run", model, "--config", TINY, "--input", VECTORS], more].concat(), needed);
}

/// The network as a program for `tiny`.
fn program(dir: &Path) -> PathBuf {
    let program = dir.join("tfc.bwp");
    let made = brickwork(&["compile", MODEL, "--config", TINY, "-o", path(&program)]);
    assert_eq!(made.status.code(), Some(0), "{}", String::from_utf8_lossy(&made.stderr));
    program
}

#[test]
fn files_that_are_missing_or_of_another_kind() {
    let dir = scratch("refused_files");
    let garbage = dir.join("garbage.onnx");
    std::fs::write(&garbage, b"\x08\x07not a network").unwrap();
    let model = std::fs::read(repo(MODEL)).unwrap();
    let cut = dir.join("cut.onnx");
    std::fs::write(&cut, &model[..2000]).unwrap();
    verify("no.onnx", TINY, VECTORS, &["no.onnx"]);
    verify(path(&garbage), TINY, VECTORS, &["garbage.onnx"]);
    verify(path(&cut), TINY, VECTORS, &["cut.onnx", "not a readable ONNX file"]);
    verify(TINY, TINY, VECTORS, &["tiny.toml", ".onnx"]);
    verify(MODEL, "no.toml", VECTORS, &["cannot read no.toml"]);
    verify(MODEL, MODEL, VECTORS, &["cannot read models/TFC_1W2A.onnx", "it is not text"]);
    verify(MODEL, "configs", VECTORS, &["cannot read configs"]);
    verify(MODEL, TINY, "no.npz", &["no.npz"]);
    verify(MODEL, TINY, TINY, &["cannot read configs/tiny.toml", "must end in .npy"]);
}

#[test]
fn programs_that_are_damaged_or_for_another_machine() {
    let dir = scratch("refused_programs");
    let program = program(&dir);
    let bytes = std::fs::read(&program).unwrap();
    let cut = dir.join("cut.bwp");
    std::fs::write(&cut, &bytes[..200]).unwrap();
    let changed = dir.join("changed.bwp");
    std::fs::write(&changed, [&bytes[..300], &[bytes[300] ^ 1], &bytes[301..]].concat()).unwrap();
    refused_with(&["disasm", path(&cut)], &["cannot read", "cut.bwp", "not a usable program file"]);
    refused_with(&["disasm", path(&changed)], &["changed.bwp", "checksum"]);
    refused_with(&["disasm", MODEL], &["not a usable program file"]);
    refused_with(&["disasm", "no.bwp"], &["cannot read no.bwp"]);
    let machine = ["--backend", "machine", "--input", VECTORS];
    let other = ["run", path(&program), "--config", "configs/odd.toml"];
    refused_with(
        &[&other[..], &machine].concat(),
        &["configuration tiny", "not for odd", "compile it again"],
    );
    let same = ["run", path(&program), "--config", TINY];
    refused_with(
        &[&same[..], &machine].concat(),
        &["takes codes", "float32 [40, 1, 28, 28]", "Run the model file"],
    );
    let golden = [&same[..], &["--input", VECTORS, "--backend", "golden"]].concat();
    refused_with(&golden, &["give the model file"]);
    refused_with(&[&same[..], &machine, &["--all-tensors"]].concat(), &["compile it with --all-tensors"]);
}

type Arrays = Vec<(String, Array)>;

/// Vectors after `change`, in a new file.
fn changed(dir: &Path, name: &str, change: impl Fn(&mut Arrays)) -> PathBuf {
    let mut arrays = read_npz(&repo(VECTORS)).expect("the committed vectors");
    arrays.retain(|(n, _)| n == "input" || n == "expected");
    change(&mut arrays);
    let file = dir.join(format!("{name}.npz"));
    write_npz(&file, &arrays).expect("written");
    file
}

fn floats(array: &Array) -> &[f32] {
    match &array.data {
        Data::F32(values) => values,
        other => panic!("{}", other.type_name()),
    }
}

#[test]
fn arrays_that_do_not_fit() {
    let dir = scratch("refused_arrays");
    let case = |name: &str, change: &dyn Fn(&mut Arrays), needed: &[&str]| {
        let file = changed(&dir, name, change);
        verify(MODEL, TINY, path(&file), &[&[name], needed].concat());
    };
    case("none", &|a| a.clear(), &["no array `0` or `input`", "it has no arrays"]);
    case(
        "unexpected",
        &|a| a.truncate(1),
        &["no array `82` or `expected`", "`input` (float32 [40, 1, 28, 28])"],
    );
    case("flat", &|a| a[0].1.shape = vec![40, 784], &["float32 [40, 784]", "[N, 1, 28, 28]"]);
    case("scalar", &|a| a[0].1 = Array::f32(vec![], vec![1.0]).unwrap(), &["float32 []", "[N, 1, 28, 28]"]);
    case("wide", &|a| a[1].1.shape = vec![50, 8], &["float32 [50, 8]", "`82` has the shape [N, 10]"]);
    case("empty", &|a| a[0].1 = Array::f32(vec![0, 1, 28, 28], vec![]).unwrap(), &["holds no inputs"]);
    let short = |a: &mut Arrays| {
        let values = floats(&a[1].1)[..20].to_vec();
        a[1].1 = Array::f32(vec![2, 10], values).unwrap();
    };
    case("short", &short, &["has 40 of `0`", "has 2 of `82`", "must be equal"]);
    let double = |a: &mut Arrays| {
        a[0].1.data = Data::F64(floats(&a[0].1).iter().map(|x| *x as f64).collect());
    };
    case("double", &double, &["input 0", "holds float64", "takes float32", "astype"]);
    let bytes = |a: &mut Arrays| a[0].1.data = Data::U8(vec![1; floats(&a[0].1).len()]);
    case("bytes", &bytes, &["holds uint8", "takes float32"]);
    let nan = |a: &mut Arrays| {
        let mut values = floats(&a[0].1).to_vec();
        values[784 + 5] = f32::NAN;
        a[0].1.data = Data::F32(values);
    };
    case("nan", &nan, &["input 1", "element 5 is NaN"]);
}

#[test]
fn one_input_may_come_without_a_batch_axis() {
    let dir = scratch("one_input");
    for (i, shape) in [&[1, 28, 28][..], &[1, 1, 28, 28]].into_iter().enumerate() {
        let file = changed(&dir, &format!("one{i}"), |a| {
            let (pixels, logits) = (floats(&a[0].1)[..784].to_vec(), floats(&a[1].1)[..10].to_vec());
            a[0].1 = Array::f32(shape.to_vec(), pixels).unwrap();
            a[1].1 = Array::f32(vec![10], logits).unwrap();
        });
        let output =
            brickwork(&["verify", MODEL, "--config", TINY, "--backend", "golden", "--inputs", path(&file)]);
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn options_that_make_no_sense() {
    run(MODEL, &["--backend", "golden", "--batch-limit", "0"], &["--batch-limit", "0 is not in 1.."]);
    run(MODEL, &["--backend", "golden", "--trace", "x.fst"], &["--trace records the RTL", "--backend rtl"]);
    run(MODEL, &["--backend", "rtl", "--trace", "no/x.fst"], &["no/x.fst", "folder does not exist"]);
    run(MODEL, &["--backend", "golden", "--trace-from", "3"], &["--trace <FILE.fst>"]);
    run(MODEL, &["--backend", "hardware"], &["golden, machine, rtl"]);
    run(MODEL, &["--backend", "golden", "--input", VECTORS], &["one .npy or .npz file"]);
    refused_with(&["compile", MODEL], &["--config <CONFIG.toml>"]);
    refused_with(&["frob"], &["unrecognized subcommand 'frob'"]);
}

#[test]
fn results_that_cannot_be_written() {
    let dir = scratch("refused_results");
    std::fs::write(dir.join("file"), "in the way").unwrap();
    let blocked = dir.join("file/below/y.npz");
    fn output<'a>(file: &'a str, more: &[&'a str]) -> Vec<&'a str> {
        [&["--backend", "golden", "--batch-limit", "1", "--output", file], more].concat()
    }
    run(MODEL, &output(path(&blocked), &[]), &["cannot create", "file/below"]);
    run(MODEL, &output("y.txt", &[]), &["cannot write y.txt", ".npy or .npz"]);
    let single = dir.join("y.npy");
    run(MODEL, &output(path(&single), &["--all-tensors"]), &["arrays need a .npz file"]);
    let compile = |to: &Path, needed: &[&str]| {
        refused_with(&["compile", MODEL, "--config", TINY, "-o", path(to)], needed);
    };
    compile(&dir.join("file/p.bwp"), &["cannot create", "file"]);
    compile(&dir.join("p.onnx"), &["must end in .bwp"]);
    std::fs::create_dir(dir.join("folder.bwp")).unwrap();
    compile(&dir.join("folder.bwp"), &["it is a folder"]);
    let mut left: Vec<_> = std::fs::read_dir(&dir).unwrap().map(|e| e.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["file", "folder.bwp"], "nothing is left behind");
}

#[test]
fn folders_for_results_are_made() {
    let file = scratch("made_folders").join("a/b/y.npy");
    let arguments = ["run", MODEL, "--config", TINY, "--backend", "golden", "--input", VECTORS];
    let output = brickwork(&[&arguments[..], &["--batch-limit", "1", "--output", path(&file)]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(file.is_file());
}

/// `brickwork ... 2>&1 | head` closes the pipe early.
#[test]
fn a_closed_standard_error_is_no_panic() {
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_brickwork"))
        .args(["gen", "no/such.toml"])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("the command starts");
    drop(child.stderr.take());
    assert_eq!(child.wait().expect("it ends").code(), Some(2));
}

/// Bytes of the shipped network changed, cut and repeated: an error or a network, never a panic.
#[test]
fn a_damaged_network_never_ends_in_a_panic() {
    let dir = scratch("refused_mutants");
    let model = std::fs::read(repo(MODEL)).unwrap();
    let seed = 20_261_123u64;
    println!("seed {seed}");
    let mut state = seed;
    let mut next = |n: usize| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) as usize % n
    };
    for i in 0..40 {
        let mut bytes = model.clone();
        for _ in 0..1 + next(4) {
            // Most of the file is weights; the structure stands at its ends.
            let at =
                if next(2) == 0 { next(bytes.len()) } else { bytes.len() - 1 - next(4000.min(bytes.len())) };
            bytes[at] = next(256) as u8;
        }
        if next(4) == 0 {
            bytes.truncate(next(model.len()));
        }
        let file = dir.join(format!("{i}.onnx"));
        std::fs::write(&file, &bytes).unwrap();
        let arguments = ["verify", path(&file), "--config", TINY, "--inputs", VECTORS];
        let output = brickwork(&[&arguments[..], &["--backend", "golden", "--batch-limit", "1"]].concat());
        let message = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code().is_some_and(|c| c <= 2), "seed {seed}, file {i}: {message}");
    }
}
