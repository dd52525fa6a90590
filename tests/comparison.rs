// SPDX-License-Identifier: Apache-2.0 OR MIT
//! docs/comparison.md is made from docs/comparison.toml, the compiler's counts and the README's table of resources. `make compare`
//! writes it.

mod common;

use common::{brickwork, files, golden, repo, scratch};
use hdl_gen::Arch;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt::Write;

const CONFIG: &str = "configs/zynq7020.toml";
const CLOCKS_MHZ: [u32; 3] = [100, 150, 200];
const WIDTHS: [u32; 5] = [1, 2, 4, 8, 16];

/// docs/comparison.toml.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Published {
    peak: Vec<Peak>,
    network: Vec<Network>,
    other: Vec<Other>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Peak {
    work: String,
    device: String,
    mhz: u32,
    /// By width.
    tops: BTreeMap<String, f64>,
    source: String,
    differs: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Network {
    network: String,
    work: String,
    device: String,
    mhz: Option<u32>,
    frames_per_second: f64,
    kind: String,
    resources: Option<String>,
    source: String,
    differs: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Other {
    work: String,
    device: String,
    network: String,
    figure: String,
    kind: String,
    source: String,
    differs: String,
}

/// What the compiler says of a shipped network.
struct Ours {
    name: String,
    macs: u64,
    cycles: u64,
}

fn ours() -> Vec<Ours> {
    let program = scratch("comparison").join("program.bwp");
    let models = [files(&repo("models"), "onnx"), files(&repo("models"), "tflite")].concat();
    let one = |model: &std::path::PathBuf| {
        let (model_name, program) = (model.to_str().unwrap(), program.to_str().unwrap());
        let arguments = ["compile", model_name, "--config", CONFIG, "-o", program, "--json", "--no-report"];
        let output = brickwork(&arguments);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("a report");
        assert!(json["page"].is_null(), "--no-report writes no page");
        let layers = json["layers"].as_array().unwrap();
        Ours {
            name: model.file_stem().unwrap().to_string_lossy().into(),
            macs: layers.iter().map(|l| l["macs"].as_u64().unwrap()).sum(),
            cycles: json["cycles_predicted"].as_u64().unwrap(),
        }
    };
    models.iter().map(one).collect()
}

/// `18432` as `18 432`.
fn thousands(n: u64) -> String {
    brickwork::report::page::grouped(n).replace('\u{202f}', " ")
}

fn rate(fps: f64) -> String {
    brickwork::report::page::rate(fps).replace('\u{202f}', " ")
}

fn fps(cycles: u64, mhz: u32) -> f64 {
    mhz as f64 * 1e6 / cycles as f64
}

#[test]
fn comparison_page_is_made_from_counts_and_sources() {
    let text = std::fs::read_to_string(repo("docs/comparison.toml")).unwrap();
    let published: Published = toml::from_str(&text).expect("docs/comparison.toml");
    let arch = Arch::new(&brickwork::generate::load_config(&repo(CONFIG)).unwrap());
    let ours = ours();
    let mut page = String::from(HEAD);
    networks(&mut page, &ours);
    beside(&mut page, &ours, &published.network);
    peaks(&mut page, &arch, &published.peak);
    resources(&mut page);
    others(&mut page, &published);
    golden(&repo("docs/comparison.md"), &page);
}

const HEAD: &str = "# Comparison\n\n\
    <!-- Made by tests/comparison.rs from docs/comparison.toml and `brickwork compile`; `make compare` writes it. Do not edit. -->\n\n\
    Our figures are **simulated**: cycles that the machine model counts and the RTL takes under Verilator, on the configuration `zynq7020`\n\
    (xc7z020), times a clock. No board has run it and no place and route has confirmed a clock; 100, 150 and 200 MHz are assumptions. Weights are\n\
    read from memory in every run; the host's work (pictures, softmax) is not counted. Others' figures are quoted from the source beside\n\
    them. What differs stands with each.\n\n";

fn networks(page: &mut String, ours: &[Ours]) {
    page.push_str("## Shipped networks, one input, simulated\n\n| network | MACs | cycles | frames/s at 100 MHz | 150 MHz | 200 MHz |\n|---|---|---|---|---|---|\n");
    for o in ours {
        let rates = CLOCKS_MHZ.map(|mhz| rate(fps(o.cycles, mhz))).join(" | ");
        let _ =
            writeln!(page, "| `{}` | {} | {} | {rates} |", o.name, thousands(o.macs), thousands(o.cycles));
    }
}

fn beside(page: &mut String, ours: &[Ours], published: &[Network]) {
    page.push_str("\n## The same tasks on the same chip\n");
    for o in ours {
        let others: Vec<&Network> = published.iter().filter(|n| n.network == o.name).collect();
        if others.is_empty() {
            continue;
        }
        let _ = write!(
            page,
            "\n### `{}`\n\n| work | device | clock | frames/s | how | what differs | source |\n|---|---|---|---|---|---|---|\n\
             | Brickwork `zynq7020` | xc7z020 | 150 MHz | {} | **simulated**, no board | the file as it is, every value equal to the reference's | this repository |\n",
            o.name,
            rate(fps(o.cycles, 150))
        );
        for n in others {
            let clock = n.mhz.map_or("not given".into(), |mhz| format!("{mhz} MHz"));
            let differs = n.resources.iter().fold(n.differs.clone(), |d, r| format!("{d}; {r}"));
            let _ = writeln!(
                page,
                "| {} | {} | {clock} | {} | {} | {differs} | <{}> |",
                n.work,
                n.device,
                rate(n.frames_per_second),
                n.kind,
                n.source
            );
        }
    }
    for n in published {
        assert!(ours.iter().any(|o| o.name == n.network), "no shipped network {}", n.network);
    }
}

fn peaks(page: &mut String, arch: &Arch, published: &[Peak]) {
    page.push_str(
        "\n## Highest rates: TOPS (two operations per multiply-accumulate) by width of both operands\n\n",
    );
    page.push_str("| work | device | clock | 1 bit | 2 | 4 | 8 | 16 | what differs | source |\n|---|---|---|---|---|---|---|---|---|---|\n");
    for mhz in CLOCKS_MHZ {
        let tops = |n: u32| format!("{:.3}", 2.0 * arch.macs_per_cycle(n, n) * mhz as f64 / 1e6);
        let cells = WIDTHS.map(tops).join(" | ");
        let _ = writeln!(page, "| Brickwork `zynq7020` | xc7z020 | {mhz} MHz | {cells} | **counted**, no board; one bitstream, widths by instruction | this repository |");
    }
    for p in published {
        let cell = |n: u32| p.tops.get(&n.to_string()).map_or("not given".into(), f64::to_string);
        let cells = WIDTHS.map(cell).join(" | ");
        let _ = writeln!(
            page,
            "| {} | {} | {} MHz | {cells} | {} | <{}> |",
            p.work, p.device, p.mhz, p.differs, p.source
        );
    }
}

/// The README's row: what Yosys counted.
fn resources(page: &mut String) {
    let readme = std::fs::read_to_string(repo("README.md")).unwrap();
    let table =
        readme.split("<!-- synth -->").nth(1).and_then(|t| t.split("<!-- /synth -->").next()).unwrap();
    let row = table.lines().find(|l| l.starts_with("| `zynq7020` |"));
    let head: Vec<&str> =
        table.lines().filter(|l| l.starts_with("| config") || l.starts_with("|---")).collect();
    page.push_str(
        "\n## Resources of `zynq7020`\n\nCounted with Yosys (`make synth`), not after place and route.\n\n",
    );
    let _ = writeln!(page, "{}\n{}", head.join("\n"), row.expect("README.md has the row of zynq7020"));
}

fn others(page: &mut String, published: &Published) {
    page.push_str("\n## The same chip, other networks\n\n| work | device | network | figure | how | what differs | source |\n|---|---|---|---|---|---|---|\n");
    for o in &published.other {
        let _ = writeln!(
            page,
            "| {} | {} | {} | {} | {} | {} | {} |",
            o.work, o.device, o.network, o.figure, o.kind, o.differs, o.source
        );
    }
    page.push_str(
        "\n## BitFusion\n\nIts eight networks, layer by layer beside ours: [BitFusion's layers](bitfusion.md).\n",
    );
}
