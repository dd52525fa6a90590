// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The Rust driver on the Verilated accelerator, linked at run time. Memory is not coherent, as on a Zynq: the processor's buffer
//! and the accelerator's memory differ until the driver flushes or invalidates.

use crate::common::scratch;
use crate::model::{Network, Verilated};
use brickwork_driver::{regs, Bus, Device, Error, Loaded, Memory, Program, ALIGN};
use std::ffi::{c_char, c_int, c_void, CStr, CString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

#[link(name = "dl")]
extern "C" {
    fn dlopen(path: *const c_char, flags: c_int) -> *mut c_void;
    fn dlsym(library: *mut c_void, name: *const c_char) -> *mut c_void;
}
const RTLD_NOW: c_int = 2;

/// Address of the buffer, clock, and a time-out that no run needs.
const ADDRESS: u64 = 0x1000_0000;
const CLOCK_MHZ: u64 = 100;
const LONG_US: u64 = 1_000_000;

type Handle = *mut c_void;

/// The functions of `sim/harness/model.h`.
#[derive(Clone, Copy)]
struct Model {
    handle: Handle,
    read: extern "C" fn(Handle, u32) -> u32,
    write: extern "C" fn(Handle, u32, u32),
    map: extern "C" fn(Handle, u64, u64),
    store: extern "C" fn(Handle, u64, *const c_void, u64),
    load: extern "C" fn(Handle, u64, *mut c_void, u64),
    fault: extern "C" fn(Handle, u64, u64),
    cycles: extern "C" fn(Handle) -> u64,
    step: extern "C" fn(Handle, u64) -> c_int,
    violation: extern "C" fn(Handle) -> *const c_char,
}

impl Model {
    fn open(path: &Path) -> Model {
        let path = CString::new(path.as_os_str().as_bytes()).expect("a path");
        // SAFETY: the library is ours, its initialisation has no preconditions.
        let library = unsafe { dlopen(path.as_ptr(), RTLD_NOW) };
        assert!(!library.is_null(), "cannot load {path:?}");
        let symbol = |name: &str| {
            let name = CString::new(format!("brickwork_model_{name}")).expect("a name");
            // SAFETY: the library is open and stays so.
            let found = unsafe { dlsym(library, name.as_ptr()) };
            assert!(!found.is_null(), "no {name:?}");
            found
        };
        // SAFETY: the types are those of model.h.
        unsafe {
            let new: extern "C" fn(c_int) -> Handle = std::mem::transmute(symbol("new"));
            Model {
                handle: new(1),
                read: std::mem::transmute::<Handle, extern "C" fn(Handle, u32) -> u32>(symbol("read")),
                write: std::mem::transmute::<Handle, extern "C" fn(Handle, u32, u32)>(symbol("write")),
                map: std::mem::transmute::<Handle, extern "C" fn(Handle, u64, u64)>(symbol("map")),
                store: std::mem::transmute::<Handle, extern "C" fn(Handle, u64, *const c_void, u64)>(symbol(
                    "store",
                )),
                load: std::mem::transmute::<Handle, extern "C" fn(Handle, u64, *mut c_void, u64)>(symbol(
                    "load",
                )),
                fault: std::mem::transmute::<Handle, extern "C" fn(Handle, u64, u64)>(symbol("fault")),
                cycles: std::mem::transmute::<Handle, extern "C" fn(Handle) -> u64>(symbol("cycles")),
                step: std::mem::transmute::<Handle, extern "C" fn(Handle, u64) -> c_int>(symbol("step")),
                violation: std::mem::transmute::<Handle, extern "C" fn(Handle) -> *const c_char>(symbol(
                    "violation",
                )),
            }
        }
    }
}

/// The bus of a board whose accelerator is the model. `first`: where the buffer begins for the processor.
struct Board {
    model: Model,
    first: usize,
    interrupt: bool,
}

impl Board {
    fn address(&self, range: &[u8]) -> u64 {
        ADDRESS + (range.as_ptr() as usize - self.first) as u64
    }
}

impl Bus for Board {
    fn read(&mut self, offset: u32) -> u32 {
        (self.model.read)(self.model.handle, offset)
    }
    fn write(&mut self, offset: u32, value: u32) {
        (self.model.write)(self.model.handle, offset, value)
    }
    fn flush(&mut self, range: &mut [u8]) {
        (self.model.store)(self.model.handle, self.address(range), range.as_ptr().cast(), range.len() as u64)
    }
    fn invalidate(&mut self, range: &mut [u8]) {
        (self.model.load)(
            self.model.handle,
            self.address(range),
            range.as_mut_ptr().cast(),
            range.len() as u64,
        )
    }
    fn now_us(&mut self) -> u64 {
        (self.model.cycles)(self.model.handle) / CLOCK_MHZ
    }
    fn wait(&mut self, us: u64) {
        if self.interrupt {
            (self.model.step)(self.model.handle, us * CLOCK_MHZ);
        }
    }
    fn has_interrupt(&self) -> bool {
        self.interrupt
    }
}

/// Runs a case and compares its result.
fn right(loaded: &mut Loaded<Board>, network: &Network, i: usize) {
    loaded.set_input(0, &network.codes[i]).expect("the codes fit");
    loaded.run(LONG_US).unwrap_or_else(|e| panic!("input {i}: {e}"));
    result(loaded, network, i);
}

fn result(loaded: &mut Loaded<Board>, network: &Network, i: usize) {
    let mut codes = vec![0; network.expected[i].len()];
    loaded.output(0, &mut codes).expect("the length fits");
    assert_eq!(codes, network.expected[i], "input {i}");
}

fn all_cases(loaded: &mut Loaded<Board>, network: &Network) {
    for i in 0..network.codes.len() {
        right(loaded, network, i);
        let counters = loaded.device().counters();
        let said = format!("{} inputs, {} cycles each\n", network.codes.len(), counters.cycles);
        assert_eq!(said, network.summary());
        assert!(counters.pass_busy > 0 && loaded.device().error().is_none());
    }
}

fn time_out(loaded: &mut Loaded<Board>, network: &Network) {
    loaded.set_input(0, &network.codes[0]).expect("the codes fit");
    assert_eq!(loaded.run(1), Err(Error::Timeout));
    assert_eq!(loaded.start(), Err(Error::Busy));
    assert_eq!(loaded.poll(), Ok(false));
    assert_eq!(loaded.wait(LONG_US), Ok(()));
    result(loaded, network, 0);
    assert_eq!(loaded.run(1), Err(Error::Timeout));
    assert_eq!(loaded.device().reset(LONG_US), Ok(()));
    right(loaded, network, 1);
}

/// Memory that answers with an error: reading constants, writing results.
fn memory_errors(loaded: &mut Loaded<Board>, network: &Network, model: Model) {
    let base = |loaded: &mut Loaded<Board>, register| loaded.device().bus().read(register) as u64;
    for (register, code) in
        [(regs::REG_BASE0, regs::ERROR_BUS_READ), (regs::REG_BASE2, regs::ERROR_BUS_WRITE)]
    {
        (model.fault)(model.handle, base(loaded, register), 8);
        match loaded.run(LONG_US) {
            Err(Error::Failed(e)) => assert!(e.code == code && e.instruction > 0, "{e:?}"),
            other => panic!("{other:?}"),
        }
        assert_eq!(loaded.run(LONG_US), Err(Error::NeedsReset));
        (model.fault)(model.handle, 0, 0);
        loaded.device().reset(LONG_US).expect("it comes to rest");
        right(loaded, network, 0);
    }
}

/// The file with `change` made and the checksum right again.
fn changed(file: &[u8], change: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let mut copy = file.to_vec();
    let end = copy.len() - 8;
    change(&mut copy[..end]);
    let fnv = copy[..end]
        .iter()
        .fold(0xcbf2_9ce4_8422_2325u64, |h, b| (h ^ *b as u64).wrapping_mul(0x100_0000_01b3));
    copy[end..].copy_from_slice(&fnv.to_le_bytes());
    copy
}

fn position(file: &[u8], wanted: &[u8]) -> usize {
    file.windows(wanted.len()).position(|w| w == wanted).expect("it is there")
}

fn refusals(device: &mut Device<Board>, file: &[u8], data: &mut [u8]) {
    let program = Program::parse(file).expect("a sound file");
    assert!(matches!(Program::parse(&file[..file.len() - 1]), Err(Error::BadFile(_))));
    assert!(matches!(Program::parse(&[]), Err(Error::BadFile(_))));
    assert!(matches!(
        Program::parse(&changed(file, |f| f[4] = 99)),
        Err(Error::BadFileVersion { found: 99 })
    ));
    let hash = program.hash.to_string();
    let stranger = changed(file, |f| f[position(file, hash.as_bytes()) + hash.len() - 1] ^= 1);
    let stranger =
        Program::parse(&stranger).map(|p| (p.hash, device.load(p, Memory { data, address: ADDRESS }).err()));
    let (other, refused) = stranger.expect("a sound file");
    assert_eq!(refused, Some(Error::WrongHash { program: other, device: program.hash }));
    for address in [ADDRESS + ALIGN as u64 / 2, 1 << 32] {
        let refused = device.load(program, Memory { data, address }).err();
        assert_eq!(refused, Some(Error::Misaligned { address }));
    }
    let needed = program.memory_needed();
    let refused = device.load(program, Memory { data: &mut data[..needed - 1], address: ADDRESS }).err();
    assert_eq!(refused, Some(Error::TooSmall { needed, found: needed - 1 }));
}

fn bad_inputs(loaded: &mut Loaded<Board>, program: &Program, codes: &[i32]) {
    let expected = codes.len();
    assert_eq!(loaded.set_input(0, &codes[1..]), Err(Error::WrongCount { expected, found: expected - 1 }));
    let mut wrong = codes.to_vec();
    wrong[3] = program.input(0).expect("an input").range().1 as i32 + 1;
    assert_eq!(loaded.set_input(0, &wrong), Err(Error::BadValue { index: 3, value: wrong[3] }));
    assert_eq!(loaded.set_input(1, codes), Err(Error::NoTensor { index: 1 }));
}

/// The machine refuses a program of another configuration even if the driver is deceived: `begin` is changed.
fn machine_refuses(device: &mut Device<Board>, file: &[u8], data: &mut [u8], begin: usize) {
    let lying = changed(file, |f| f[begin] ^= 1);
    let program = Program::parse(&lying).expect("a sound file");
    let mut loaded = device.load(program, Memory { data, address: ADDRESS }).expect("the driver is deceived");
    match loaded.run(LONG_US) {
        Err(Error::Failed(e)) => assert_eq!((e.code, e.instruction), (regs::ERROR_WRONG_CONFIGURATION, 0)),
        other => panic!("{other:?}"),
    }
    device.reset(LONG_US).expect("it comes to rest");
}

#[test]
fn the_rust_driver_runs_a_network_on_the_rtl() {
    let dir = scratch("driver_rust");
    let (network, machine) = (Network::digits(&dir), Verilated::tiny());
    let file = std::fs::read(&network.program).expect("it was written");
    let compiled = brickwork_compiler::program::Program::from_bytes(&file).expect("a sound file");
    let begin = file.len() - 8 - compiled.instrs.len() * 16;
    let program = Program::parse(&file).unwrap_or_else(|e| panic!("{e}"));
    let model = Model::open(machine.library());
    (model.map)(model.handle, ADDRESS, program.memory_needed() as u64);
    // Neither side begins with zeros.
    let mut data = vec![0x5a; program.memory_needed()];
    let first = data.as_ptr() as usize;
    for interrupt in [false, true] {
        let mut device = Device::open(Board { model, first, interrupt }).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(device.hash(), compiled.info.arch_hash);
        refusals(&mut device, &file, &mut data);
        machine_refuses(&mut device, &file, &mut data, begin);
        let memory = Memory { data: &mut data, address: ADDRESS };
        let mut loaded = device.load(program, memory).unwrap_or_else(|e| panic!("{e}"));
        all_cases(&mut loaded, &network);
        bad_inputs(&mut loaded, &program, &network.codes[0]);
        time_out(&mut loaded, &network);
        memory_errors(&mut loaded, &network, model);
    }
    // SAFETY: the text ends with 0 and lives until the next call.
    let violation = unsafe { CStr::from_ptr((model.violation)(model.handle)) };
    assert_eq!(violation.to_str(), Ok(""));
}
