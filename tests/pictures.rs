// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Pictures as inputs of `brickwork run`.

mod common;

use brickwork_compiler::npz::{read_npz, Array, Data};
use common::{brickwork, repo, scratch};
use image::{GrayImage, Luma, Rgb, RgbImage};
use std::path::{Path, PathBuf};

const MODEL: &str = "models/TFC_1W2A.onnx";
const TINY: &str = "configs/tiny.toml";

fn path(p: &Path) -> &str {
    p.to_str().expect("a plain path")
}

fn vector(name: &str) -> Array {
    let arrays = read_npz(&repo("models/TFC_1W2A.vectors.npz")).expect("the committed vectors");
    arrays.into_iter().find(|(n, _)| n == name).unwrap_or_else(|| panic!("no {name}")).1
}

/// Digit `i` as a picture.
fn digit(i: usize) -> GrayImage {
    let Data::U8(pixels) = vector("input_raw").data else { panic!("bytes") };
    GrayImage::from_raw(28, 28, pixels[784 * i..784 * (i + 1)].to_vec()).expect("28 x 28 pixels")
}

/// Digit `i` as a picture of `zoom` times the size, in `dir`.
fn picture(dir: &Path, i: usize, zoom: u32) -> PathBuf {
    let small = digit(i);
    let large = GrayImage::from_fn(28 * zoom, 28 * zoom, |x, y| *small.get_pixel(x / zoom, y / zoom));
    let file = dir.join(format!("digit{i}_{zoom}.png"));
    large.save(&file).expect("written");
    file
}

fn run(more: &[&str]) -> std::process::Output {
    brickwork(&[&["run", MODEL, "--config", TINY, "--backend", "golden"], more].concat())
}

#[test]
fn digits_as_pictures_give_the_references_logits() {
    let dir = scratch("pictures_exact");
    let (first, second, file) = (picture(&dir, 0, 1), picture(&dir, 7, 1), dir.join("y.npz"));
    let output = run(&["--input", path(&first), "--input", path(&second), "--output", path(&file), "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let Data::F32(expected) = vector("expected").data else { panic!("logits") };
    let logits = [&expected[..10], &expected[70..80]].concat();
    let results = read_npz(&file).expect("results");
    assert_eq!(results[0].1, Array::f32(vec![2, 10], logits).unwrap());
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let best = |i: usize| report["top_classes"][i][0]["name"].as_str().map(str::to_string);
    assert_eq!((best(0), best(1)), (Some("0".into()), Some("7".into())), "{report:#}");
}

#[test]
fn large_pictures_are_resized_and_say_so() {
    let dir = scratch("pictures_resized");
    let large = picture(&dir, 7, 5);
    let output = run(&["--input", path(&large)]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("140 x 140 pixels -> 28 x 28 gray"), "{text}");
    assert!(text.contains("class     input 0: 7 ("), "{text}");
    let refused = run(&["--input", path(&large), "--resize", "none"]);
    let message = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(2));
    assert!(message.contains("140 x 140") && message.contains("28 x 28"), "{message}");
}

#[test]
fn flags_replace_the_file_beside_the_model() {
    let dir = scratch("pictures_flags");
    let plain = picture(&dir, 3, 1);
    // Inverted: 255 - pixel = (pixel - 255) / -1, to the same range as before.
    let inverted = dir.join("inverted.png");
    let digit = digit(3);
    GrayImage::from_fn(28, 28, |x, y| Luma([255 - digit.get_pixel(x, y).0[0]]))
        .save(&inverted)
        .expect("written");
    let results = |input: &Path, name: &str, more: &[&str]| {
        let file = dir.join(name);
        let output = run(&[&["--input", path(input), "--output", path(&file)], more].concat());
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        read_npz(&file).expect("results")
    };
    let a = results(&plain, "a.npz", &[]);
    let b = results(&inverted, "b.npz", &["--mean", "255", "--scale=-255"]);
    assert_eq!(a, b);
}

#[test]
fn what_is_no_picture_or_does_not_fit_is_refused() {
    let dir = scratch("pictures_refused");
    let good = picture(&dir, 1, 1);
    let bad = dir.join("bad.png");
    std::fs::write(&bad, b"\x89PNG\r\n\x1a\nand no more").unwrap();
    let rule = dir.join("rule.toml");
    std::fs::write(&rule, "[image]\nmeen = [1.0]\n").unwrap();
    let vectors = "models/TFC_1W2A.vectors.npz";
    let cases: &[(&[&str], &str)] = &[
        (&["--input", "no.png"], "cannot read no.png"),
        (&["--input", path(&bad)], "bad.png"),
        (&["--input", path(&good), "--input", vectors], "or pictures only"),
        (&["--input", path(&good), "--channels", "rgb"], "does not fit an input of 1 channels"),
        (&["--input", path(&good), "--mean", "1,2"], "mean has 2 values"),
        (&["--input", path(&good), "--scale", "0"], "cannot be used"),
        (&["--input", path(&good), "--size", "28"], "a height and a width"),
        (&["--input", path(&good), "--size", "14,28"], "does not fit shape"),
        (&["--input", path(&good), "--preprocess", path(&rule)], "unknown field `meen`"),
        (&["--input", path(&good), "--preprocess", "no.toml"], "cannot read no.toml"),
    ];
    for (arguments, needed) in cases {
        let output = run(arguments);
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {message}");
        assert!(message.contains(needed), "{arguments:?}: {message}");
    }
}

#[test]
fn the_file_beside_the_model_is_optional_but_its_content_is_not() {
    let dir = scratch("pictures_unknown");
    let model = dir.join("net.onnx");
    std::fs::copy(repo(MODEL), &model).unwrap();
    let digit = picture(&dir, 1, 1);
    let arguments = ["run", path(&model), "--config", TINY, "--backend", "golden", "--input", path(&digit)];
    let output = brickwork(&arguments);
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2));
    assert!(message.contains("--mean") && message.contains("net.toml"), "{message}");
    assert_eq!(brickwork(&[&arguments[..], &["--scale", "255"]].concat()).status.code(), Some(0));
}

/// Every box that the shipped detector reports of a drawn scene, with a threshold so low that it reports some, stands in the
/// picture that `--draw` writes.
#[test]
fn boxes_of_a_picture_are_drawn() {
    let dir = scratch("pictures_boxes");
    let (scene, rule, drawn) = (dir.join("scene.png"), dir.join("rule.toml"), dir.join("drawn"));
    let oval = |x: i64, y: i64| 25 * (x - 300).pow(2) + 16 * (y - 200).pow(2) < 25 * 80 * 80;
    let before = RgbImage::from_fn(640, 480, |x, y| {
        Rgb(if oval(x.into(), y.into()) { [224, 172, 140] } else { [60, 80 + (y / 8) as u8, 90] })
    });
    before.save(&scene).expect("written");
    let shipped = std::fs::read_to_string(repo("models/face_slim320_qdq.toml")).expect("shipped");
    assert!(shipped.contains("threshold = 0.7"));
    std::fs::write(&rule, shipped.replace("threshold = 0.7", "threshold = 0.02")).expect("written");
    let output = brickwork(&[
        "run",
        "models/face_slim320_qdq.onnx",
        "--config",
        "configs/zynq7020.toml",
        "--backend",
        "golden",
        "--input",
        path(&scene),
        "--preprocess",
        path(&rule),
        "--draw",
        path(&drawn),
        "--json",
    ]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let boxes = report["boxes"][0].as_array().expect("boxes");
    let after = image::open(drawn.join("scene.png")).expect("drawn").into_rgb8();
    assert_eq!(after.dimensions(), before.dimensions());
    assert!(!boxes.is_empty(), "{report:#}");
    let inside = |x: f64, y: f64| (0.0..640.0).contains(&x) && (0.0..480.0).contains(&y);
    for found in boxes {
        assert!(found["name"] == "face" && found["score"].as_f64().expect("a score") >= 0.02, "{found:#}");
        let c: Vec<f64> = found["corners"]
            .as_array()
            .expect("corners")
            .iter()
            .map(|v| v.as_f64().unwrap().round())
            .collect();
        let middles = [(c[0], (c[1] + c[3]) / 2.0), ((c[0] + c[2]) / 2.0, c[1])];
        for (x, y) in middles.into_iter().filter(|&(x, y)| inside(x, y)) {
            assert_eq!(after.get_pixel(x as u32, y as u32).0, [40, 220, 40], "({x}, {y}) of {found:#}");
        }
    }
    let changed = before.pixels().zip(after.pixels()).filter(|(a, b)| a != b);
    assert!(changed.into_iter().all(|(_, b)| b.0 == [40, 220, 40]));
}
