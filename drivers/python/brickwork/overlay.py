# SPDX-License-Identifier: Apache-2.0 OR MIT
"""The driver that PYNQ gives to the accelerator of an overlay: ``overlay.accelerator``."""

import pynq
from pynq import DefaultIP

from .device import Device


class Accelerator(Device, DefaultIP):
    """The accelerator in an overlay; see Device for its calls."""

    bindto = ["brickwork:ip:brickwork:1.0"]

    def __init__(self, description):
        DefaultIP.__init__(self, description=description)
        Device.__init__(self, self.read, self.write, lambda count: pynq.allocate(shape=(count,), dtype="u1"))
