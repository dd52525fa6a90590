#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Synthesizes generated Verilog with Yosys, module by module, and reports what it takes of its device.

    tools/synth.py build/zynq7020 [--readme README.md] [--only MODULE]

The folder is one that `brickwork gen` wrote. The report goes to FOLDER/synth/report.txt and report.json. Each module is
synthesized once, with the modules that it instantiates as black boxes; an instance with constant inputs or open outputs counts
as a module of its own, with these constants inside, as in a synthesis that optimizes across the hierarchy. Small arithmetic
leaves are flattened into their parent. Results are kept in build/synth-cache under a hash of text, parameters, script and
Yosys version. How resources are counted: tools/synth_cells.py. Which Yosys: tools/yosys.py.
"""

import argparse
import gzip
import hashlib
import json
import os
import re
import sys
import time
from pathlib import Path

import synth_cells as cells
import verilog
from page import put_row
from packages import ROOT
from yosys import ECP5, FLATTEN, XC7, Yosys

# Leaves that are flattened into the module that uses them.
FLAT = re.compile(r"^(lane_count|bit_brick|round_increment|count_six|compress|post_round)")
SYNTH = {
    "xc7": XC7 + " -flatten -top {top}",
    "ecp5": ECP5 + " -top {top}",
}
BATCH = 40  # modules per run of Yosys


class Unit:
    """A module with its parameters and what its instance ties or leaves open."""

    def __init__(self, kind, params=(), tied=(), opened=(), widths=()):
        self.kind, self.params, self.tied, self.opened, self.widths = kind, params, tied, opened, widths

    def ident(self):
        return (self.kind, self.params, self.tied, self.opened)

    def __eq__(self, other):
        return self.ident() == other.ident()

    def __hash__(self):
        return hash(self.ident())

    def wrapper(self, name):
        """Verilog of a module `name` that instantiates this one with its parameters and constants."""
        tied, opened = dict(self.tied), dict(self.opened)
        ports, lines, args = [], [], []
        for port, (way, width) in self.widths:
            span = f"[{width - 1}:0] "
            if way == "input" and port in tied:
                bits = tied[port]
                if any(c is None for c in bits):
                    ports.append(f"input {span}{port}")
                parts = [f"{port}[{i}]" if c is None else f"1'b{c}" for i, c in enumerate(bits)]
                args.append(f".{port}({{{', '.join(reversed(parts))}}})")
            elif way == "output" and port in opened:
                used = [i for i in range(width) if i not in opened[port]]
                lines.append(f"wire {span}all_{port};")
                args.append(f".{port}(all_{port})")
                if used:
                    ports.append(f"output [{len(used) - 1}:0] {port}")
                    lines.append(f"assign {port} = {{{', '.join(f'all_{port}[{i}]' for i in reversed(used))}}};")
            else:
                ports.append(f"{way} {span}{port}")
                args.append(f".{port}({port})")
        params = ", ".join(f".{k}({v})" for k, v in self.params)
        head = f"module {name} ({', '.join(ports)});"
        call = f"{self.kind} {f'#({params}) ' if params else ''}u ({', '.join(args)});"
        return "\n".join([head, *lines, call, "endmodule", ""])


class Design:
    """All modules of a folder, synthesized on demand."""

    def __init__(self, folder, family, yosys):
        self.family, self.yosys, self.folder = family, yosys, folder
        self.cache = ROOT / "build" / "synth-cache"
        self.cache.mkdir(parents=True, exist_ok=True)
        self.files, self.texts = {}, {}
        for name in (folder / "rtl" / "files.f").read_text().split():
            text = (folder / "rtl" / name).read_text()
            bare = re.sub(r"//[^\n]*", "", text)
            for module in re.findall(r"^\s*module\s+(\w+)", bare, re.M):
                self.files[module] = name
            self.texts[name] = bare
        self.done = {}

    def leaves(self, kind, seen=None):
        """Files whose modules are flattened into `kind`, itself first."""
        seen = [] if seen is None else seen
        name = self.files[kind]
        if name in seen:
            return seen
        seen.append(name)
        for module in self.files:
            if FLAT.match(module) and re.search(rf"\b{module}\b", self.texts[name]):
                self.leaves(module, seen)
        return seen

    def ports(self, kind):
        """Ports of a module without parameters, as its text declares them."""
        return tuple((name, (way, width)) for name, way, width in verilog.ports(self.texts[self.files[kind]], kind))

    def uses(self, kind):
        """Modules below `kind` that are not flattened into it."""
        text = "".join(self.texts[n] for n in self.leaves(kind))
        own = set(self.leaves(kind))
        return {m for m, f in self.files.items() if f not in own and re.search(rf"\b{m}\b", text)}

    def key(self, unit):
        parts = [self.yosys.version, SYNTH[self.family], *FLATTEN, repr(unit.ident())]
        parts += [re.sub(r"\s+", " ", self.texts[n]) for n in self.leaves(unit.kind)]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]

    def kept(self, unit):
        """The mapped module of the cache and the seconds that it took; `None` if it is not there."""
        path = self.cache / f"{self.key(unit)}.json.gz"
        if not path.exists():
            return None
        with gzip.open(path, "rt") as f:
            kept = json.load(f)
        return kept["module"], kept["seconds"]

    def synthesize(self, units):
        """Fills the cache. Modules are black boxes for each other, so a run takes no module together with one that it uses."""
        todo = [u for u in units if self.kept(u) is None]
        while todo:
            batch, used = [], set()
            for u in todo:
                if len(batch) < BATCH and u.kind not in used and not any(b.kind in self.uses(u.kind) for b in batch):
                    batch.append(u)
                    used |= self.uses(u.kind)
            self.run(batch)
            todo = [u for u in todo if u not in batch]

    def run(self, batch):
        """Synthesizes modules side by side in one Yosys, each by itself."""
        out = self.cache / f"run-{os.getpid()}-{self.key(batch[0])}"
        out.mkdir(parents=True, exist_ok=True)
        start = time.time()
        names = [f"unit{i}" for i in range(len(batch))]
        tops = [u.wrapper(n) for u, n in zip(batch, names)]
        cells_of_all = "".join(f"(* keep *) {n} u_{n} ();\n" for n in names)
        (out / "units.v").write_text("\n".join(tops) + f"module all_units;\n{cells_of_all}endmodule\n")
        rtl = (self.folder / "rtl").resolve()
        own = {n for u in batch for n in self.leaves(u.kind)}
        boxes = {self.files[m] for u in batch for m in self.uses(u.kind)}
        script = [f"read_verilog {rtl / n}" for n in sorted(own)]
        script += [f"read_verilog -lib {rtl / n}" for n in sorted(boxes - own)]
        script += [f"read_verilog {out / 'units.v'}"] + [f"setattr -mod -set keep_hierarchy 1 {n}" for n in names]
        script += [SYNTH[self.family].format(top="all_units"), FLATTEN[0]]
        script += [f"setattr -mod -set keep_hierarchy 1 {n}" for n in names] + FLATTEN[1:]
        self.yosys.run(script + [f"write_json {out / 'netlist.json'}"], out)
        modules = json.loads((out / "netlist.json").read_text())["modules"]
        seconds = (time.time() - start) / len(batch)
        for unit, name in zip(batch, names):
            for cell in modules[name]["cells"].values():
                cell.pop("attributes", None)
            kept = {"seconds": seconds, "module": {"ports": modules[name]["ports"], "cells": modules[name]["cells"]}}
            part = out / "kept.json.gz"
            with gzip.open(part, "wt") as f:
                json.dump(kept, f)
            part.replace(self.cache / f"{self.key(unit)}.json.gz")
        for f in out.iterdir():
            f.unlink()
        out.rmdir()
        print(f"synth: {len(batch)} modules in {time.time() - start:.0f} s", file=sys.stderr)

    def measure(self, unit):
        """(resources without the modules below, [units below], seconds)."""
        if unit not in self.done:
            module, seconds = self.kept(unit)
            own, below = COUNT[self.family](module)
            loads = cells.Netlist(module).loads
            self.done[unit] = (own, [child(kind, cell, loads, self.files) for kind, cell in below], seconds)
        return self.done[unit]


COUNT = {"xc7": cells.count_xc7, "ecp5": cells.count_ecp5}


def child(kind, cell, loads, known):
    """The unit of an instance."""
    if kind not in known:
        sys.exit(f"synth: cell type {kind} is neither a module nor a primitive that is counted")
    params = tuple(sorted((k, number(v)) for k, v in cell.get("parameters", {}).items()))
    tied, opened, widths = [], [], []
    for port, bits in sorted(cell["connections"].items()):
        way = cell["port_directions"][port]
        widths.append((port, (way, len(bits))))
        if way == "input":
            constants = tuple(None if isinstance(b, int) else "1" if b == "1" else "0" for b in bits)
            if any(c is not None for c in constants):
                tied.append((port, constants))
        else:
            unused = tuple(i for i, b in enumerate(bits) if not isinstance(b, int) or not loads.get(b, 0))
            if unused:
                opened.append((port, unused))
    return Unit(kind, params, tuple(tied), tuple(opened), tuple(widths))


def number(value):
    """A parameter as Verilog: plain decimal, as the default values are written."""
    if isinstance(value, int):
        return value
    return int(value, 2) if set(value) <= {"0", "1"} else value


def explore(design, top):
    """Instances of every unit below `top`."""
    count, todo = {top: 0}, [top]
    while todo:
        design.synthesize(todo)
        found = [u for t in todo for u in design.measure(t)[1]]
        todo = [u for u in dict.fromkeys(found) if u not in count]
        count.update((u, 0) for u in todo)
    multiply(design, top, 1, count)
    return count


def multiply(design, unit, times, count):
    count[unit] += times
    below = {}
    for u in design.measure(unit)[1]:
        below[u] = below.get(u, 0) + 1
    for u, n in below.items():
        multiply(design, u, n * times, count)


def rows(design, count):
    """One row per module: all its instances, without the modules below."""
    table = {}
    for unit, n in count.items():
        own = design.measure(unit)[0]
        row = table.setdefault(unit.kind, {"module": unit.kind, "instances": 0, **cells.zero()})
        row["instances"] += n
        cells.add(row, own, n)
    return sorted(table.values(), key=lambda r: -r["lut"])


HEAD = {
    "xc7": ["module", "instances", "LUT", "LUT alone", "of them RAM", "of them SRL", "CARRY4", "FF", "RAMB36", "DSP48E1"],
    "ecp5": ["module", "instances", "LUT4", "LUT4", "of them RAM", "SRL", "CCU2C", "FF", "EBR", "MULT18"],
}


def columns(row):
    return [row["module"], row["instances"], row["lut"], row["lut_cells"], row["lut_ram"], row["srl"], row["carry"], row["ff"],
            row["bram36"], row["dsp"]]


def text(family, table):
    lines = [HEAD[family]] + [[f"{v:g}" if isinstance(v, float) else str(v) for v in columns(r)] for r in table]
    widths = [max(len(l[i]) for l in lines) for i in range(len(lines[0]))]
    show = lambda l: "  ".join(c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(l, widths)))
    return "\n".join(show(l).rstrip() for l in lines) + "\n"


def shares(total, device):
    if not device:
        return {}
    return {"lut": total["lut"] / device["luts"], "ff": total["ff"] / device["ffs"],
            "bram36": total["bram36"] / device["block_rams"], "dsp": total["dsp"] / device["dsps"]}


def spaced(n):
    return f"{n:,g}".replace(",", " ") if n == int(n) else f"{n:,.1f}".replace(",", " ")


def readme_row(report):
    t, s = report["total"], report["share"]
    cell = lambda k: spaced(t[k]) + (f" ({s[k]:.0%})" if s else "")
    return (f"| `{report['name']}` | {report['device']['name'] if report['device'] else report['family']} | {cell('lut')} | "
            f"{cell('ff')} | {cell('bram36')} | {cell('dsp')} | {report['lut_per_binary_mac']:.2f} |")


README_HEAD = ["configuration", "device", "LUT", "FF", "block RAM", "DSP", "LUT per binary MAC"]


def main():
    parse = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parse.add_argument("folder", type=Path)
    parse.add_argument("--family", choices=sorted(SYNTH), help="default: that of the configuration's part")
    parse.add_argument("--only", help="one module and what is below it")
    parse.add_argument("--readme", type=Path, help="update the table between the markers of this page")
    arguments = parse.parse_args()
    config = json.loads((arguments.folder / "config.json").read_text())
    device = config["device"]
    family = arguments.family or (device["family"] if device else "xc7")
    start = time.time()
    design = Design(arguments.folder, family, Yosys())
    kind = arguments.only or config["top"]
    if kind not in design.files:
        sys.exit(f"synth: no module {kind}; there are {', '.join(sorted(design.files))}")
    top = Unit(kind, widths=design.ports(kind))
    count = explore(design, top)
    table = rows(design, count)
    total = {"module": "total", "instances": 1, **cells.zero()}
    for row in table:
        cells.add(total, row)
    seconds = sum(design.measure(u)[2] for u in count)
    fits = device if device and device["family"] == family else None
    report = {
        "name": config["name"], "hash": config["hash"], "top": top.kind, "family": family, "device": fits,
        "tool": design.yosys.version, "command": SYNTH[family].format(top="MODULE"),
        "seconds_of_synthesis": round(seconds, 1), "modules": table, "total": total, "share": shares(total, fits),
        "lut_per_binary_mac": total["lut"] / config["binary_macs_per_cycle"],
    }
    shown = [f"{config['name']}: {design.yosys.version}, {report['command']}"]
    shown += ["", text(family, table + [total]).rstrip()]
    if report["share"]:
        shown += ["", f"of {fits['name']}: " + ", ".join(f"{k} {v:.1%}" for k, v in report["share"].items())]
    shown += [f"LUT per binary MAC: {report['lut_per_binary_mac']:.2f}",
              f"{len(count)} modules, {seconds:.0f} s of synthesis, {time.time() - start:.0f} s now", ""]
    print("\n".join(shown), end="")
    if not arguments.only:
        out = arguments.folder / "synth"
        out.mkdir(exist_ok=True)
        (out / "report.txt").write_text("\n".join(shown))
        (out / "report.json").write_text(json.dumps(report, indent=2) + "\n")
        if arguments.readme:
            put_row(arguments.readme, "synth", README_HEAD, report["name"], readme_row(report))


if __name__ == "__main__":
    main()
