# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Faults in generated Verilog: what can be wrong at each place, and a selection that a seed repeats.

A fault replaces a piece of one place (`verilog_sites.Site`) by another text of legal Verilog. The classes:
inverted condition, wrong operator, swapped operands, off by one, stuck bit, dropped reset, dropped enable, dropped assignment,
wrong signal (another one of the same width).
"""

import random
import re
from dataclasses import asdict, dataclass

from verilog_sites import CLOSE, OPEN

INVERSE = {"&&": "||", "||": "&&", "==": "!=", "!=": "==", "<": ">=", ">=": "<", ">": "<=", "<=": ">"}
OPERATOR = {"+": "-", "-": "+", "&": "|", "|": "&", "^": "|"}
ORDERED = {"-", "<", "<=", ">", ">=", "<<", ">>"}


@dataclass
class Fault:
    """`start..end` of the file's text becomes `new`; `site` is the number of the place in its module."""

    id: int
    config: str
    file: str
    module: str
    site: int
    deployed: bool
    kind: str
    start: int
    end: int
    line: int
    old: str
    new: str

    def record(self):
        return asdict(self)

    def about(self):
        short = lambda t: " ".join(t.split())
        return f"{self.kind}: `{short(self.old)}` -> `{short(self.new)}`"


def width(bounds):
    """Bits of a signal, `None` if a parameter decides."""
    if bounds is None:
        return 1
    high, low = bounds
    return int(high) - int(low) + 1 if high.isdigit() and low.isdigit() else None


def number(text, step):
    """The number `text` plus `step`, in the same width; `None` if that is no number or the same."""
    sized = re.fullmatch(r"(\d+)'([bdh])([0-9a-fA-F_]+)", text)
    if sized:
        bits, base, digits = int(sized[1]), sized[2], sized[3].replace("_", "")
        value = (int(digits, {"b": 2, "d": 10, "h": 16}[base]) + step) % (1 << bits)
        form = {"b": f"0{bits}b", "d": "d", "h": "x"}[base]
        return f"{bits}'{base}{value:{form}}"
    return str(int(text) + step) if text.isdigit() and int(text) + step >= 0 else None


class Place:
    """One site with the text and the signals around it."""

    def __init__(self, text, module, site):
        self.text, self.module, self.site, self.t = text, module, site, site.tokens
        self.partner = self.brackets()

    def brackets(self):
        pairs, stack = {}, []
        for n, t in enumerate(self.t):
            if t.text in OPEN:
                stack.append(n)
            elif t.text in CLOSE:
                first = stack.pop()
                pairs[first], pairs[n] = n, first
        return pairs

    def span(self, first, last):
        return self.t[first].start, self.t[last].end

    def source(self, first, last):
        start, end = self.span(first, last)
        return self.text[start:end]

    def binary(self, n):
        return n > 0 and (self.t[n - 1].kind in ("name", "number") or self.t[n - 1].text in CLOSE)

    def left(self, n):
        """First token of the primary that ends before the operator `n`, its selects included."""
        at = n - 1
        while self.t[at].text == "]":
            at = self.partner[at] - 1
        if self.t[at].text in CLOSE:
            at = self.partner[at]
            if at and self.t[at].text == "(" and self.t[at - 1].text.startswith("$"):
                at -= 1
        return at

    def right(self, n):
        """Last token of the primary that begins behind the operator `n`."""
        at = n + 1
        while self.t[at].text in ("!", "~", "-", "&", "|", "^"):
            at += 1
        if self.t[at].text.startswith("$"):
            at += 1
        if self.t[at].text in OPEN:
            at = self.partner[at]
        while at + 1 < len(self.t) and self.t[at + 1].text == "[":
            at = self.partner[at + 1]
        return at

    def condition(self, n):
        """First token of the condition of the `?` at `n`."""
        at = n
        while at and self.t[at - 1].text not in ("?", ":", ",", "(", "[", "{"):
            at = self.partner[at - 1] if self.t[at - 1].text in CLOSE else at - 1
        return at

    def counts(self):
        """Tokens that say how often a concatenation is repeated: widths, fixed when the text is read."""
        found = set()
        for n, t in enumerate(self.t[:-1]):
            close = self.partner.get(n + 1, n + 1)
            if t.text == "{" and self.t[n + 1].text != "{" and self.t[close + 1].text == "{":
                found.update(range(n + 1, close + 1))
        return found

    def candidates(self):
        """(class, start, end, new text) of everything that can be wrong here."""
        yield from self.conditions()
        fixed = self.counts()
        for n, t in enumerate(self.t):
            if n in fixed:
                continue
            yield from self.operator(n, t)
            yield from self.constant(n, t)
            yield from self.signal(n, t)
            if t.text == "{":
                yield from self.concatenation(n)
        yield from self.assignment()

    def conditions(self):
        site, (start, end) = self.site, self.site.expr
        if site.kind == "if":
            if site.reset:
                yield "dropped reset", start, end, "1'b0"
            else:
                yield "inverted condition", start, end, f"!({self.text[start:end]})"
                if site.alone:
                    yield "dropped enable", start, end, "1'b1"
        for n, t in enumerate(self.t):
            if t.text == "?":
                a, b = self.span(self.condition(n), n - 1)
                yield "inverted condition", a, b, f"!({self.text[a:b]})"

    def operator(self, n, t):
        if t.text == "!":
            yield "inverted condition", t.start, t.end, ""
        if not self.binary(n):
            return
        if t.text in INVERSE:
            yield "inverted condition", t.start, t.end, INVERSE[t.text]
        if t.text in OPERATOR:
            yield "wrong operator", t.start, t.end, OPERATOR[t.text]
        if t.text in ORDERED:
            first, last = self.left(n), self.right(n)
            (a, b), sign = self.span(first, last), t.text
            yield "swapped operands", a, b, f"{self.source(n + 1, last)} {sign} {self.source(first, n - 1)}"

    def constant(self, n, t):
        if t.text == "[":
            yield from self.select(n)
        before = self.t[n - 1].text if n else ""
        inside_select = before == "[" or (n + 1 < len(self.t) and self.t[n + 1].text == "]")
        if t.kind == "number" and not inside_select and before not in ("+:", "-:"):
            for step in (1, -1):
                new = number(t.text, step)
                if new and new != t.text:
                    yield "off by one", t.start, t.end, new

    def select(self, n):
        """A bit or part select with numbers: one bit further up or down, within the signal."""
        found = re.fullmatch(r"\[(\d+)(?::(\d+))?\]", self.source(n, self.partner[n]).replace(" ", ""))
        if not found or not n or self.t[n - 1].kind != "name":
            return
        size = width(self.module.signals.get(self.t[n - 1].text, ("?", "?")))
        high = int(found[1])
        low = int(found[2] or high)
        start, end = self.span(n, self.partner[n])
        for step in (1, -1):
            if low + step >= 0 and (size is None or high + step < size):
                yield "off by one", start, end, f"[{high + step}:{low + step}]" if found[2] else f"[{high + step}]"

    def signal(self, n, t):
        signals = self.module.signals
        if t.kind != "name" or t.text not in signals or t.text in ("clk", "aclk"):
            return
        alike = [s for s, b in signals.items() if b == signals[t.text] and s not in (t.text, "clk", "aclk")
                 and not s.startswith("unused")]
        target = self.text[self.site.lhs[0]:self.site.lhs[1]]
        # The next ones in the order of their declaration: what an author would mix up.
        order = sorted(alike, key=lambda s: abs(list(signals).index(s) - list(signals).index(t.text)))
        for other in order[:2]:
            if other != target:
                yield "wrong signal", t.start, t.end, other

    def concatenation(self, n):
        """Two neighbours of a concatenation change places."""
        parts, first, at = [], n + 1, n + 1
        while at <= self.partner[n]:
            if self.t[at].text == "," or at == self.partner[n]:
                parts.append((first, at - 1))
                first = at + 1
            at = self.partner[at] + 1 if self.t[at].text in OPEN else at + 1
        for (a, b), (c, d) in zip(parts, parts[1:]):
            one, two = self.source(a, b), self.source(c, d)
            if one != two:
                yield "swapped operands", self.t[a].start, self.t[d].end, f"{two}, {one}"

    def assignment(self):
        site, (start, end) = self.site, self.site.expr
        if site.kind == "set":
            yield "dropped assignment", site.start, site.end, ";"
        if site.kind not in ("set", "assign", "wire"):
            return
        bits = self.target_width()
        for bit in sorted({0, (bits or 1) // 2, (bits or 1) - 1}):
            if bits == 1:
                for value in ("1'b0", "1'b1"):
                    yield "stuck bit", start, end, value
            elif bits and (len(self.t) > 1 or self.t[0].kind == "name"):  # a constant's bits are stuck already
                yield "stuck bit", start, end, f"({self.text[start:end]}) | {bits}'h{1 << bit:x}"
                yield "stuck bit", start, end, f"({self.text[start:end]}) & {bits}'h{(1 << bits) - 1 - (1 << bit):x}"

    def target_width(self):
        target = self.text[self.site.lhs[0]:self.site.lhs[1]]
        if target in self.module.signals:
            return width(self.module.signals[target])
        part = re.fullmatch(r"(\w+)\s*\[(\d+)(?::(\d+))?\]", target)
        return int(part[2]) - int(part[3] or part[2]) + 1 if part and part[1] in self.module.signals else None


def in_module(text, module, rng):
    """All faults of a module in a random order in which the classes take turns."""
    classes = {}
    for n, site in enumerate(module.sites):
        if text[site.lhs[0]:site.lhs[1]].startswith("unused") or text[slice(*site.expr)] in ("clk", "aclk"):
            continue
        for kind, start, end, new in Place(text, module, site).candidates():
            if text[start:end] != new:
                classes.setdefault(kind, []).append((kind, n, start, end, new))
    for found in classes.values():
        rng.shuffle(found)
    while classes:
        for kind in rng.sample(sorted(classes), len(classes)):
            yield classes[kind].pop()
            if not classes[kind]:
                del classes[kind]


def draw(config, files, parsed, seed, total, least):
    """`total` faults over all modules of `files`, in proportion to their places, at least `least` in each that has them.
    The tools may refuse the text of some: those are no faults."""
    modules = [(file, m) for file, found in parsed.items() for m in found if m.sites]
    # Places that differ: the columns of an array are one place.
    size = {m.name: len({re.sub(r"\d+", "", files[f][slice(*s.expr)]) for s in m.sites}) for f, m in modules}
    chosen = []
    for file, module in modules:
        wanted = max(least, round(total * size[module.name] / sum(size.values())))
        rng, text = random.Random(f"{seed} {config} {module.name}"), files[file]
        for kind, n, start, end, new in in_module(text, module, rng):
            if wanted == 0:
                break
            site = module.sites[n]
            if any(f.module == module.name and f.site == n for f in chosen):
                continue  # one fault in a place
            leaf = file in ("lane_count.v", "bit_brick.v")
            line = text.count("\n", 0, start) + 1
            chosen.append(Fault(len(chosen) + 1, config, file, module.name, n, site.deployed or leaf, kind, start, end, line,
                                text[start:end], new))
            wanted -= 1
    return chosen


CHOICE = """
    // Which fault is present; 0: none.
    reg [22:0] fault__;
    initial fault__ = $c32("(std::getenv(\\"BRICKWORK_FAULT\\") ? std::atoi(std::getenv(\\"BRICKWORK_FAULT\\")) : 0)");
"""


def is_present(fault):
    return f"(brickwork_top.fault__ == 23'd{fault.id})"


def changed_site(text, site, fault):
    return text[site.start:fault.start] + fault.new + text[fault.end:site.end]


def selectable(text, modules, faults):
    """The text of a file in which each of `faults` can be switched on by its number."""
    sites = {}
    for f in faults:
        module = next(m for m in modules if m.name == f.module)
        sites.setdefault((module.name, f.site), (module.sites[f.site], []))[1].append(f)
    for site, found in sorted(sites.values(), key=lambda s: -s[0].start):
        text = text[:site.start] + selected(text, site, found) + text[site.end:]
    top = re.search(r"\bmodule brickwork_top\b.*?\);", text, re.S)
    return text[:top.end()] + CHOICE + text[top.end():] if top else text


def selected(text, site, faults):
    original = text[site.start:site.end]
    changed = [(is_present(f), f, changed_site(text, site, f)) for f in faults]
    if site.kind == "set":
        return "begin " + "".join(f"if {on} begin {new} end else " for on, _, new in changed) + f"begin {original} end end"
    if site.kind in ("if", "case", "connect"):
        form = "(({}) ? 1'b1 : 1'b0)" if site.kind == "if" else "({})"
        return "(" + "".join(f"{on} ? {form.format(new)} : " for on, _, new in changed) + form.format(original) + ")"
    # Each expression keeps a width of its own: that of the target.
    target = text[site.lhs[0]:site.lhs[1]]
    head = f"{target};" if site.kind == "wire" else ""
    name = f"before{faults[0].id}__"
    before = text[:site.start].rstrip()
    alone = before.endswith((")", "else"))  # the branch of a condition
    wires = [f"wire [$bits({target})-1:0] {name} = {text[slice(*site.expr)]};"]
    value = name
    for on, f, _ in changed:
        (a, b) = site.expr
        expr = text[a:f.start] + f.new + text[f.end:b]
        wires.append(f"wire [$bits({target})-1:0] fault{f.id}__ = {expr};")
        value = f"{on} ? fault{f.id}__ : {value}"
    result = f"{head} {' '.join(wires)} assign {target} = {value};"
    return f"begin {result} end" if alone else result
