#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Holds the golden model against TFLite and ONNX Runtime: speed and results, network by network.

    tools/bench_golden.py [--models DIR]... [--seconds S] [--write docs/speed.md] [--readme README.md]

For every network of models/ and the given folders that has vectors, on the same inputs, one runtime after another: TFLite's
reference kernels (tflite-runtime 2.14, whose bits the golden model has; and LiteRT, its successor), XNNPACK (LiteRT), ONNX
Runtime, and the golden model with 2 threads. Every time is the shortest of many runs and the best of three ways: in
one thread, with two threads for a layer, with two inputs (interpreters) side by side. A runtime's time is that of the call
which computes, with the inputs in place; the golden model's is that of the whole way from array to array. Then compiles each network with
`brickwork compile` and prints the CPU time. Exit status 1 where a result differs from the vectors.

Needs pip, which installs the runtimes into build/bench (or BRICKWORK_BENCH), and Rust.
"""
import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from packages import ROOT, environment, has, install
from page import replace

THREADS = 2
PACKAGES = {"tflite_runtime": "tflite-runtime==2.14.0", "ai_edge_litert": "ai-edge-litert==2.3.0", "onnxruntime": "onnxruntime==1.32.0"}
CONFIG = "configs/zynq7020.toml"
CALLS = 8  # of one measured round


# The worker: one runtime in a process of its own.

def shortest(calls, seconds):
    """The shortest time per call of the functions in `calls`, each in its own thread."""
    def loop(call, times, count):
        for _ in range(count):
            call()

    call, best, end, rounds = calls[0], float("inf"), time.perf_counter() + seconds, 0
    while rounds < 3 or time.perf_counter() < end:
        rounds += 1
        if len(calls) == 1:
            start = time.perf_counter()
            call()
            best = min(best, time.perf_counter() - start)
            continue
        threads = [threading.Thread(target=loop, args=(c, None, CALLS)) for c in calls]
        start = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        best = min(best, (time.perf_counter() - start) / (CALLS * len(calls)))
    return best


def ways(make, seconds):
    """The best of one thread, two threads, two interpreters with one thread each."""
    plans = [[make(1)], [make(THREADS)], [make(1) for _ in range(THREADS)]]
    return min(shortest(calls, seconds / len(plans)) for calls in plans)


def tflite(module, kernels, path, arrays, seconds):
    """Results and seconds of TFLite."""
    import importlib

    import numpy as np

    lite = importlib.import_module(f"{module}.interpreter")
    kind = lite.OpResolverType.BUILTIN_REF if kernels == "reference" else lite.OpResolverType.AUTO

    def interpreter(threads):
        made = lite.Interpreter(model_path=path, experimental_op_resolver_type=kind, num_threads=threads)
        made.allocate_tensors()
        return made

    def call(threads):
        made = interpreter(threads)
        made.set_tensor(made.get_input_details()[0]["index"], arrays["input"][:1])
        return made.invoke

    one = interpreter(1)
    results = []
    for x in arrays["input"]:
        one.set_tensor(one.get_input_details()[0]["index"], x[None])
        one.invoke()
        results.append(one.get_tensor(one.get_output_details()[0]["index"])[0])
    return {"expected": np.stack(results)}, ways(call, seconds)


def onnx(path, arrays, seconds):
    """Results and seconds of ONNX Runtime."""
    import numpy as np
    import onnxruntime

    def session(threads):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = threads, 3
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def call(threads):
        made = session(threads)
        feed = {made.get_inputs()[0].name: arrays["input"][:1]}
        return lambda: made.run(None, feed)

    one = session(1)
    name, outputs = one.get_inputs()[0].name, [o.name for o in one.get_outputs()]
    rows = [one.run(None, {name: x[None]}) for x in arrays["input"]]
    return {o: np.concatenate([r[i] for r in rows]) for i, o in enumerate(outputs)}, ways(call, seconds)


def worker(runtime, path, inputs, outputs, seconds):
    import numpy as np

    with np.load(inputs) as file:
        arrays = dict(file)
    module, _, kernels = runtime.partition(":")
    done = onnx(path, arrays, seconds) if module == "onnxruntime" else tflite(module, kernels, path, arrays, seconds)
    np.savez(outputs, **done[0])
    print(json.dumps(done[1]))


# The caller.

def venv():
    """Python of the folder into which the runtimes are installed, and which of them are there."""
    python = environment("bench", "BRICKWORK_BENCH")
    there = []
    for module, package in PACKAGES.items():
        if has(python, module) or (install(python, "numpy<2", package) and has(python, module)):
            there.append(module)
        else:
            print(f"bench_golden: {package} is not for this Python; its column stays empty", file=sys.stderr)
    return python, there


def prepared(np, vectors):
    """The network's input as its runtime takes it; None: the vectors have none."""
    if "input_rgb_u8" in vectors:
        return ((vectors["input_rgb_u8"].astype(np.float32) - 127) / 128).transpose(0, 3, 1, 2).copy()
    return vectors.get("input")


def expected(vectors):
    """Expected results by name: `expected`, or `expected_NAME`."""
    return {k.removeprefix("expected").lstrip("_"): v for k, v in vectors.items() if k.startswith("expected")}


def equal(np, wanted, got):
    """Every element of every expected array is there."""
    def match(key, array):
        found = got.get(key, next(iter(got.values())) if len(got) == 1 else None)
        return found is not None and found.size == array.size and (found.reshape(-1) == array.reshape(-1)).all()

    return all(match(k, v) for k, v in wanted.items())


def golden(np, command, model, inputs, scratch, seconds):
    """What the example prints, and its results by name."""
    out = scratch / "golden.npz"
    args = [model, inputs, out, "--threads", str(THREADS), "--seconds", str(seconds)]
    done = subprocess.run([*command, *map(str, args)], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"bench_golden: {model}: {done.stderr}")
    results = {}
    with np.load(out) as file:
        for key in file.files:
            name, _, index = key.rpartition("/")
            results.setdefault(name, {})[int(index)] = file[key].reshape(-1)
    return json.loads(done.stdout), {k: np.concatenate([v[i] for i in sorted(v)]) for k, v in results.items()}


def compile_seconds(command, model, scratch):
    """CPU seconds of `brickwork compile`."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    args = ["compile", model, "--config", CONFIG, "-o", scratch / "x.bwp"]
    subprocess.run([*command, *map(str, args)], check=True, capture_output=True, cwd=ROOT)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure(np, python, there, model, vectors_file, commands, seconds):
    """One network: a row of the table, or None."""
    with np.load(vectors_file) as file:
        vectors = {k: file[k] for k in file.files}
    wanted, given = expected(vectors), prepared(np, vectors)
    if given is None:
        print(f"bench_golden: {vectors_file.name} has no input; left out", file=sys.stderr)
        return None
    runtimes = ["tflite_runtime:reference", "ai_edge_litert:reference", "ai_edge_litert:xnnpack"]
    runtimes = runtimes if model.suffix == ".tflite" else ["onnxruntime"]
    row = {"model": model.name, "times": {}, "differ": []}
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        inputs = scratch / "inputs.npz"
        np.savez(inputs, input=given)
        for runtime in [r for r in runtimes if r.partition(":")[0] in there]:
            out = scratch / "out.npz"
            args = [python, __file__, "--worker", runtime, model, inputs, out, "--seconds", seconds]
            done = subprocess.run([str(a) for a in args], capture_output=True, text=True)
            if done.returncode != 0:  # e.g. QONNX operators, which ONNX Runtime has not
                continue
            row["times"][runtime] = float(done.stdout.splitlines()[-1])
            with np.load(out) as file:
                if not equal(np, wanted, dict(file)):
                    row["differ"].append(runtime)
        said, got = golden(np, commands["golden"], model, inputs, scratch, seconds)
        row.update(golden=said["seconds"], one_thread=said["seconds_in_one_thread"], instructions=said["instructions"])
        row["exact"], row["by_reference"] = equal(np, wanted, got), said["by_reference"]
        row["compile"] = compile_seconds(commands["compile"], model, scratch)
    return row


def processor():
    """The processor's name and number of cores."""
    name = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []:
        if line.startswith("model name"):
            name = line.partition(":")[2].strip()
    return f"{name}, {os.cpu_count()} cores"


def micros(seconds):
    return f"{seconds * 1e6:.0f} us" if seconds >= 1e-5 else f"{seconds * 1e6:.1f} us"


def text(rows):
    """The table in Markdown."""
    def cell(row, runtime):
        if runtime not in row["times"]:
            return "-"
        t = row["times"][runtime]
        star = "" if runtime not in row["differ"] else " (*)"
        return f"{micros(t)}{star}, {t / row['golden']:.2g} x"

    lines = [
        "| network | golden model | in one thread | exact | reference kernels 2.14 | reference kernels, LiteRT | XNNPACK | ONNX Runtime | `brickwork compile` |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        columns = [cell(row, r) for r in ("tflite_runtime:reference", "ai_edge_litert:reference", "ai_edge_litert:xnnpack", "onnxruntime")]
        exact = "yes" if row["exact"] else "NO"
        head = [f"`{row['model']}`", micros(row["golden"]), micros(row["one_thread"]), exact]
        lines.append("| " + " | ".join([*head, *columns, f"{row['compile']:.2f} s"]) + " |")
    return "\n".join(lines) + f"\n\n{place(rows)}\n"


def short(rows):
    """The table of the README: the golden model's time, and the others' in multiples of it."""
    def ratio(row, *runtimes):
        times = [row["times"][r] for r in runtimes if r in row["times"]]
        return f"{min(times) / row['golden']:.2g}" if times else "-"

    lines = ["| network | golden model, per input | TFLite reference kernels | XNNPACK | ONNX Runtime |", "|---|---|---|---|---|"]
    for row in rows:
        reference = ratio(row, "tflite_runtime:reference", "ai_edge_litert:reference")
        others = [reference, ratio(row, "ai_edge_litert:xnnpack"), ratio(row, "onnxruntime")]
        lines.append("| " + " | ".join([f"`{row['model']}`", micros(row["golden"]), *others]) + " |")
    return "\n".join(lines) + f"\n\n{place(rows)}\n"


def place(rows):
    return f"{processor()}, {rows[0]['instructions']}, 2 threads."


def in_venv(python):
    """Goes on with the Python of the runtimes, which has numpy."""
    if Path(sys.prefix).resolve() != python.parent.parent.resolve():
        os.execv(python, [str(python), __file__, *sys.argv[1:]])


def built():
    """Builds both programs; their commands."""
    build = ["cargo", "build", "--release", "--quiet", "-p", "brickwork", "-p", "brickwork-compiler"]
    subprocess.run([*build, "--bin", "brickwork", "--example", "golden_speed"], check=True, cwd=ROOT)
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"
    return {"golden": [target / "examples" / "golden_speed"], "compile": [target / "brickwork"]}


def main():
    parser = argparse.ArgumentParser(description="Holds the golden model against TFLite and ONNX Runtime.")
    parser.add_argument("--models", action="append", default=[], help="a further folder of networks with vectors")
    parser.add_argument("--seconds", type=float, default=3.0, help="for each runtime and network")
    parser.add_argument("--write", nargs="*", default=[], metavar="FILE", help="files whose table is replaced")
    parser.add_argument("--readme", metavar="FILE", help="file whose short table is replaced")
    parser.add_argument("--worker", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        return worker(*arguments.worker, arguments.seconds)
    python, there = venv()
    in_venv(python)
    import numpy as np

    commands, rows, seen = built(), [], set()
    for folder in [ROOT / "models", *map(Path, arguments.models)]:
        for model in sorted([*folder.glob("*.tflite"), *folder.glob("*.onnx")]):
            vectors = model.with_suffix(".vectors.npz")
            if vectors.exists() and model.name not in seen:
                seen.add(model.name)
                print(f"bench_golden: {model.name}", file=sys.stderr)
                rows.append(measure(np, python, there, model, vectors, commands, arguments.seconds))
    rows = [row for row in rows if row]
    table = text(rows)
    print(table)
    for path in arguments.write:
        replace(Path(path), "golden", lambda _: table)
    if arguments.readme:
        replace(Path(arguments.readme), "golden", lambda _: short(rows))
    for row in rows:
        for node in row["by_reference"]:
            print(f"{row['model']}: {node} runs by reference")
    return 0 if all(row["exact"] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
