#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Starts a tool after it has changed the Verilog files in the current folder.

    tools/mutant_text.py TOOL ARGUMENTS

BRICKWORK_MUTANTS: a folder of a campaign (tools/mutate.py); a file that was generated for a machine of it becomes the text with all faults.
BRICKWORK_MUTANT: one fault; it is put into its module wherever that stands.
"""

import json
import os
import re
import sys
from pathlib import Path


def with_all(text, folder):
    """`(hash)` in the first line says what the text was generated from."""
    head, _, rest = text.partition("\n")
    for other in folder.glob("*/*.v"):
        first, _, selectable = other.read_text().partition("\n")
        name = re.search(r"^module (\w+)", rest, re.M)
        if first == head and name and f"module {name[1]}" in selectable and other.stem == name[1]:
            return other.read_text()
    return text


def with_one(text, fault):
    """Modules of a name that differs in numbers alone count as the same."""
    plain = lambda name: re.sub(r"_n\d+w\d+$", "", name)
    for m in re.finditer(r"\bmodule (\w+).*?\bendmodule", text, re.S):
        if plain(m[1]) != plain(fault["module"]):
            continue
        places = [p.start() for p in re.finditer(re.escape(fault["old"]), m[0])]
        if places:
            at = m.start() + places[min(fault["nth"], len(places) - 1)]
            return text[:at] + fault["new"] + text[at + len(fault["old"]):]
    return text


def main():
    folder, one = os.environ.get("BRICKWORK_MUTANTS"), os.environ.get("BRICKWORK_MUTANT")
    for path in [*Path(".").glob("*.v"), *Path(".").glob("rtl/*.v")] if "--version" not in sys.argv else []:
        text = path.read_text()
        new = with_one(text, json.loads(Path(one).read_text())) if one else with_all(text, Path(folder)) if folder else text
        if new != text:
            path.write_text(new)
    os.execv(sys.argv[1], sys.argv[1:])


if __name__ == "__main__":
    main()
