#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Longest register-to-register paths of a generated accelerator on 7 series, in cell delay, module by module.

    tools/timing.py build/zynq7020 [--goal 2.5] [--readme README.md]

Yosys maps every module once and flattens what was mapped; a path crosses modules as it would on the chip. Cell delays are those
that Yosys' simulation models of 7 series state (`specify` blocks; measured by Project X-Ray on Artix-7, the fabric of the
Zynq-7020). Wires are not counted: about half of a period is theirs, so 2.5 ns of cells is the goal for 5 ns. A path ends with the
set-up time of its register, and belongs to the module in which it ends. Results: FOLDER/timing/report.txt and report.json.
"""

import argparse
import json
import re
import sys
import time
from collections import Counter
from pathlib import Path

import verilog
from page import put_row
from yosys import XC7, Yosys, share

SYNTH = XC7 + " -top {top}"
MANY = 64  # loads of a net
CLOCKS = {"C", "CLK", "WCLK", "CLKARDCLK", "CLKBWRCLK", "RDCLK", "WRCLK", "G"}
# The model of DSP48E1 computes its delays from its parameters. These are its values for registered operands and results.
DSP_LAUNCH = {"P": 329, "PCOUT": 435}
DSP_SETUP = {"A": 254, "B": 248, "C": 233, "D": 248, "PCIN": 1025}


class Cell:
    """Delays of a cell type in picoseconds. Bits: an index, or `None` for the whole port."""

    def __init__(self, text):
        number = r"(\d+)\s*;"
        pin = r"(\w+)(?:\[(\d+)\])?\s*"
        bit = lambda b: None if b is None else int(b)
        self.arcs, self.launch, self.setup = {}, {}, {}
        for i, ib, o, ob, d in re.findall(rf"^\s*\(\s*{pin}[*=]>\s*{pin}\)\s*=\s*{number}", text, re.M):
            self.arcs.setdefault((o, bit(ob or None)), []).append((i, bit(ib or None), int(d)))
        for o, ob, d in re.findall(rf"posedge \w+\s*=>\s*\(\s*{pin}:[^)]*\)\)\s*=\s*{number}", text):
            key = (o, bit(ob or None))
            self.launch[key] = max(self.launch.get(key, 0), int(d))
        for i, ib, d in re.findall(rf"\$setup\(\s*{pin},\s*posedge[^,]*,\s*(?:/\*.*?\*/)?\s*(\d+)\)", text):
            self.setup[(i, bit(ib or None))] = int(d)


def library(types):
    """Delays of the cell types of a netlist, from the models that come with Yosys."""
    text = (share() / "xilinx" / "cells_sim.v").read_text()
    modules = dict(re.findall(r"^module (\w+)\s*\((.*?)^endmodule", text, re.M | re.S))
    known = {}
    for kind in types:
        if kind == "DSP48E1":
            cell = Cell("")
            cell.launch = {(p, None): d for p, d in DSP_LAUNCH.items()}
            cell.setup = {(p, None): d for p, d in DSP_SETUP.items()}
        elif kind == "INV":
            # Absorbed into what it drives.
            cell = Cell("(I => O) = 0;")
        elif kind in modules:
            body = modules[kind]
            # MUXF7 and the like state two arcs in one header.
            cell = Cell("\n".join(p.group(0) for p in re.finditer(r"specify.*?endspecify", body, re.S)))
        else:
            sys.exit(f"timing: cell type {kind} is not known")
        known[kind] = cell
    return known


class Netlist:
    """A flat mapped netlist: what drives each bit, what each bit drives, and the names of both."""

    def __init__(self, module):
        self.cells = {n: c for n, c in module["cells"].items() if not c["type"].startswith("$")}
        odd = {c["type"] for c in module["cells"].values() if c["type"].startswith("$")} - {"$scopeinfo"}
        if odd:
            sys.exit(f"timing: not mapped: {', '.join(sorted(odd))}")
        self.scopes = {n.replace("\\", ""): c["attributes"]["module"] for n, c in module["cells"].items()
                       if c["type"] == "$scopeinfo" and "module" in c.get("attributes", {})}
        self.driver, self.loads = {}, Counter()
        for name, cell in self.cells.items():
            for port, bits in cell["connections"].items():
                output = cell["port_directions"][port] == "output"
                for i, b in enumerate(bits):
                    if isinstance(b, int):
                        if output:
                            self.driver[b] = (name, port, i)
                        elif port not in CLOCKS:
                            self.loads[b] += 1
        self.names = {}
        for name, net in module["netnames"].items():
            if net.get("hide_name"):
                continue
            for i, b in enumerate(net["bits"]):
                old = self.names.get(b)
                # The name furthest down is where the bit is made.
                if old is None or name.count(".") > old.count("."):
                    self.names[b] = f"{name}[{i}]" if len(net["bits"]) > 1 else name

    def scope(self, path):
        """The module in which something with this hierarchical name stands."""
        parts = path.replace("$flatten", "").replace("\\", "").split(".")
        for n in range(len(parts) - 1, 0, -1):
            found = self.scopes.get(".".join(parts[:n]))
            if found:
                # A module with parameters is named $paramod$HASH\\name or $paramod\\name\\VALUES.
                return re.sub(r"^\$paramod(\$\w+)?\\(\w+).*", r"\2", found)
        return None


class Timing:
    """Arrival times of every bit."""

    def __init__(self, netlist):
        self.net = netlist
        self.lib = library({c["type"] for c in netlist.cells.values()})
        self.at = {}

    def launch(self, cell, port, i):
        """Clock to output, `None` for a combinational output."""
        kind = self.lib[cell["type"]]
        d = kind.launch.get((port, i), kind.launch.get((port, None)))
        if cell["type"].startswith("RAMB") and d is not None:
            side = "DOB_REG" if "B" in port.replace("DOBDO", "B").replace("DOPBDOP", "B")[:1] else "DOA_REG"
            registered = int(str(cell["parameters"].get(side, "0")), 2)
            return 882 if registered else 2454
        return d

    def inputs(self, bit):
        """Bits and delays through the cell that drives `bit`."""
        name, port, i = self.net.driver[bit]
        cell = self.net.cells[name]
        kind = self.lib[cell["type"]]
        arcs = kind.arcs.get((port, i), []) + kind.arcs.get((port, None), [])
        for pin, index, d in arcs:
            bits = cell["connections"].get(pin, [])
            chosen = bits if index is None else bits[index:index + 1]
            for b in chosen:
                if isinstance(b, int):
                    yield b, d

    def arrival(self, bit):
        """(picoseconds, bit before) of the latest way to `bit`."""
        todo, entered = [bit], set()
        while todo:
            b = todo[-1]
            if b in self.at:
                todo.pop()
                continue
            if b not in self.net.driver:
                self.at[b] = (0, None)
                continue
            name, port, i = self.net.driver[b]
            start = self.launch(self.net.cells[name], port, i)
            before = list(self.inputs(b))
            waits = [x for x, _ in before if x not in self.at]
            if waits:
                if b in entered:
                    sys.exit(f"timing: combinational loop through {self.net.names.get(b, b)}")
                entered.add(b)
                todo.extend(waits)
                continue
            latest = (start or 0, None)
            for x, d in before:
                if self.at[x][0] + d > latest[0]:
                    latest = (self.at[x][0] + d, x)
            self.at[b] = latest
        return self.at[bit]

    def ends(self):
        """(picoseconds, cell name, port, bit) of every register input."""
        for name, cell in self.net.cells.items():
            setup = self.lib[cell["type"]].setup
            if not setup:
                continue
            for port, bits in cell["connections"].items():
                for i, b in enumerate(bits):
                    need = setup.get((port, i), setup.get((port, None)))
                    if need is not None and isinstance(b, int):
                        yield self.arrival(b)[0] + need, name, port, b

    def path(self, bit):
        """Bits from the start of the latest way to `bit`."""
        way = [bit]
        while self.at[way[-1]][1] is not None:
            way.append(self.at[way[-1]][1])
        return way[::-1]


def endpoint(net, name, port):
    """Hierarchical name of a register: that of its output where it has one."""
    cell = net.cells[name]
    for out in ("Q", "O", "P"):
        for b in cell["connections"].get(out, []):
            if b in net.names:
                return net.names[b] + ("" if port == "D" else f" ({port})")
    return name.replace("$flatten", "").replace("\\", "") + f" ({port})"


def started(net, bit):
    name = net.names.get(bit)
    if bit in net.driver:
        cell, port, _ = net.driver[bit]
        kind = net.cells[cell]["type"]
        if kind.startswith(("RAMB", "DSP", "RAM", "SRL")):
            return f"{kind} {name or cell.replace('$flatten', '').replace(chr(92), '')}"
    return name or "?"


def report(timing, top, goal):
    """Rows per module, and the nets with too many loads that no register drives."""
    net, rows = timing.net, {}
    for ps, name, port, bit in timing.ends():
        where = endpoint(net, name, port)
        module = net.scope(where) or top
        row = rows.setdefault(module, {"module": module, "ends": 0, "over": 0, "ps": -1})
        row["ends"] += 1
        row["over"] += ps > goal
        if ps > row["ps"]:
            row.update(ps=ps, end=where, bit=bit)
    for row in rows.values():
        way = timing.path(row.pop("bit"))
        row["start"] = started(net, way[0])
        row["cells"] = [net.cells[net.driver[b][0]]["type"] for b in way[1:]]
        row["by"] = [net.names.get(b, "") for b in way[1:-1]]
    wide = []
    for bit, n in net.loads.items():
        if n > MANY and bit in net.driver:
            name, port, i = net.driver[bit]
            if timing.launch(net.cells[name], port, i) is None:
                wide.append({"net": net.names.get(bit, name), "loads": n, "driver": net.cells[name]["type"]})
    return sorted(rows.values(), key=lambda r: -r["ps"]), sorted(wide, key=lambda w: -w["loads"])


def short(cells):
    """LUT6 LUT6 CARRY4 ... as counts in order."""
    parts = []
    for c in cells:
        if parts and parts[-1][0] == c:
            parts[-1][1] += 1
        else:
            parts.append([c, 1])
    return " ".join(c if n == 1 else f"{n}x{c}" for c, n in parts)


def main():
    parse = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parse.add_argument("folder", type=Path)
    parse.add_argument("--goal", type=float, default=2.5, help="nanoseconds of cell delay")
    parse.add_argument("--readme", type=Path, help="update the table between the markers of this page")
    arguments = parse.parse_args()
    config = json.loads((arguments.folder / "config.json").read_text())
    out = arguments.folder / "timing"
    out.mkdir(exist_ok=True)
    yosys, start = Yosys(), time.time()
    mapped = yosys.netlist([SYNTH.format(top=config["top"])], verilog.files(arguments.folder), out)
    net = Netlist(json.loads(mapped.read_text())["modules"][config["top"]])
    rows, wide = report(Timing(net), config["top"], 1000 * arguments.goal)
    lines = [f"{config['name']}: {yosys.version}, cell delay of the longest path that ends in each module; goal {arguments.goal} ns", ""]
    lines += [f"{'module':28} {'ns':>6} {'ends':>7} {'over goal':>10}  path"]
    for r in rows:
        lines.append(f"{r['module']:28} {r['ps'] / 1000:6.2f} {r['ends']:7} {r['over']:10}  {r['start']} -> {short(r['cells'])} -> {r['end']}")
    lines += ["", f"nets with more than {MANY} loads that no register drives: {len(wide)}"]
    lines += [f"  {w['loads']:5}  {w['driver']:10} {w['net']}" for w in wide]
    lines += ["", f"{len(net.cells)} cells, {time.time() - start:.0f} s", ""]
    print("\n".join(lines), end="")
    (out / "report.txt").write_text("\n".join(lines))
    (out / "report.json").write_text(json.dumps({"name": config["name"], "tool": yosys.version, "goal_ns": arguments.goal,
                                                 "modules": rows, "wide": wide}, indent=2) + "\n")
    if arguments.readme:
        head = ["configuration", "longest path", "in", f"register inputs beyond {arguments.goal:g} ns"]
        ends, over = sum(r["ends"] for r in rows), sum(r["over"] for r in rows)
        row = f"| `{config['name']}` | {rows[0]['ps'] / 1000:.2f} ns | `{rows[0]['module']}`: {short(rows[0]['cells'])} | {over} of {ends} |"
        put_row(arguments.readme, "timing", head, config["name"], row)


if __name__ == "__main__":
    main()
