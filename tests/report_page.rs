// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The report page in a browser: no error, no network, the numbers of the reports, in light and dark and on a phone.

#[path = "common/browser.rs"]
mod browser;
mod common;

use brickwork::evaluate::{compile_model, load_model};
use brickwork::generate::load_config;
use brickwork::report::facts::{Evidence, Facts};
use brickwork::report::page;
use brickwork_sim::image::RunOptions;
use brickwork_sim::machine::Machine;
use browser::Browser;
use common::{brickwork, repo, scratch};
use hdl_gen::Arch;
use serde_json::{json, Value};
use std::path::{Path, PathBuf};

const MODEL: &str = "models/pretrainedResnet_quant.tflite";
const ZYNQ: &str = "configs/zynq7020.toml";

/// Compiles with a page; gives the page and what was printed as JSON.
fn compiled(dir: &Path, model: &str, config: &str) -> (PathBuf, Value) {
    let (page, program) = (dir.join("page.html"), dir.join("program.bwp"));
    let (page_name, program) = (page.to_str().unwrap(), program.to_str().unwrap());
    let output =
        brickwork(&["compile", model, "--config", config, "-o", program, "--report", page_name, "--json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).expect("a report");
    assert_eq!(report["page"], page_name);
    (page, report)
}

fn digits(text: &str) -> u64 {
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    digits.parse().unwrap_or_else(|_| panic!("no number in `{text}`"))
}

/// Background and text of the page.
fn colours(b: &mut Browser) -> (String, String) {
    let style = "getComputedStyle(document.body)";
    (b.text(&format!("{style}.backgroundColor")), b.text(&format!("{style}.color")))
}

fn is_clean(b: &Browser, page: &Path) {
    assert!(b.complaints.is_empty(), "{:#?}", b.complaints);
    let own = format!("file://{}", page.display());
    assert!(b.requests.iter().all(|r| *r == own), "asked for {:?}", b.requests);
}

#[test]
fn the_page_answers_what_is_asked_of_it() {
    let name = browser::installed();
    let dir = scratch("report_page");
    let (page, report) = compiled(&dir, MODEL, ZYNQ);
    let mut b = Browser::start(name, &dir);
    b.screen(1100, 900, false);
    b.open(&page);
    assert_eq!(b.text("document.documentElement.dataset.ready"), "yes");

    // how many cycles, how many frames per second
    let cycles = report["cycles_predicted"].as_u64().unwrap();
    assert_eq!(digits(&b.text("document.querySelector('#tile-cycles .value').textContent")), cycles);
    let rows = b.value("[...document.querySelectorAll('#speeds tbody tr')].map(r => r.innerText)");
    let at_150 =
        rows.as_array().unwrap().iter().find(|r| r.as_str().unwrap().starts_with("150 MHz")).unwrap();
    let fps = (150e6 / cycles as f64).round() as u64;
    assert_eq!(digits(at_150.as_str().unwrap().split('\t').nth(1).unwrap()), fps, "{at_150}");

    the_layers(&mut b, &report);
    a_wider_memory(&mut b, &dir, cycles);
    the_timeline(&mut b, cycles);
    hovering(&mut b);
    the_roofline(&mut b, &report);
    is_clean(&b, &page);

    // dark, and on a phone
    let light = colours(&mut b);
    b.screen(1100, 900, true);
    let dark = colours(&mut b);
    assert_eq!((&light.0, &dark.0), (&"rgb(252, 252, 251)".to_string(), &"rgb(26, 26, 25)".to_string()));
    assert_ne!(light.1, dark.1);
    b.screen(390, 844, false);
    b.open(&page);
    let width = b.number("document.documentElement.scrollWidth");
    assert!(width <= 390.0, "the page is {width} wide on a phone");
    assert_eq!(digits(&b.text("document.querySelector('#tile-cycles .value').textContent")), cycles);
    is_clean(&b, &page);
    if let Some(to) = std::env::var_os("REPORT_PICTURE") {
        std::fs::write(to, b.picture()).expect("a place for the picture");
    }
}

/// The table has the report's layers; choosing layer 5 says what limits it; each bar's parts are its cycles.
fn the_layers(b: &mut Browser, report: &Value) {
    let layers = report["layers"].as_array().unwrap();
    let rows = b.number("document.querySelectorAll('#layers tbody tr').length");
    assert_eq!(rows as usize, layers.len());
    b.value("document.querySelectorAll('#layers tbody tr')[4].click()");
    let card = b.text("document.getElementById('layer-card').innerText");
    assert!(card.contains(&format!("Layer 5. {}", layers[4]["name"].as_str().unwrap())), "{card}");
    assert!(card.contains("limited by"), "{card}");
    for (i, layer) in layers.iter().enumerate() {
        let time = layer["time"].as_object().unwrap();
        let named: u64 = time.values().map(|v| v.as_u64().unwrap()).sum();
        assert_eq!(Some(named), layer["cycles_predicted"].as_u64(), "{layer}");
        let shown = format!(
            "document.querySelector('#bars [data-layer=\"{}\"] [data-cycles]').dataset.cycles",
            i + 1
        );
        assert_eq!(b.text(&shown), named.to_string());
    }
    b.value("document.getElementById('bars-mode').click()");
    assert!(b
        .text("document.getElementById('bars').innerText || document.querySelector('#bars svg').textContent")
        .contains("100 %"));
}

/// What the page says of twice the width is what compiling for it says.
fn a_wider_memory(b: &mut Browser, dir: &Path, cycles: u64) {
    let row = b.value("[...document.querySelector('#what-if tbody tr').cells].map(c => c.innerText)");
    assert!(row[0].as_str().unwrap().contains("twice the memory width"), "{row}");
    let text = std::fs::read_to_string(repo(ZYNQ)).unwrap();
    let wider = text.replace("read_ports = 2", "read_ports = 4");
    assert_ne!(text, wider, "the configuration has two read ports");
    let config = dir.join("wider.toml");
    std::fs::write(&config, wider).unwrap();
    let (_, report) = compiled(&scratch("report_page_wider"), MODEL, config.to_str().unwrap());
    assert_eq!(digits(row[1].as_str().unwrap()), report["cycles_predicted"].as_u64().unwrap());
    let bounds =
        b.value("[...document.querySelectorAll('#what-if tbody tr')].map(r => r.cells[1].innerText)");
    let bound = bounds.as_array().unwrap().last().unwrap().as_str().unwrap();
    assert!(bound.starts_with("at best") && digits(bound) <= cycles, "{bound}");
}

/// It shows the whole run, zooms by button and wheel, pans by dragging, and comes back.
fn the_timeline(b: &mut Browser, cycles: u64) {
    let range = |b: &mut Browser| {
        let host = "document.getElementById('timeline').dataset";
        (
            b.text(&format!("{host}.from")).parse::<u64>().unwrap(),
            b.text(&format!("{host}.to")).parse::<u64>().unwrap(),
        )
    };
    assert_eq!(range(b), (0, cycles));
    b.value("document.getElementById('tl-in').click()");
    let (from, to) = range(b);
    assert!((to - from).abs_diff(cycles / 2) <= 1, "{from}..{to}");
    let at = b.middle("#timeline svg");
    b.mouse("mouseWheel", at, json!({"deltaX": 0, "deltaY": -600, "modifiers": 2}));
    let (near, far) = range(b);
    assert!(far - near < (to - from) * 2 / 3, "{near}..{far} after {from}..{to}");
    b.mouse("mousePressed", at, json!({"button": "left", "clickCount": 1}));
    b.mouse("mouseMoved", (at.0 - 100.0, at.1), json!({"button": "left", "buttons": 1}));
    b.mouse("mouseReleased", (at.0 - 100.0, at.1), json!({"button": "left", "clickCount": 1}));
    let (moved, end) = range(b);
    assert!(moved > near && (end - moved).abs_diff(far - near) <= 1, "{moved}..{end} after {near}..{far}");
    for _ in 0..14 {
        b.value("document.getElementById('tl-in').click()");
    }
    let (from, to) = range(b);
    assert!(to - from <= 21, "{from}..{to}");
    b.value("document.getElementById('tl-all').click()");
    assert_eq!(range(b), (0, cycles));
    for queue in 0..4 {
        assert!(b.text(&format!("document.getElementById('timeline').dataset.marks{queue}")) != "0");
    }
}

fn hovering(b: &mut Browser) {
    for (selector, expected) in [
        ("#bars rect[data-part=useful]", "useful: "),
        ("#timeline rect[data-queue=\"2\"]", "cycles "),
        ("#roofline g[data-layer] circle", "GMAC/s of "),
        ("#banks rect", "plane-words"),
    ] {
        let at = b.middle(selector);
        b.mouse("mouseMoved", (1.0, 1.0), json!({}));
        b.mouse("mouseMoved", at, json!({}));
        let tip =
            b.text("document.getElementById('tip').hidden ? '' : document.getElementById('tip').textContent");
        assert!(tip.contains(expected), "over {selector}: `{tip}`");
    }
}

/// A point for each layer that multiplies, a ceiling for the usual widths and for those of the network.
fn the_roofline(b: &mut Browser, report: &Value) {
    let multiply = report["layers"].as_array().unwrap().iter().filter(|l| l["macs"] != 0).count();
    assert_eq!(b.number("document.querySelectorAll('#roofline g[data-layer]').length") as usize, multiply);
    for widths in ["1x1", "2x2", "4x4", "8x8", "16x16"] {
        let found = b.value(&format!("!!document.querySelector('#roofline [data-ceiling=\"{widths}\"]')"));
        assert_eq!(found, true, "no ceiling for {widths}");
    }
}

/// Names come from the user's file: they are text wherever they stand.
#[test]
fn names_of_a_network_are_text_in_the_page() {
    let hostile = "</script><img src=x onerror=\"document.title='broken'\">{{ style }}<!--";
    let arch = Arch::new(&load_config(&repo("configs/tiny.toml")).unwrap());
    let mut model = load_model(&repo("models/TFC_1W2A.onnx")).unwrap();
    model.graph.nodes[0].name = hostile.into();
    model.graph.tensors[0].name = hostile.into();
    model.graph.name = hostile.into();
    let program = compile_model(&model, &arch, false).unwrap();
    let options = RunOptions::default();
    let (predicted, recording) = Machine::time(&arch, &program.instrs, &options);
    let evidence = Evidence { program, predicted, recording, measured: None, timing: options.timing };
    let facts = Facts::new(&arch, &evidence, Some(&model), None, &[hostile.to_string()]);
    let dir = scratch("report_names");
    let path = dir.join("page.html");
    page::write(&path, &facts).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(!text.contains("<img"), "a name became markup");
    assert_eq!(text.matches("</script>").count(), 2);
    let data: Value = serde_json::from_slice(&std::fs::read(path.with_extension("json")).unwrap()).unwrap();
    assert_eq!(data["layers"][0]["name"], hostile);
    let name = browser::installed();
    let mut b = Browser::start(name, &dir);
    b.open(&path);
    assert_eq!(b.text("document.title"), format!("{hostile} on tiny"));
    assert!(b.text("document.getElementById('layer-card').innerText").contains(hostile));
    is_clean(&b, &path);
}

#[test]
fn a_page_that_cannot_be_is_refused() {
    let run = |more: &[&str]| {
        let first = [
            "verify",
            "models/TFC_1W2A.onnx",
            "--config",
            "configs/tiny.toml",
            "--inputs",
            "models/TFC_1W2A.vectors.npz",
        ];
        let output = brickwork(&[&first, more].concat());
        assert_eq!(output.status.code(), Some(2));
        String::from_utf8(output.stderr).unwrap()
    };
    let golden = run(&["--backend", "golden", "--report", "x.html"]);
    assert!(golden.contains("use --backend machine or rtl"), "{golden}");
    let name = run(&["--backend", "machine", "--report", "x.txt"]);
    assert!(name.contains("must end in .html"), "{name}");
}

/// Where the cycles went is the same on the machine model and on the RTL.
#[test]
fn predicted_times_have_the_names_of_the_measured_ones() {
    let dir = scratch("report_rtl");
    let layers = |backend: &str| {
        let page = dir.join(format!("{backend}.html"));
        let output = brickwork(&[
            "verify",
            "models/TFC_1W2A.onnx",
            "--config",
            "configs/tiny.toml",
            "--inputs",
            "models/TFC_1W2A.vectors.npz",
            "--backend",
            backend,
            "--batch-limit",
            "1",
            "--json",
            "--report",
            page.to_str().unwrap(),
        ]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let facts: Value =
            serde_json::from_slice(&std::fs::read(page.with_extension("json")).unwrap()).unwrap();
        assert_eq!(facts["source"], backend);
        assert_eq!(facts["comparison"]["equal"], true);
        let report: Value = serde_json::from_slice(&output.stdout).expect("a report");
        let times =
            |v: &Value| v["layers"].as_array().unwrap().iter().map(|l| l["time"].clone()).collect::<Vec<_>>();
        assert_eq!(times(&facts), times(&report));
        times(&facts)
    };
    let (model, rtl) = (layers("machine"), layers("rtl"));
    assert!(model.iter().all(|t| t.is_object()));
    assert_eq!(model, rtl);
}

/// sRGB of a `#rrggbb` colour, linear, 0 to 1.
fn linear(hex: &str) -> [f64; 3] {
    [1, 3, 5].map(|i| {
        let c = u8::from_str_radix(&hex[i..i + 2], 16).unwrap() as f64 / 255.0;
        if c <= 0.04045 {
            c / 12.92
        } else {
            ((c + 0.055) / 1.055).powf(2.4)
        }
    })
}

/// Contrast of two colours as WCAG 2 defines it.
fn contrast(a: &str, b: &str) -> f64 {
    let luminance =
        |c: &str| linear(c).iter().zip([0.2126, 0.7152, 0.0722]).map(|(v, w)| v * w).sum::<f64>() + 0.05;
    let (a, b) = (luminance(a), luminance(b));
    a.max(b) / a.min(b)
}

fn times(m: &[[f64; 3]; 3], v: [f64; 3]) -> [f64; 3] {
    m.map(|row| row.iter().zip(v).map(|(a, b)| a * b).sum())
}

/// Distance in Oklab (0 to 100) of two colours as people see them whose eyes the matrix describes.
fn distance(a: &str, b: &str, eyes: &[[f64; 3]; 3]) -> f64 {
    const LMS: [[f64; 3]; 3] = [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ];
    const LAB: [[f64; 3]; 3] = [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ];
    let lab =
        |c: &str| times(&LAB, times(&LMS, times(eyes, linear(c)).map(|v| v.clamp(0.0, 1.0))).map(f64::cbrt));
    let (a, b) = (lab(a), lab(b));
    100.0 * a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum::<f64>().sqrt()
}

/// The palette: texts are readable, marks stand out, and neighbours in a bar differ for everyone. Eyes that lack one kind of
/// cone as Machado, Oliveira and Fernandes (2009) describe them.
#[test]
fn colours_can_be_told_apart() {
    const EYES: [(&str, [[f64; 3]; 3]); 3] = [
        ("all cones", [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]),
        (
            "no green cones",
            [
                [0.367322, 0.860646, -0.227968],
                [0.280085, 0.672501, 0.047413],
                [-0.011820, 0.042940, 0.968881],
            ],
        ),
        (
            "no red cones",
            [
                [0.152286, 1.052583, -0.204868],
                [0.114503, 0.786281, 0.099216],
                [-0.003882, -0.048116, 1.051998],
            ],
        ),
    ];
    const PARTS: [&str; 7] = ["useful", "idle", "fill", "weights", "post", "memory", "control"];
    let css = include_str!("../src/report/page.css");
    let themes: Vec<&str> = css.split(":root {").skip(1).map(|t| t.split('}').next().unwrap()).collect();
    assert_eq!(themes.len(), 2, "light and dark");
    for theme in themes {
        let colour = |name: &str| {
            let at = theme.find(&format!("--{name}: #")).unwrap_or_else(|| panic!("no {name}"));
            theme[at..].split(['#', ';']).nth(1).map(|hex| format!("#{hex}")).unwrap()
        };
        for ink in ["ink", "quiet", "good", "bad", "link"] {
            for ground in ["surface", "raised"] {
                let c = contrast(&colour(ink), &colour(ground));
                assert!(c >= 4.5, "{ink} on {ground}: {c:.2}");
            }
        }
        for (i, a) in PARTS.iter().enumerate() {
            let c = contrast(&colour(a), &colour("surface"));
            assert!(c >= 3.0, "{a}: {c:.2}");
            for (b, (who, eyes)) in PARTS[i + 1..].iter().flat_map(|b| EYES.iter().map(move |e| (b, e))) {
                let d = distance(&colour(a), &colour(b), eyes);
                let least = if PARTS[i + 1] == *b { 7.5 } else { 4.5 };
                assert!(d >= least, "{a} and {b} with {who}: {d:.1}");
            }
        }
    }
}
