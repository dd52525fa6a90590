# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Tables of the documentation that a command writes, one row per configuration, between two markers."""

import sys


def put_row(path, marker, head, name, row):
    """Puts the row of `name` into the table between `<!-- marker -->` and `<!-- /marker -->`, sorted by name."""
    page = path.read_text()
    begin, end = f"<!-- {marker} -->\n", f"<!-- /{marker} -->"
    if begin not in page or end not in page:
        sys.exit(f"{path} has no markers {begin.strip()} and {end}")
    before, rest = page.split(begin, 1)
    inside, after = rest.split(end, 1)
    kept = {line.split("`")[1]: line for line in inside.splitlines() if line.startswith("| `")}
    kept[name] = row
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)] + [kept[k] for k in sorted(kept)]
    path.write_text(before + begin + "\n".join(lines) + "\n" + end + after)
