// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `brickwork verify` on TFLite networks: MLPerf Tiny's four and small ones of other shapes, on the machine model and the
//! Verilog.

mod common;

use common::brickwork;
use serde_json::Value;

/// Exact against the reference kernels' results, layer by layer for the first input; measured cycles as predicted.
fn exact(model: &str, vectors: &str, config: &str, backend: &str, inputs: &str) {
    let config = format!("configs/{config}.toml");
    let common = ["--config", &config, "--backend", backend, "--batch-limit", inputs, "--json"];
    let output = brickwork(&[&["verify", model, "--inputs", vectors], &common[..]].concat());
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|e| panic!("{model} on {config}: {e}\n{}", text(&output.stderr)));
    assert_eq!(output.status.code(), Some(0), "{model} on {config}: {report:#}");
    assert_eq!(report["equal"], true);
    for layer in report["layers"].as_array().expect("layers") {
        assert_ne!(layer["exact"], false, "{layer:#}");
    }
    if backend == "rtl" {
        assert_eq!(report["cycles_predicted"], report["cycles_measured"]);
        assert_eq!(report["cycle_mismatches"], 0);
    }
}

const MLPERF_TINY: [&str; 4] = ["ad01_int8", "pretrainedResnet_quant", "kws_ref_model", "vww_96_int8"];
const SMALL: [&str; 5] = ["activations", "detector", "streaming", "unsigned", "wide"];

fn mlperf_tiny(config: &str, backend: &str, inputs: &str) {
    for name in MLPERF_TINY {
        let (model, vectors) = (format!("models/{name}.tflite"), format!("models/{name}.vectors.npz"));
        exact(&model, &vectors, config, backend, inputs);
    }
}

fn small(config: &str, backend: &str, inputs: &str) {
    for name in SMALL {
        let path = format!("compiler/tests/tflite/{name}");
        exact(&format!("{path}.tflite"), &format!("{path}.npz"), config, backend, inputs);
    }
}

#[test]
fn mlperf_tiny_is_exact_on_the_machine_model() {
    mlperf_tiny("zynq7020", "machine", "3");
}

#[test]
fn small_networks_are_exact_on_the_machine_model() {
    for config in ["zynq7020", "tiny", "bitfusion", "odd"] {
        small(config, "machine", "3");
    }
}

#[test]
fn small_networks_are_exact_on_the_rtl() {
    small("tiny", "rtl", "1");
}

#[test]
#[ignore = "long: half a million cycles of the largest simulation"]
fn mlperf_tiny_is_exact_on_the_rtl() {
    mlperf_tiny("zynq7020", "rtl", "1");
}
