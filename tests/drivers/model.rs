// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The Verilated accelerator as a library, and the network that the drivers run on it.

use crate::common::repo;
use brickwork::generate::load_config;
use brickwork_compiler::golden;
use brickwork_compiler::import::{import, Imported};
use brickwork_compiler::lower::{compile, Options};
use brickwork_compiler::npz::{read_npz, Array};
use brickwork_compiler::program::Program;
use brickwork_sim::cosim::{BuildOptions, Cosim};
use brickwork_sim::image::{Image, RunOptions};
use brickwork_sim::machine::Machine;
use hdl_gen::Arch;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// The architecture of a shipped configuration.
pub fn arch(config: &str) -> Arch {
    let config = load_config(&repo("configs").join(config).with_extension("toml"));
    Arch::new(&config.unwrap_or_else(|_| panic!("a shipped configuration is valid")))
}

/// A shipped network with its inputs.
pub struct Model {
    pub model: Imported,
    inputs: Array,
}

impl Model {
    pub fn load(file: &str) -> Model {
        let path = repo("models").join(file);
        let model = import(&path).unwrap_or_else(|e| panic!("{file}: {e:?}"));
        let vectors = read_npz(&path.with_extension("vectors.npz")).unwrap_or_else(|e| panic!("{file}: {e}"));
        let find = |name: &str| vectors.iter().find(|(n, _)| n == name).map(|(_, a)| a.clone());
        let inputs = find("input").or_else(|| find(&model.inputs[0].name)).expect("the vectors have inputs");
        Model { model, inputs }
    }

    /// Codes of input `i`.
    pub fn codes(&self, i: usize) -> Vec<Vec<i32>> {
        self.model.encode(|_| self.inputs.item(i)).expect("the vectors fit the model")
    }

    pub fn compile(&self, arch: &Arch) -> Program {
        compile(&self.model.graph, arch, &Options::default()).unwrap_or_else(|e| panic!("{e:?}"))
    }
}

/// 32-bit numbers as a file's bytes.
pub fn bytes_of(numbers: &[i32]) -> Vec<u8> {
    numbers.iter().flat_map(|n| n.to_le_bytes()).collect()
}

/// A program and cases for it, as files and in memory.
pub struct Network {
    pub program: PathBuf,
    /// Cases, values in, values out, then codes and expected codes of each case; 32-bit numbers.
    pub cases: PathBuf,
    pub codes: Vec<Vec<i32>>,
    pub expected: Vec<Vec<i32>>,
    cycles: u64,
}

impl Network {
    /// Handwritten digits on `tiny`; expected codes from the golden model, cycles from the machine model.
    pub fn digits(dir: &Path) -> Network {
        const DIGITS: usize = 8;
        let (model, arch) = (Model::load("TFC_1W2A.onnx"), arch("tiny"));
        let program = model.compile(&arch);
        let codes: Vec<Vec<Vec<i32>>> = (0..DIGITS).map(|i| model.codes(i)).collect();
        let output = model.model.graph.outputs[0];
        let golden =
            |c: &Vec<Vec<i32>>| golden::run(&model.model.graph, c).expect("codes fit")[output].clone();
        let expected: Vec<Vec<i32>> = codes.iter().map(golden).collect();
        let mut image = Image::new(&program, &codes[0]).expect("codes fit");
        let cycles = Machine::new(&arch).run(&mut image, &RunOptions::default()).cycles;
        let codes: Vec<Vec<i32>> = codes.into_iter().map(|mut inputs| inputs.remove(0)).collect();
        let mut numbers = vec![DIGITS as i32, codes[0].len() as i32, expected[0].len() as i32];
        codes.iter().zip(&expected).for_each(|(c, e)| numbers.extend(c.iter().chain(e)));
        let network = Network {
            program: dir.join("network.bwp"),
            cases: dir.join("cases.bin"),
            codes,
            expected,
            cycles,
        };
        program.write(&network.program).unwrap_or_else(|e| panic!("{e}"));
        std::fs::write(&network.cases, bytes_of(&numbers)).expect("a writable folder");
        network
    }

    /// What the drivers' programs print: the machine model's cycles for every input.
    pub fn summary(&self) -> String {
        format!("{} inputs, {} cycles each\n", self.codes.len(), self.cycles)
    }
}

/// The library of a configuration.
pub struct Verilated(PathBuf);

impl Verilated {
    /// Built once for all tests.
    pub fn tiny() -> &'static Verilated {
        static LIBRARY: OnceLock<Verilated> = OnceLock::new();
        LIBRARY.get_or_init(|| {
            let library = Cosim::library(&arch("tiny"), &BuildOptions::default());
            Verilated(library.unwrap_or_else(|e| panic!("{e}")))
        })
    }

    pub fn library(&self) -> &Path {
        &self.0
    }
}
