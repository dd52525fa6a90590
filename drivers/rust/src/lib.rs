// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Driver of the accelerator: `no_std`, no allocation, no dependency.
//!
//! A program file (`.bwp`) is parsed in place, copied with its regions into one physically contiguous buffer, and run:
//!
//! ```no_run
//! # use brickwork_driver::*;
//! # fn example<B: Bus>(bus: B, memory: Memory, file: &[u8], codes: &[i32]) -> Result<(), Error> {
//! let program = Program::parse(file)?;
//! let mut device = Device::open(bus)?;
//! let mut loaded = device.load(program, memory)?;        // Program::memory_needed tells how much
//! loaded.set_input(0, codes)?;
//! loaded.run(100_000)?;
//! let mut logits = [0; 10];
//! loaded.output(0, &mut logits)?;
//! # Ok(())
//! # }
//! ```
//!
//! What the board gives stands in [`Bus`]: register accesses, cache maintenance, time.
#![no_std]
#![forbid(unsafe_code)]

mod json;
mod program;
pub mod regs;
mod tensor;

pub use program::{Bytes, Program};
pub use tensor::{Axis, Form, Gather, Quant, Shape, Tensor, MAX_OFFSETS};

use core::fmt;

/// Addresses of the buffer and of each region in it are multiples of this: two cache lines of a Cortex-A9, one of others.
pub const ALIGN: usize = 64;

/// Time that [`Device::open`] gives to the end of a run that somebody left, in microseconds.
const OPEN_RESET_US: u64 = 100_000;

/// What the board gives.
pub trait Bus {
    /// Reads the register at a byte offset.
    fn read(&mut self, offset: u32) -> u32;
    /// Writes the register at a byte offset. What was written to memory before must be there first.
    fn write(&mut self, offset: u32, value: u32);
    /// Writes the processor's cached data of a range of the buffer to memory; returns when they are there.
    fn flush(&mut self, range: &mut [u8]);
    /// Makes the processor read a range of the buffer from memory again.
    fn invalidate(&mut self, range: &mut [u8]);
    /// A clock in microseconds that never goes back.
    fn now_us(&mut self) -> u64;
    /// Sleeps until the interrupt, at most so many microseconds. The default returns at once: the driver polls.
    fn wait(&mut self, _us: u64) {}
    /// Whether [`Bus::wait`] waits for the interrupt, which is then enabled.
    fn has_interrupt(&self) -> bool {
        false
    }
}

/// A physically contiguous buffer: what the processor sees, and its address for the accelerator.
#[derive(Debug)]
pub struct Memory<'a> {
    pub data: &'a mut [u8],
    pub address: u64,
}

/// What can go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// ID is not that of the accelerator.
    NoDevice { id: u32 },
    /// The hardware has another major or minor version than this driver.
    BadVersion { version: u32 },
    /// Not a program file, damaged, or with a description that cannot be.
    BadFile(&'static str),
    /// Program file of another format.
    BadFileVersion { found: u32 },
    /// The program was made for another configuration.
    WrongHash { program: u64, device: u64 },
    /// The buffer's address is no multiple of [`ALIGN`], or the buffer ends beyond 4 GiB.
    Misaligned { address: u64 },
    /// The buffer is too small.
    TooSmall { needed: usize, found: usize },
    /// No input or output of this number.
    NoTensor { index: usize },
    /// Another number of values than the tensor has.
    WrongCount { expected: usize, found: usize },
    /// A value that the tensor's type does not have.
    BadValue { index: usize, value: i32 },
    /// A run is under way.
    Busy,
    /// An error stopped the machine; only a reset goes on.
    NeedsReset,
    /// Not done in time. The run goes on: wait again, or reset.
    Timeout,
    /// The machine stopped with an error.
    Failed(MachineError),
}

/// An error of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MachineError {
    /// `regs::ERROR_...`
    pub code: u32,
    /// Number of the instruction that failed.
    pub instruction: u32,
}

impl MachineError {
    /// Name of the code.
    pub fn name(&self) -> &'static str {
        regs::ERROR_NAMES.get(self.code as usize).copied().unwrap_or("unknown")
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::NoDevice { id } => write!(f, "no Brickwork accelerator here: ID reads 0x{id:08x}"),
            Error::BadVersion { version } => {
                write!(
                    f,
                    "the accelerator has version 0x{version:06x}, this driver 0x{:06x}",
                    regs::VERSION_VALUE
                )
            }
            Error::BadFile(why) => write!(f, "not a usable program file: {why}"),
            Error::BadFileVersion { found } => write!(f, "program file of format {found}; compile again"),
            Error::WrongHash { program, device } => {
                write!(f, "the program was made for configuration {program:016x}, this is {device:016x}")
            }
            Error::Misaligned { address } => {
                write!(f, "the buffer at 0x{address:x} does not begin at a multiple of {ALIGN} or ends beyond 4 GiB")
            }
            Error::TooSmall { needed, found } => {
                write!(f, "the program needs {needed} bytes, the buffer has {found}")
            }
            Error::NoTensor { index } => write!(f, "the program has no input or output {index}"),
            Error::WrongCount { expected, found } => {
                write!(f, "the tensor has {expected} values, not {found}")
            }
            Error::BadValue { index, value } => {
                write!(f, "value {value} at {index} is no code of the tensor")
            }
            Error::Busy => write!(f, "a run is under way"),
            Error::NeedsReset => write!(f, "an error stopped the machine; it needs a reset"),
            Error::Timeout => write!(f, "not done in time"),
            Error::Failed(e) => {
                write!(f, "the machine stopped at instruction {}: {}", e.instruction, e.name())
            }
        }
    }
}
impl core::error::Error for Error {}

/// Counters of the last run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    pub cycles: u64,
    pub pass_busy: u32,
    pub pass_wait_token: u32,
    pub pass_wait_wgt: u32,
    pub load_busy: u32,
    pub post_busy: u32,
    pub wgt_busy: u32,
}

/// The accelerator, identity checked.
#[derive(Debug)]
pub struct Device<B> {
    bus: B,
    hash: u64,
}

impl<B: Bus> Device<B> {
    /// Checks identity and version, reads the configuration's hash. A run that somebody left is broken off.
    pub fn open(mut bus: B) -> Result<Device<B>, Error> {
        let id = bus.read(regs::REG_ID);
        if id != regs::ID_VALUE {
            return Err(Error::NoDevice { id });
        }
        let version = bus.read(regs::REG_VERSION);
        if version >> 8 != regs::VERSION_VALUE >> 8 {
            return Err(Error::BadVersion { version });
        }
        let hash = (bus.read(regs::REG_HASH_HI) as u64) << 32 | bus.read(regs::REG_HASH_LO) as u64;
        let mut device = Device { bus, hash };
        device.reset(OPEN_RESET_US)?;
        Ok(device)
    }

    /// Hash of the hardware's configuration.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// What the board gives.
    pub fn bus(&mut self) -> &mut B {
        &mut self.bus
    }

    /// Soft reset: breaks off what runs and waits until no transfer is under way.
    pub fn reset(&mut self, timeout_us: u64) -> Result<(), Error> {
        let begin = self.bus.now_us();
        self.bus.write(regs::REG_CTRL, regs::CTRL_RESET);
        loop {
            let spent = self.bus.now_us() - begin;
            if self.bus.read(regs::REG_STATUS) & (regs::STATUS_BUSY | regs::STATUS_ERROR) == 0 {
                break;
            }
            if spent >= timeout_us {
                return Err(Error::Timeout);
            }
        }
        self.bus.write(regs::REG_IRQ_STATUS, regs::IRQ_STATUS_DONE | regs::IRQ_STATUS_ERROR);
        let enable =
            if self.bus.has_interrupt() { regs::IRQ_ENABLE_DONE | regs::IRQ_ENABLE_ERROR } else { 0 };
        self.bus.write(regs::REG_IRQ_ENABLE, enable);
        Ok(())
    }

    /// Cycles without progress after which the machine stops itself with an error; 0: never.
    pub fn set_watchdog(&mut self, cycles: u32) {
        self.bus.write(regs::REG_WATCHDOG, cycles);
    }

    /// Error of the last run; `None`: there was none.
    pub fn error(&mut self) -> Option<MachineError> {
        let code = self.bus.read(regs::REG_ERROR_CODE);
        let instruction = self.bus.read(regs::REG_ERROR_INSTR);
        (code != regs::ERROR_NONE).then_some(MachineError { code, instruction })
    }

    /// Counters of the present or last run.
    pub fn counters(&mut self) -> Counters {
        let mut read = |offset| self.bus.read(offset);
        // The low word may pass to the high one between two reads.
        let cycles = loop {
            let (high, low) = (read(regs::REG_CYCLES_HI), read(regs::REG_CYCLES_LO));
            if high == read(regs::REG_CYCLES_HI) {
                break (high as u64) << 32 | low as u64;
            }
        };
        Counters {
            cycles,
            pass_busy: read(regs::REG_PASS_BUSY),
            pass_wait_token: read(regs::REG_PASS_WAIT_TOKEN),
            pass_wait_wgt: read(regs::REG_PASS_WAIT_WGT),
            load_busy: read(regs::REG_LOAD_BUSY),
            post_busy: read(regs::REG_POST_BUSY),
            wgt_busy: read(regs::REG_WGT_BUSY),
        }
    }

    /// Copies a program into the buffer and tells the machine where it is.
    pub fn load<'d, 'p, 'm>(
        &'d mut self,
        program: Program<'p>,
        memory: Memory<'m>,
    ) -> Result<Loaded<'d, 'p, 'm, B>, Error> {
        self.idle()?;
        if program.hash != self.hash {
            return Err(Error::WrongHash { program: program.hash, device: self.hash });
        }
        let at = program.parts();
        if memory.data.len() < at.end {
            return Err(Error::TooSmall { needed: at.end, found: memory.data.len() });
        }
        if !memory.address.is_multiple_of(ALIGN as u64)
            || memory.address.saturating_add(at.end as u64) > 1 << 32
        {
            return Err(Error::Misaligned { address: memory.address });
        }
        memory.data[..program.instructions.len()].copy_from_slice(program.instructions);
        memory.data[at.constants..][..program.constants.len()].copy_from_slice(program.constants);
        memory.data[at.input..at.end].fill(0);
        self.bus.flush(&mut memory.data[..at.end]);
        let base = memory.address as u32;
        self.bus.write(regs::REG_PROGRAM, base);
        for (register, offset) in [
            (regs::REG_BASE0, at.constants),
            (regs::REG_BASE1, at.input),
            (regs::REG_BASE2, at.output),
            (regs::REG_BASE3, at.scratch),
        ] {
            self.bus.write(register, base + offset as u32);
        }
        Ok(Loaded { device: self, program, memory })
    }

    /// Errors: a run is under way, or an error stopped the machine.
    fn idle(&mut self) -> Result<(), Error> {
        match self.bus.read(regs::REG_STATUS) {
            s if s & regs::STATUS_ERROR != 0 => Err(Error::NeedsReset),
            s if s & regs::STATUS_BUSY != 0 => Err(Error::Busy),
            _ => Ok(()),
        }
    }
}

/// A program in the machine's memory.
#[derive(Debug)]
pub struct Loaded<'d, 'p, 'm, B> {
    device: &'d mut Device<B>,
    program: Program<'p>,
    memory: Memory<'m>,
}

impl<B: Bus> Loaded<'_, '_, '_, B> {
    /// The accelerator: error, counters, reset.
    pub fn device(&mut self) -> &mut Device<B> {
        self.device
    }

    /// Packs an input: its codes in the order of its shape.
    pub fn set_input(&mut self, index: usize, codes: &[i32]) -> Result<(), Error> {
        let tensor = self.program.input(index)?;
        let at = self.program.parts();
        tensor.pack(codes, &mut self.memory.data[at.input..at.output])
    }

    /// Starts a run.
    pub fn start(&mut self) -> Result<(), Error> {
        self.device.idle()?;
        let at = self.program.parts();
        self.device.bus.flush(&mut self.memory.data[at.input..at.output]);
        // No line of the output may be written back on top of the results.
        self.device.bus.invalidate(&mut self.memory.data[at.output..at.scratch]);
        self.device.bus.write(regs::REG_IRQ_STATUS, regs::IRQ_STATUS_DONE | regs::IRQ_STATUS_ERROR);
        self.device.bus.write(regs::REG_CTRL, regs::CTRL_START);
        Ok(())
    }

    /// Whether the run has ended. Errors: the machine stopped with one.
    pub fn poll(&mut self) -> Result<bool, Error> {
        let status = self.device.bus.read(regs::REG_STATUS);
        if status & regs::STATUS_ERROR != 0 {
            let unknown = MachineError { code: u32::MAX, instruction: 0 };
            return Err(Error::Failed(self.device.error().unwrap_or(unknown)));
        }
        let done = status & (regs::STATUS_DONE | regs::STATUS_BUSY) == regs::STATUS_DONE;
        if done {
            self.device.bus.write(regs::REG_IRQ_STATUS, regs::IRQ_STATUS_DONE);
            let at = self.program.parts();
            self.device.bus.invalidate(&mut self.memory.data[at.output..at.scratch]);
        }
        Ok(done)
    }

    /// Waits for the end of the run, at most so many microseconds.
    pub fn wait(&mut self, timeout_us: u64) -> Result<(), Error> {
        let begin = self.device.bus.now_us();
        loop {
            let spent = self.device.bus.now_us() - begin;
            if self.poll()? {
                return Ok(());
            }
            if spent >= timeout_us {
                return Err(Error::Timeout);
            }
            self.device.bus.wait(timeout_us - spent);
        }
    }

    /// Starts a run and waits for its end.
    pub fn run(&mut self, timeout_us: u64) -> Result<(), Error> {
        self.start()?;
        self.wait(timeout_us)
    }

    /// Unpacks an output of the last run.
    pub fn output(&self, index: usize, codes: &mut [i32]) -> Result<(), Error> {
        let tensor = self.program.output(index)?;
        let at = self.program.parts();
        tensor.unpack(&self.memory.data[at.output..at.scratch], codes)
    }
}
