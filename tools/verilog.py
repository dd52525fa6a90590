# SPDX-License-Identifier: Apache-2.0 OR MIT
"""What the tools read of a folder of generated Verilog."""

import re


def files(folder):
    """Paths of the Verilog of a folder that `brickwork gen` wrote."""
    rtl = (folder / "rtl").resolve()
    return [rtl / name for name in (rtl / "files.f").read_text().split()]


def ports(text, kind):
    """(name, way, width) of every port of a module that has no parameters, in order."""
    header = re.search(rf"\bmodule\s+{kind}\s*\((.*?)\);", re.sub(r"//[^\n]*", "", text), re.S).group(1)
    port = re.compile(r"(input|output)\s+(?:wire|reg)?\s*(?:signed)?\s*(?:\[(\d+):0\])?\s*(\w+)")
    return [(name, way, int(high or 0) + 1) for way, high, name in port.findall(header)]
