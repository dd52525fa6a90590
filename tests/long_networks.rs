// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Whole pictures through detectors on the Verilog of `zynq7020` (`make test-long`): every value the reference's, every cycle
//! as predicted; and what their boxes find in published pictures.
//!
//! UltraNet's files are not shipped. They, the vectors of all three and the pictures lie in the directory `BRICKWORK_MODELS`, or in
//! `../shared/models` beside the repository; where they are missing, these tests say so and check nothing, and the face
//! detector is compared with the golden model.

mod common;
#[path = "../compiler/tests/support/random.rs"]
mod random;

use brickwork_compiler::npz::{npz_bytes, read_npz, Array, Data};
use common::{brickwork, repo, scratch};
use random::Random;
use serde_json::Value;
use std::path::{Path, PathBuf};

const ZYNQ: &str = "configs/zynq7020.toml";

fn find(name: &str) -> Option<PathBuf> {
    let own = std::env::var_os("BRICKWORK_MODELS").map(PathBuf::from);
    let places = own.into_iter().chain([repo("models"), repo("../shared/models")]);
    let found = places.map(|p| p.join(name)).find(|p| p.exists());
    if found.is_none() {
        println!("{name} is not there; set BRICKWORK_MODELS to its directory");
    }
    found
}

fn array(file: &Path, name: &str) -> Array {
    let all = read_npz(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    all.into_iter().find(|(n, _)| n == name).unwrap_or_else(|| panic!("{}: no {name}", file.display())).1
}

fn path(p: &Path) -> &str {
    p.to_str().expect("a plain path")
}

/// The report of a command that must succeed.
fn report(arguments: &[&str]) -> Value {
    let output = brickwork(&[arguments, &["--json"]].concat());
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{arguments:?}\n{errors}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{arguments:?}: {e}\n{errors}"))
}

/// All equal, and measured as predicted.
fn exact(report: &Value) {
    assert_eq!(report["equal"], true, "{report:#}");
    assert_eq!(report["cycles_predicted"], report["cycles_measured"]);
    assert_eq!(report["cycle_mismatches"], 0);
    let layers = report["layers"].as_array().expect("layers");
    assert!(layers.iter().all(|l| l["exact"] != false), "{report:#}");
    println!("{}: {} cycles", report["model"], report["cycles_measured"]);
}

/// A file of these arrays.
fn written(name: &str, arrays: &[(&str, Array)]) -> PathBuf {
    let file = scratch(name).join("vectors.npz");
    let named: Vec<(String, Array)> = arrays.iter().map(|(n, a)| (n.to_string(), a.clone())).collect();
    std::fs::write(&file, npz_bytes(&named).expect("arrays")).expect("written");
    file
}

/// One input of a model with its results, on the Verilog.
fn verified(name: &str, model: &Path, arrays: &[(&str, Array)]) {
    let file = written(name, arrays);
    let inputs = path(&file);
    exact(&report(&["verify", path(model), "--config", ZYNQ, "--inputs", inputs, "--batch-limit", "1"]));
}

#[test]
#[ignore = "one whole picture on the largest configuration: make test-long"]
fn ultranet_of_integers_on_the_rtl() {
    let (Some(model), Some(vectors)) = (find("ultranet_int.onnx"), find("ultranet_int.vectors.npz")) else {
        return;
    };
    let named = ["input", "expected"].map(|n| (n, array(&vectors, n)));
    verified("ultranet_int", &model, &named);
}

#[test]
#[ignore = "one whole picture on the largest configuration: make test-long"]
fn ultranet_of_floats_on_the_rtl() {
    let (Some(model), Some(pixels), Some(vectors)) =
        (find("ultranet_qonnx.onnx"), find("ultranet_int.vectors.npz"), find("ultranet_qonnx.vectors.npz"))
    else {
        return;
    };
    let pixels = array(&pixels, "input");
    let Data::U8(bytes) = &pixels.data else { panic!("bytes") };
    let input = Array::f32(pixels.shape.clone(), bytes.iter().map(|&p| p as f32 / 255.0).collect());
    verified(
        "ultranet_qonnx",
        &model,
        &[("input", input.expect("matching shape")), ("expected", array(&vectors, "expected"))],
    );
}

#[test]
#[ignore = "one whole picture on the largest configuration: make test-long"]
fn face_detector_on_the_rtl() {
    let model = repo("models/face_slim320_qdq.onnx");
    let Some(vectors) = find("face_slim320_qdq.vectors.npz") else {
        // The model is shipped, its vectors are not: then the golden model alone is the reference.
        let mut random = Random::of(13);
        let values = (0..3 * 240 * 320).map(|_| random.in_range(-127, 128) as f32 / 128.0).collect();
        let noise = Array::f32(vec![1, 3, 240, 320], values).expect("matching shape");
        let file = written("face_slim320", &[("input", noise)]);
        return exact(&report(&[
            "run",
            path(&model),
            "--config",
            ZYNQ,
            "--input",
            path(&file),
            "--backend",
            "rtl",
        ]));
    };
    let pixels = array(&vectors, "input_rgb_u8");
    let (Data::U8(bytes), &[n, h, w, 3]) = (&pixels.data, &pixels.shape[..]) else { panic!("pictures") };
    let value = |i: usize| {
        let (image, c, at) = (i / (3 * h * w), i / (h * w) % 3, i % (h * w));
        (bytes[(image * h * w + at) * 3 + c] as f32 - 127.0) / 128.0
    };
    let input = Array::f32(vec![n, 3, h, w], (0..n * 3 * h * w).map(value).collect());
    verified(
        "face_slim320",
        &model,
        &[
            ("input", input.expect("matching shape")),
            ("scores", array(&vectors, "expected_scores")),
            ("boxes", array(&vectors, "expected_boxes")),
        ],
    );
}

/// Corners within `pixels` of a box. The published boxes come from another resize filter.
fn near(found: &Value, corners: [f64; 4], pixels: f64) -> bool {
    let got = found["corners"].as_array().expect("corners");
    got.iter().zip(corners).all(|(g, c)| (g.as_f64().expect("a number") - c).abs() <= pixels)
}

#[test]
#[ignore = "needs a picture that is not shipped: make test-long"]
fn faces_are_found_and_drawn() {
    let Some(picture) = find("face_13.jpg") else { return };
    let dir = scratch("faces");
    let model = "models/face_slim320_qdq.onnx";
    let common = ["--config", ZYNQ, "--backend", "golden", "--draw", path(&dir)];
    let found = report(&[&["run", model, "--input", path(&picture)], &common[..]].concat());
    let boxes = found["boxes"][0].as_array().expect("boxes");
    for face in [[92.0, 16.0, 153.0, 104.0], [297.0, 84.0, 360.0, 172.0]] {
        assert!(boxes.iter().any(|b| near(b, face, 2.0) && b["name"] == "face"), "{found:#}");
    }
    let (before, after) =
        (image::open(&picture).expect("it"), image::open(dir.join("face_13.png")).expect("drawn"));
    let (before, after) = (before.into_rgb8(), after.into_rgb8());
    assert_eq!(before.dimensions(), after.dimensions());
    let red = after.pixels().filter(|p| p.0 == [40, 220, 40]).count();
    assert!(red > 200, "{red} pixels of outlines");
    assert!(before.pixels().zip(after.pixels()).filter(|(a, b)| a != b).count() < 20_000);
}

#[test]
#[ignore = "needs a picture that is not shipped: make test-long"]
fn the_boat_is_found() {
    let (Some(model), Some(picture)) = (find("ultranet_qonnx.onnx"), find("ultranet_boat6_0.jpg")) else {
        return;
    };
    let rule = scratch("boat").join("ultranet.toml");
    let text = "[image]\nchannels = \"bgr\"\nmean = [0.0]\nscale = [255.0]\n\n\
                [classes]\nnames = [\"boat\"]\n\n[detector]\nkind = \"cells\"\nanchors = 6\nstride = 16\nsize = 20\n";
    std::fs::write(&rule, text).expect("written");
    let common = ["--config", ZYNQ, "--backend", "golden", "--preprocess", path(&rule)];
    let found = report(&[&["run", path(&model), "--input", path(&picture)], &common[..]].concat());
    assert!(near(&found["boxes"][0][0], [333.0, 81.0, 350.0, 90.0], 4.0), "{:#}", found["boxes"]);
}
