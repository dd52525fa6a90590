# SPDX-License-Identifier: Apache-2.0 OR MIT
"""What can go wrong."""

from . import regs


class BrickworkError(Exception):
    """Everything that the driver raises."""


class NoDevice(BrickworkError):
    """ID is not that of the accelerator."""


class BadVersion(BrickworkError):
    """The hardware has another major or minor version than this driver."""


class BadFile(BrickworkError):
    """Not a program file, damaged, or with a description that cannot be."""


class BadFileVersion(BadFile):
    """Program file of another format."""


class WrongConfiguration(BrickworkError):
    """The program was made for another configuration."""


class Misaligned(BrickworkError):
    """A buffer does not begin at a multiple of 64 or ends beyond 4 GiB."""


class BadInput(BrickworkError, ValueError):
    """Another number of arrays or values than the program has, or values that the tensor's type does not have."""


class NotLoaded(BrickworkError):
    """No program is loaded."""


class Busy(BrickworkError):
    """A run is under way."""


class NeedsReset(BrickworkError):
    """An error stopped the machine; only a reset goes on."""


class Timeout(BrickworkError, TimeoutError):
    """Not done in time. The run goes on: wait again, or reset."""


class MachineError(BrickworkError):
    """The machine stopped with an error.

    code: one of ``regs.ERROR_...``; instruction: number of the instruction that failed.
    """

    def __init__(self, code, instruction):
        self.code = code
        self.instruction = instruction
        self.name = regs.ERROR_NAMES[code] if code < len(regs.ERROR_NAMES) else "unknown"
        super().__init__(f"the machine stopped at instruction {instruction}: {self.name}")
