// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Imported networks through lowering and an executor of the instructions' definitions, against the golden model.

#[path = "support/executor.rs"]
mod executor;
// The executor takes its random numbers from here.
#[allow(dead_code)]
#[path = "support/random_graphs.rs"]
mod random_graphs;

use brickwork_compiler::import::import;
use brickwork_compiler::lower::{compile, Options};
use brickwork_compiler::npz::read_npz;
use brickwork_compiler::{golden, npz::Array};
use executor::execute;
use hdl_gen::{Arch, Config};
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn arch(name: &str) -> Arch {
    let path = root().join(format!("../configs/{name}.toml"));
    let text = std::fs::read_to_string(path).expect("configuration exists");
    Arch::new(&Config::from_toml(&text, name).expect("configuration is correct"))
}

fn first_input(vectors: &Path) -> Array {
    let arrays = read_npz(vectors).unwrap();
    arrays.iter().find(|(n, _)| n == "input").expect("input").1.item(0).expect("an item")
}

/// The program's outputs are the golden model's, with and without fusion.
fn check(model: &Path, config: &str) {
    let (shown, arch) = (model.display(), arch(config));
    let imported = import(&model.with_extension("onnx")).unwrap();
    let vectors = ["npz", "vectors.npz"].map(|e| model.with_extension(e)).into_iter().find(|p| p.exists());
    let input = first_input(&vectors.expect("vectors stand beside the model"));
    let codes = imported.encode(|_| Some(input.clone())).unwrap();
    let values = golden::run(&imported.graph, &codes).unwrap();
    for all_tensors in [false, true] {
        let options = Options { all_tensors, ..Options::default() };
        let program =
            compile(&imported.graph, &arch, &options).unwrap_or_else(|e| panic!("{shown}: {}", e[0]));
        let region = execute(&arch, &program, &codes, 1).unwrap_or_else(|e| panic!("{shown}: {e}"));
        for (t, got) in program.info.outputs.iter().zip(program.unpack_output(&region)) {
            assert_eq!(got, values[t.id], "{shown} on {config}: {}", t.name);
        }
        for (t, got) in program.unpack_intermediates(&region) {
            assert_eq!(got, values[t.id], "{shown} on {config}: {}", t.name);
        }
    }
}

#[test]
fn small_networks_run_as_the_golden_model_says() {
    for config in ["tiny", "zynq7020"] {
        for name in ["convolutions", "residual", "bipolar", "steep"] {
            check(&root().join("tests/qonnx").join(name), config);
        }
    }
}

#[test]
fn tfc_runs_as_the_golden_model_says() {
    check(&root().join("../models/TFC_1W2A"), "zynq7020");
}
