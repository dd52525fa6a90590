# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Parts of the documentation that a command writes, between two markers."""

import sys


def replace(path, marker, renew):
    """Replaces the text between `<!-- marker -->` and `<!-- /marker -->` by what `renew` makes of it."""
    page = path.read_text()
    begin, end = f"<!-- {marker} -->\n", f"<!-- /{marker} -->"
    before, _, rest = page.partition(begin)
    inside, found, after = rest.partition(end)
    if not found:
        sys.exit(f"{path} has no markers {begin.strip()} and {end}")
    path.write_text(before + begin + renew(inside) + end + after)


def put_row(path, marker, head, name, row):
    """Puts the row of `name` into the table of the marker, sorted by name."""
    def renew(inside):
        kept = {line.split("`")[1]: line for line in inside.splitlines() if line.startswith("| `")}
        kept[name] = row
        lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)] + [kept[k] for k in sorted(kept)]
        return "\n".join(lines) + "\n"

    replace(path, marker, renew)
