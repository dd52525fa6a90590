# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Driver of the Brickwork accelerator for Python.

On a board with PYNQ::

    from pynq import Overlay
    import brickwork                       # before the overlay: it registers the driver

    overlay = Overlay("brickwork.bit")
    overlay.accelerator.load("network.bwp")
    logits = overlay.accelerator.run(array)

``Device`` is the same without PYNQ, for who has registers and memory by other means.
"""

from .device import Counters, Device
from .errors import (
    BadFile,
    BadFileVersion,
    BadInput,
    BadVersion,
    BrickworkError,
    Busy,
    MachineError,
    Misaligned,
    NeedsReset,
    NoDevice,
    NotLoaded,
    Timeout,
    WrongConfiguration,
)
from .program import Program, Tensor

try:
    from .overlay import Accelerator
except ImportError:  # no PYNQ here
    Accelerator = None

__all__ = [
    "Accelerator",
    "BadFile",
    "BadFileVersion",
    "BadInput",
    "BadVersion",
    "BrickworkError",
    "Busy",
    "Counters",
    "Device",
    "MachineError",
    "Misaligned",
    "NeedsReset",
    "NoDevice",
    "NotLoaded",
    "Program",
    "Tensor",
    "Timeout",
    "WrongConfiguration",
]
