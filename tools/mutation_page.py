# SPDX-License-Identifier: Apache-2.0 OR MIT
"""The tables of docs/mutation.md from the results of a campaign; explanations of survivors stand in docs/mutation.toml."""

import tomllib
from collections import Counter, OrderedDict
from pathlib import Path

from page import replace

NOTES = Path(__file__).resolve().parent.parent / "docs" / "mutation.toml"


class Verdict:
    """What became of one fault."""

    def __init__(self, fault, book, notes):
        self.fault = fault
        said, test, unit = (book.get(what, fault) for what in ("lint", "test", "unit"))
        self.lint = said["why"] if said["verdict"] == "lint" else None
        self.tested, self.met_units = test is not None, unit is not None
        self.stage = (test or {}).get("caught") or (unit or {}).get("caught")
        self.note = next((n for n in notes if n["place"] == key(fault)), None)

    @property
    def caught(self):
        return self.stage is not None

    @property
    def equivalent(self):
        return not self.caught and self.note is not None and self.note["kind"] == "equivalent"


def key(fault):
    """Names a fault in the notes, whatever its number."""
    return f"{fault.config} {fault.module}:{fault.line} {fault.about()}"


def share(part, whole):
    return f"{100 * part / whole:.1f} %" if whole else "-"


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(str(c) for c in r) + " |" for r in rows]) + "\n"


def groups(verdicts, name, value):
    found = OrderedDict()
    for v in verdicts:
        found.setdefault(value(v), []).append(v)
    rows = [(f"`{k}`" if name == "module" else k, *counts(found[k])) for k in sorted(found)]
    return table([name, *COUNTS], [*rows, ("all", *counts(verdicts))])


COUNTS = ("faults", "by a test", "by lint alone", "equivalent", "survive")


def counts(verdicts):
    lint = [v for v in verdicts if not v.caught and v.lint]
    equal = [v for v in verdicts if v.equivalent and not v.lint]
    return (len(verdicts), sum(v.caught for v in verdicts), len(lint), len(equal),
            sum(not v.caught for v in verdicts) - len(lint) - len(equal))


def summary(verdicts):
    total, tests, lint, equal, left = counts(verdicts)
    units = sum(v.met_units for v in verdicts if not v.caught)
    warned = sum(v.lint is not None for v in verdicts)
    return (f"{total} faults: {tests} caught by a test ({share(tests, total)}; {share(tests, total - sum(v.equivalent for v in verdicts))} of "
            f"those that change what the machine does), {lint} more by `verilator -Wall` alone, {equal} equivalent, {left} not caught: "
            f"{share(tests + lint, total)} of all faults, {share(tests + lint, total - equal)} of those that are not equivalent. "
            f"`-Wall` warns of {warned} ({share(warned, total)}). Of the {total - tests} that no test caught, {units} met the benches "
            "and proofs of single units too.\n")


def survivors(verdicts):
    lines = []
    for v in verdicts:
        if v.caught:
            continue
        fault, why = v.fault, v.note["why"] if v.note else "not explained yet"
        kind = v.note["kind"] if v.note else "open"
        seen = f" `-Wall` says {v.lint}." if v.lint else ""
        lines.append(f"- `{fault.module}` ({fault.config}, line {fault.line}), {fault.about()}. **{kind.capitalize()}.** {why}{seen}\n")
    return "".join(lines) or "None.\n"


def report(campaign, page):
    notes = tomllib.loads(NOTES.read_text()).get("survivor", []) if NOTES.exists() else []
    verdicts = [Verdict(f, campaign.book, notes) for m in campaign.machines.values() for f in campaign.present(m)]
    verdicts = [v for v in verdicts if v.tested]
    stages = Counter(v.stage for v in verdicts if v.caught)
    parts = {
        "summary": summary(verdicts),
        "modules": groups(verdicts, "module", lambda v: v.fault.module + (" (2-bit)" if v.fault.config == "two_bit" else "")),
        "classes": groups(verdicts, "fault", lambda v: v.fault.kind),
        "stages": table(["caught first by", "faults"], stages.most_common()),
        "survivors": survivors(verdicts),
    }
    print(parts["summary"])
    if page:
        for name, text in parts.items():
            replace(page, f"mutation-{name}", lambda _, text=text: text)
    else:
        print(parts["classes"], parts["stages"], parts["survivors"], sep="\n")
