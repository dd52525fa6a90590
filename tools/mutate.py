#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Mutation campaign: does the test suite notice faults that are put into the generated Verilog?

    tools/mutate.py [--seed 1] [--faults 170] [--config tiny] [--only 17,18] [--stage registers] [--write docs/mutation.md]

The faults (tools/faults.py) are drawn by seed over all modules of `tiny`, and of a machine of 2-bit bricks where its modules
differ. All faults of a machine are built into one simulation, each switched on by its number in BRICKWORK_FAULT: the test programs of
the suite run on it unchanged, because the simulation stands in a cache of its own under the name of the faultless one. Faults in text
that only synthesis sees go one by one into what Verilator and Yosys read in the tests of that text. Results: build/mutate, one line
of JSON for each fault; a campaign that was broken off goes on where it was.
"""

import argparse
import hashlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import faults as drawing
import mutation_page
from verilog_sites import read

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "build" / "mutate"
CONFIGS = ("tiny", "two_bit")
# What `two_bit` has that `tiny` has not. Its other modules are the same text.
TWO_BIT_FILES = ("bit_brick.v", "brick_column", "array_group.v", "activation_row.v")
TWO_BIT = {"name = \"tiny\"": "name = \"two_bit\"", "brick_bits = 1": "brick_bits = 2", "columns = 32": "columns = 16",
           "param_depth = 256": "param_depth = 256\nbipolar = false"}
# Longest time of one stage; a machine that stands still is reported by the tests themselves long before.
SECONDS = 1800


class Stage:
    """A part of the suite: a test program and tests of it. `env`: how much of it, `share` says so in the report."""

    def __init__(self, name, program, *tests, configs=CONFIGS, skip=(), **env):
        self.name, self.program, self.tests, self.configs, self.skip, self.env = name, program, tests, configs, skip, env

    def arguments(self):
        more = [a for s in self.skip for a in ("--skip", s)]
        return [*self.tests, *more, "--test-threads=1"]


# In the order of what they cost.
STAGES = [
    Stage("registers", "programs", "registers::"),
    Stage("programs against themselves", "programs", "programs_agree_with_themselves", "a_program_in_two_runs_gives_the_same"),
    Stage("programs against the model", "programs", "the_machine_model_agrees_to_the_cycle"),
    Stage("random instructions", "programs", "random_instructions_end_alike", skip=("odd_machines",), configs=("tiny",)),
    Stage("illegal programs", "programs", "illegal_programs_are_refused", "the_machine_model_refuses_illegal_programs_alike"),
    Stage("random networks", "networks", "random_networks_on_rtl"),
    Stage("digits", "digits_on_rtl", "tiny_gives", configs=("tiny",)),
    Stage("starts after resets", "programs", "a_start_right_behind_a_reset_counts"),
    Stage("resets", "programs", "resets_at_any_moment_leave_no_trace"),
]
# For text that only synthesis sees.
DEPLOYED = [
    Stage("leaf proofs", "leaf"),
    Stage("columns", "column"),
    Stage("array", "array", "as_deployed"),
    Stage("Icarus", "programs", "programs_run_under_icarus_as_on_the_model"),
]
# For what the programs did not notice.
UNITS = [
    Stage("formal proofs", "formal"),
    Stage("leaf proofs", "leaf"),
    Stage("compute core", "compute_core"),
    Stage("post unit", "post_unit"),
    Stage("array", "array"),
]
# Where the test programs stand: there is a `networks` in another folder too.
FOLDERS = {"sim": ("programs", "networks", "digits_on_rtl", "compute_core", "post_unit"),
           "hdl-gen": ("leaf", "column", "array", "formal")}


def cargo(*arguments):
    command = [os.environ.get("CARGO", "cargo"), *arguments]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"failed: {' '.join(command)}")
    return done.stdout


def test_programs(wanted):
    """Paths of the wanted test programs of the suite, built now: by the whole workspace's features, which `make test` has built."""
    said = cargo("test", "--quiet", "--workspace", "--no-run", "--message-format=json-render-diagnostics",
                 *(a for n in sorted(wanted) for a in ("--test", n)))
    found = {}
    for message in map(json.loads, said.splitlines()):
        if message.get("executable"):
            name, home = message["target"]["name"], Path(message["manifest_path"]).parent
            if name in FOLDERS.get(home.name, ()):
                found[name] = (message["executable"], home)
    return found


def generate(name):
    """The Verilog of a configuration, `{file: text}`."""
    config = ROOT / "configs" / f"{name}.toml"
    if name == "two_bit":  # as in sim/tests/support/machines.rs
        text = (ROOT / "configs" / "tiny.toml").read_text()
        for old, new in TWO_BIT.items():
            assert old in text, old
            text = text.replace(old, new)
        config = OUT / "two_bit.toml"
        config.write_text(text)
    folder = OUT / name
    command = os.environ.get("BRICKWORK")
    arguments = ["gen", str(config), "-o", str(folder)]
    if command:
        subprocess.run([command, *arguments], check=True, stdout=subprocess.DEVNULL)
    else:
        cargo("run", "--quiet", "--", *arguments)
    rtl = folder / "rtl"
    return {n: (rtl / n).read_text() for n in (rtl / "files.f").read_text().split()}


class Machine:
    """A configuration's text and what can be wrong with it."""

    def __init__(self, name, seed, total, only):
        self.name, self.files = name, generate(name)
        self.parsed = read(self.files)
        chosen = self.parsed
        if name == "two_bit":
            chosen = {f: m for f, m in self.parsed.items() if f.startswith(TWO_BIT_FILES)}
        drawn = drawing.draw(name, self.files, chosen, seed, total, 3)
        self.faults = [f for f in drawn if only is None or f.id in only]

    def site(self, fault):
        module = next(m for m in self.parsed[fault.file] if m.name == fault.module)
        return module.sites[fault.site]

    def changed(self, fault):
        text = self.files[fault.file]
        return text[:fault.start] + fault.new + text[fault.end:]


def verilator(*arguments, folder=ROOT):
    command = [os.environ.get("BRICKWORK_VERILATOR", "verilator"), "-fno-const-bit-op-tree", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


def lint(machine, fault):
    """What `verilator -Wall` says to a fault: `refused` (no Verilog), `lint` with the first warning, or `quiet`."""
    folder = OUT / "lint" / machine.name / str(fault.id)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / fault.file).write_text(machine.changed(fault))
    top = fault.module if "__" not in fault.module else Path(fault.file).stem
    define = ["-UVERILATOR"] if fault.deployed else []
    done = verilator("--lint-only", "-Wall", *define, "-y", str(OUT / machine.name / "rtl"), "--top-module", top,
                     str(folder / fault.file))
    shutil.rmtree(folder)
    lines = done.stderr.splitlines()
    errors = [l for l in lines if l.startswith("%Error") and "Exiting due to" not in l]
    if errors:
        return "refused", errors[0].replace(str(folder), "")[:200]
    warnings = [l for l in lines if l.startswith("%Warning")]
    return ("lint", warnings[0].split(":")[0].removeprefix("%Warning-")) if warnings else ("quiet", "")


class Book:
    """Results, one JSON line each; what stands in it need not be found again."""

    def __init__(self, path):
        self.path, self.lock, self.lines = path, threading.Lock(), {}
        if path.exists():
            for line in path.read_text().splitlines():
                entry = json.loads(line)
                self.lines[(entry["what"], entry["config"], entry["fault"])] = entry

    def get(self, what, fault):
        return self.lines.get((what, fault.config, fault.id))

    def put(self, what, fault, **result):
        entry = {"what": what, "config": fault.config, "fault": fault.id, **result}
        with self.lock:
            self.lines[(what, fault.config, fault.id)] = entry
            with self.path.open("a") as file:
                file.write(json.dumps(entry) + "\n")
        return entry


def write_wrappers():
    """Commands that change Verilog before the tool of their name reads it."""
    folder = OUT / "bin"
    folder.mkdir(parents=True, exist_ok=True)
    for tool in ("verilator", "yosys", "iverilog"):
        real = shutil.which(tool, path=os.environ["PATH"])
        path = folder / tool
        path.write_text(f"#!/bin/sh\nexec '{sys.executable}' '{ROOT}/tools/mutant_text.py' '{real or tool}' \"$@\"\n")
        path.chmod(0o755)
    return folder


def run_stage(stage, programs, env):
    """(passed, seconds, the reason of a failure)"""
    path, folder = programs[stage.program]
    begin = time.monotonic()
    child = subprocess.Popen([path, *stage.arguments()], cwd=folder, env={**os.environ, **env, **stage.env},
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", process_group=0)
    timer = threading.Timer(SECONDS, lambda: os.killpg(child.pid, signal.SIGKILL))
    timer.start()
    said = child.communicate()[0]
    timer.cancel()
    seconds = time.monotonic() - begin
    if child.returncode == 0:
        if " 0 passed" in said:
            sys.exit(f"no test in {stage.name}:\n{said}")
        return True, seconds, ""
    lines = said.splitlines()
    at = next((n for n, l in enumerate(lines) if "panicked at" in l), None)
    why = " ".join(lines[at + 1:at + 3]) if at is not None else f"ended with {child.returncode}"
    return False, seconds, why[:300]


class Campaign:
    def __init__(self, arguments):
        OUT.mkdir(parents=True, exist_ok=True)
        self.arguments, self.programs = arguments, {}
        totals = {"tiny": arguments.faults, "two_bit": arguments.faults // 9}
        only = {int(n) for n in arguments.only.split(",")} if arguments.only else None
        self.machines = {n: Machine(n, arguments.seed, totals[n], only) for n in arguments.config or CONFIGS}
        everything = json.dumps([[m.files, [f.record() for f in m.faults]] for m in self.machines.values()])
        self.name = hashlib.sha256(everything.encode()).hexdigest()[:12]
        self.home = OUT / self.name
        self.home.mkdir(exist_ok=True)
        self.book = Book(self.home / "results.jsonl")
        self.wrappers = write_wrappers()

    def pool(self, work, items):
        with ThreadPoolExecutor(self.arguments.jobs) as pool:
            for result in pool.map(work, items):
                if result:
                    print(result, flush=True)

    def lint(self):
        def one(fault):
            if self.book.get("lint", fault):
                return None
            verdict, why = lint(self.machines[fault.config], fault)
            self.book.put("lint", fault, verdict=verdict, why=why)
            return f"{fault.config} {fault.id} {fault.module}:{fault.line} {fault.about()}: {verdict} {why}"

        self.pool(one, self.faults())

    def faults(self):
        return [f for m in self.machines.values() for f in m.faults]

    def legal(self, machine):
        return [f for f in machine.faults if self.book.get("lint", f)["verdict"] != "refused"]

    def env(self, machine, fault):
        """How the suite's programs meet one fault in a simulation that has all."""
        return {"BRICKWORK_CACHE": str(self.home / "cache"), "BRICKWORK_VERILATOR": str(self.wrappers / "verilator"),
                "BRICKWORK_MUTANTS": str(self.home), "BRICKWORK_FAULT": str(fault), "BRICKWORK_SHRINK": "0",
                "BRICKWORK_CONFIG": machine.name}

    def single(self, fault):
        """How they meet one fault alone in whatever text the tools read."""
        machine = self.machines[fault.config]
        site, text = machine.site(fault), machine.files[fault.file]
        module = next(m for m in machine.parsed[fault.file] if m.name == fault.module)
        same = [s for s in module.sites if text[s.start:s.end] == text[site.start:site.end]]
        path = self.home / f"{fault.config}_{fault.id}.json"
        path.write_text(json.dumps({"module": fault.module, "old": text[site.start:site.end], "nth": same.index(site),
                                    "new": drawing.changed_site(text, site, fault)}))
        return {"BRICKWORK_MUTANT": str(path), "PATH": f"{self.wrappers}:{os.environ['PATH']}", "BRICKWORK_SHRINK": "0",
                "BRICKWORK_CACHE": str(self.home / f"single_{fault.config}_{fault.id}")}

    def build(self):
        """The simulations with all faults; faults that are not in the elaborated machine are none of its."""
        for machine in self.machines.values():
            folder = self.home / machine.name
            folder.mkdir(exist_ok=True)
            chosen = [f for f in self.legal(machine) if not f.deployed]
            for name, text in machine.files.items():
                (folder / name).write_text(drawing.selectable(text, machine.parsed[name], [f for f in chosen if f.file == name]))
            tree = folder / "tree.xml"
            if not tree.exists():
                done = verilator("--xml-only", "--xml-output", str(tree), "-Wno-fatal", "-Wno-WIDTH", "--top-module",
                                 "brickwork_top", *machine.files, folder=folder)
                if done.returncode:
                    tree.unlink(missing_ok=True)
                    sys.exit(f"{folder}: {done.stderr[-3000:]}")
            text = tree.read_text()
            for f in chosen:
                if f"23&apos;h{f.id:x}\"" not in text and not self.book.get("absent", f):
                    self.book.put("absent", f)
            print(f"{machine.name}: {len(chosen)} faults in one simulation", flush=True)

    def present(self, machine):
        return [f for f in self.legal(machine) if f.deployed or not self.book.get("absent", f)]

    def baseline(self):
        """Without a fault all stages pass."""
        path = self.home / "baseline.json"
        known = json.loads(path.read_text()) if path.exists() else {}
        for machine in self.machines.values():
            for stage in self.stages(machine):
                key = f"{machine.name}: {stage.name}"
                if key in known:
                    continue
                before = resource.getrusage(resource.RUSAGE_CHILDREN)
                passed, seconds, why = run_stage(stage, self.programs, self.env(machine, 0))
                after = resource.getrusage(resource.RUSAGE_CHILDREN)
                cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
                print(f"{key}: {'passed' if passed else why} in {seconds:.0f} s, {cpu:.0f} s of CPU", flush=True)
                if not passed:
                    sys.exit(f"{key} fails without a fault")
                known[key] = cpu
                path.write_text(json.dumps(known))

    def test(self, fault):
        known = self.book.get("test", fault)
        if known and (known["caught"] or not self.arguments.again):
            return None
        machine = self.machines[fault.config]
        if fault.deployed:
            result = self.through(fault, DEPLOYED, self.single(fault))
        else:
            result = self.through(fault, self.stages(machine), self.env(machine, fault.id))
        self.book.put("test", fault, **result)
        return f"{fault.config} {fault.id} {fault.module}:{fault.line} {fault.about()}: {result}"

    def through(self, fault, stages, env):
        total = 0
        for stage in stages:
            passed, seconds, why = run_stage(stage, self.programs, env)
            total += seconds
            if not passed:
                return {"caught": stage.name, "seconds": round(total, 1), "why": why}
        return {"caught": None, "seconds": round(total, 1), "why": ""}

    def survivors(self):
        """What the programs did not notice meets the proofs and benches of the units."""
        for fault in self.faults():
            found = self.book.get("test", fault)
            known = self.book.get("unit", fault)
            if not found or found["caught"] or fault.deployed or (known and not self.arguments.again):
                continue
            result = self.through(fault, UNITS, self.single(fault))
            shutil.rmtree(self.home / f"single_{fault.config}_{fault.id}", ignore_errors=True)
            self.book.put("unit", fault, **result)
            print(f"{fault.config} {fault.id} {fault.module}:{fault.line} {fault.about()}: {result}", flush=True)

    def stages(self, machine):
        chosen = self.arguments.stage
        return [s for s in STAGES if machine.name in s.configs and (not chosen or s.name in chosen)]

    def run(self):
        stages = [s for m in self.machines.values() for s in self.stages(m)]
        stages += DEPLOYED * any(f.deployed for f in self.faults()) + UNITS * (not self.arguments.quick)
        self.programs = test_programs({s.program for s in stages})
        self.lint()
        self.build()
        self.baseline()
        wanted = [f for m in self.machines.values() for f in self.present(m)]
        self.pool(self.test, [f for f in wanted if not f.deployed])
        for fault in wanted:  # tests of one text share their folders: one after another
            if fault.deployed:
                print(self.test(fault) or "", flush=True)
        if not self.arguments.quick:
            self.survivors()


def main():
    global OUT
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--faults", type=int, default=170,
                        help="about how many to draw in tiny, at least three in each module; a ninth more in two_bit")
    parser.add_argument("--config", action="append", choices=CONFIGS, help="only this machine")
    parser.add_argument("--only", help="numbers of faults: a simulation with these alone")
    parser.add_argument("--again", action="store_true", help="faults that were not caught are tested again")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--stage", action="append", choices=[s.name for s in STAGES], help="only this part of the suite")
    parser.add_argument("--quick", action="store_true", help="no benches and proofs of units for what is left over")
    parser.add_argument("--draw", action="store_true", help="print the faults, test nothing")
    parser.add_argument("--out", type=Path, default=OUT, help="folder of everything that is made")
    parser.add_argument("--write", type=Path, help="page to write the tables into")
    arguments = parser.parse_args()
    OUT = arguments.out.resolve()
    campaign = Campaign(arguments)
    if arguments.draw:
        for f in campaign.faults():
            print(f.config, f.id, f"{f.module}:{f.line}", f.about())
        return
    campaign.run()
    mutation_page.report(campaign, arguments.write)


if __name__ == "__main__":
    main()
