// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Packing of inputs and unpacking of results: the three drivers against the compiler, for networks whose inputs lie in other
//! arrangements and whose results are bit-planes.

use crate::common::{repo, scratch};
use crate::model::{arch, bytes_of, Model};
use crate::{compile_c, python, run};
use brickwork_compiler::program::{Program, TensorForm};
use brickwork_driver::{regs, Bus, Device, Memory};
use std::path::Path;
use std::process::Command;

/// A machine that is done at once; `invalidate` brings the results.
struct Done<'a> {
    hash: u64,
    results: &'a [u8],
}

impl Bus for Done<'_> {
    fn read(&mut self, offset: u32) -> u32 {
        match offset {
            regs::REG_ID => regs::ID_VALUE,
            regs::REG_VERSION => regs::VERSION_VALUE,
            regs::REG_HASH_LO => self.hash as u32,
            regs::REG_HASH_HI => (self.hash >> 32) as u32,
            regs::REG_STATUS => regs::STATUS_DONE,
            _ => 0,
        }
    }
    fn write(&mut self, _offset: u32, _value: u32) {}
    fn flush(&mut self, _range: &mut [u8]) {}
    fn invalidate(&mut self, range: &mut [u8]) {
        range[..self.results.len()].copy_from_slice(self.results);
    }
    fn now_us(&mut self) -> u64 {
        0
    }
}

/// Input region and output codes as the Rust driver makes them.
fn rust(file: &[u8], codes: &[Vec<i32>], results: &[u8]) -> (Vec<u8>, Vec<Vec<i32>>) {
    let program = brickwork_driver::Program::parse(file).expect("a sound file");
    let mut data = vec![0xff; program.memory_needed()];
    let mut device = Device::open(Done { hash: program.hash, results }).expect("it is the accelerator");
    let mut loaded = device.load(program, Memory { data: &mut data, address: 0 }).expect("it fits");
    for (i, codes) in codes.iter().enumerate() {
        loaded.set_input(i, codes).expect("the codes fit");
        check_scale(&program.input(i).expect("an input"));
    }
    loaded.run(0).expect("it is done");
    let output = |i| {
        let mut values = vec![0; program.output(i).expect("an output").len()];
        loaded.output(i, &mut values).expect("the length fits");
        values
    };
    let outputs = (0..program.outputs).map(output).collect();
    // The input region is the last multiple of 64 bytes before the output's.
    let end = program.memory_needed();
    let whole = |n: usize| n.next_multiple_of(64);
    let input = end - whole(program.bytes.scratch) - whole(program.bytes.output) - whole(program.bytes.input);
    (data[input..][..program.bytes.input].to_vec(), outputs)
}

/// Codes become reals and codes again; what is beyond their range is clamped; ties go away from zero.
fn check_scale(tensor: &brickwork_driver::Tensor) {
    let Some(quant) = tensor.quant else { return };
    let (lo, hi) = tensor.range();
    for code in lo..=hi {
        let real = tensor.dequantize(code as i32).expect("it has a scale");
        assert_eq!(tensor.quantize(real), Some(code as i32));
    }
    assert_eq!([tensor.quantize(1e30), tensor.quantize(-1e30)], [Some(hi as i32), Some(lo as i32)]);
    let tie = tensor.quantize(quant.scale * 0.5);
    assert_eq!(tie, Some((quant.zero_point as i64 + 1).min(hi) as i32));
}

/// The same as another driver's program makes them.
fn other(command: &mut Command, dir: &Path) -> (Vec<u8>, Vec<u8>) {
    let names = ["program.bwp", "codes.bin", "results.bin", "input.bin", "outputs.bin"];
    run(command.args(names.map(|n| dir.join(n))));
    let read = |n: &str| std::fs::read(dir.join(n)).expect("it was written");
    (read("input.bin"), read("outputs.bin"))
}

fn check(program: &Program, codes: &[Vec<i32>], dir: &Path, name: &str) {
    let file = program.to_bytes();
    let region = program.pack_input(codes).expect("the codes fit");
    let noise = |i: usize| (i.wrapping_mul(2_654_435_761) >> 7) as u8;
    let results: Vec<u8> = (0..program.info.output_bytes).map(noise).collect();
    let outputs = program.unpack_output(&results);
    assert_eq!(rust(&file, codes, &results), (region.clone(), outputs.clone()), "{name}: Rust");
    let files =
        [("program.bwp", &file), ("codes.bin", &bytes_of(&codes.concat())), ("results.bin", &results)];
    for (file, bytes) in files {
        std::fs::write(dir.join(file), bytes).expect("a writable folder");
    }
    let expected = (region, bytes_of(&outputs.concat()));
    assert!(other(&mut Command::new(dir.join("edges")), dir) == expected, "{name}: C");
    let mut command = Command::new(python());
    command.arg(repo("drivers/python/tests/edges.py")).env("PYTHONDONTWRITEBYTECODE", "1");
    assert!(other(&mut command, dir) == expected, "{name}: Python");
}

#[test]
fn drivers_pack_and_unpack_as_the_compiler() {
    let dir = scratch("driver_edges");
    compile_c(&["brickwork.c", "brickwork_program.c", "tests/edges.c"], &[], &dir.join("edges"));
    let (mut gathered, mut planes, mut scaled) = (0, 0, 0);
    for (model, config) in [
        ("TFC_1W2A.onnx", "odd"),
        ("kws_ref_model.tflite", "bitfusion"),
        ("pretrainedResnet_quant.tflite", "zynq7020"),
    ] {
        let network = Model::load(model);
        let program = network.compile(&arch(config));
        let (inputs, outputs) = (&program.info.inputs, &program.info.outputs);
        gathered += inputs.iter().filter(|t| t.gather.is_some()).count();
        scaled += inputs.iter().filter(|t| t.quant.is_some()).count();
        planes += outputs.iter().filter(|t| matches!(t.form, TensorForm::Planes(_))).count();
        check(&program, &network.codes(0), &dir, &format!("{model} on {config}"));
    }
    assert!(gathered > 0, "no input in another arrangement");
    assert!(planes > 0, "no result in planes");
    assert!(scaled > 0, "no input with a scale");
}
