# SPDX-License-Identifier: Apache-2.0 OR MIT
"""The places of a generated Verilog module that compute something: assignments, conditions, connections of instances.

Reads the Verilog-2005 that Brickwork prints, not any Verilog. Positions are indices into the text of the file.
"""

import re
from dataclasses import dataclass, field

TOKEN = re.compile(
    r"(?P<skip>\s+|//[^\n]*|/\*.*?\*/|\(\*(?!\))[^)]*\*\))"
    r"|(?P<directive>`(?:ifdef|ifndef)[ \t]+\w+|`else|`endif|`default_nettype[ \t]+\w+)"
    r"|(?P<number>(?:\d+)?'s?[bdho][0-9a-fA-FxzXZ_]+|\d+)"
    r"|(?P<name>\$?[A-Za-z_][\w$]*)"
    r"|(?P<symbol><<<|>>>|===|!==|<=|>=|==|!=|&&|\|\||<<|>>|\+:|-:|~\^|~&|~\||.)",
    re.S,
)
OPEN, CLOSE = {"(": ")", "[": "]", "{": "}"}, {")", "]", "}"}
DECLARATIONS = ("wire", "reg", "localparam", "parameter", "genvar", "integer")


@dataclass
class Token:
    kind: str
    text: str
    start: int
    end: int


@dataclass
class Site:
    """kind: `wire` (declaration with a value), `assign`, `set` (assignment in an always block), `if`, `case` (their expressions),
    `connect` (expression at an input of an instance)."""

    kind: str
    start: int  # of the whole item; the semicolon of an assignment belongs to it
    end: int
    lhs: tuple  # start and end of the target, of the name of a declaration
    expr: tuple  # start and end of the expression
    tokens: list  # of the expression
    deployed: bool = False  # text that only synthesis sees
    reset: bool = False  # `if`: the branch of a reset
    alone: bool = False  # `if` without else


@dataclass
class Module:
    name: str
    sites: list = field(default_factory=list)
    # Range of each signal as two texts, None: one bit; memories are left out.
    signals: dict = field(default_factory=dict)
    inputs: set = field(default_factory=set)


def tokens_of(text):
    """Tokens without comments; with each whether it stands in text for simulation only (`sim`), synthesis only, or both."""
    out, mode, stack = [], None, []
    for m in TOKEN.finditer(text):
        kind = m.lastgroup
        if kind == "directive":
            word = m.group().split()[0]
            if word == "`ifdef":
                stack.append(mode)
                mode = "sim"
            elif word == "`else":
                mode = "deployed"
            elif word == "`endif":
                mode = stack.pop()
        elif kind != "skip":
            t = Token(kind, m.group(), m.start(), m.end())
            t.mode = mode
            out.append(t)
    return out


class Reader:
    """Recursive descent over the items of a file. `children`: names of known modules -> their inputs."""

    def __init__(self, text, children):
        self.text, self.tokens, self.at, self.children = text, tokens_of(text), 0, children
        self.modules, self.module = [], None

    def peek(self, ahead=0):
        return self.tokens[self.at + ahead].text if self.at + ahead < len(self.tokens) else ""

    def take(self, expected=None):
        token = self.tokens[self.at]
        if expected and token.text != expected:
            raise SyntaxError(f"{expected!r} expected at {self.text[token.start:token.start + 40]!r}")
        self.at += 1
        return token

    def until(self, *ends):
        """Tokens up to one of `ends` outside of brackets, which is not taken."""
        depth, first = 0, self.at
        while depth or self.peek() not in ends:
            t = self.take().text
            depth += (t in OPEN) - (t in CLOSE)
        return self.tokens[first:self.at]

    def group(self):
        """The tokens in the brackets that begin here."""
        close = OPEN[self.take().text]
        inside = self.until(close)
        self.take(close)
        return inside

    def add(self, kind, first, last, lhs, expr, **more):
        if not expr or expr[0].mode == "sim":
            return
        site = Site(kind, first.start, last.end, lhs, (expr[0].start, expr[-1].end), expr, **more)
        site.deployed = expr[0].mode == "deployed"
        self.module.sites.append(site)

    def file(self):
        while self.at < len(self.tokens):
            if self.peek() == "module":
                self.read_module()
            else:
                self.take()
        return self.modules

    def read_module(self):
        self.take("module")
        self.module = Module(self.take().text)
        self.modules.append(self.module)
        if self.peek() == "#":
            self.take()
            self.group()
        ports = self.group()
        self.take(";")
        self.read_ports(ports)
        while self.peek() != "endmodule":
            self.item()
        self.take("endmodule")

    def read_ports(self, ports):
        """Ports of an ANSI header; those of the older form are declared as items."""
        bounds, direction = None, None
        for n, t in enumerate(ports):
            if t.text in ("input", "output"):
                direction, bounds = t.text, None
            elif t.text == "[":
                close = next(i for i in range(n, len(ports)) if ports[i].text == "]")
                bounds = self.bounds(ports[n + 1:close])
            elif t.kind == "name" and direction and t.text not in ("wire", "reg", "signed") and ports[n - 1].text in (
                    "wire", "reg", "]", "signed", ",", "input", "output"):
                self.declare(t.text, bounds, direction)

    def declare(self, name, bounds, direction=None):
        self.module.signals[name] = bounds
        if direction == "input":
            self.module.inputs.add(name)

    def bounds(self, tokens):
        text = self.text[tokens[0].start:tokens[-1].end]
        high, _, low = text.partition(":")
        return high.strip(), low.strip()

    def item(self):
        word = self.peek()
        if word in ("input", "output"):
            direction = self.take().text
            self.declaration(direction)
        elif word in DECLARATIONS:
            self.declaration()
        elif word == "assign":
            first = self.take()
            lhs = self.until("=")
            self.take("=")
            expr = self.until(";")
            self.add("assign", first, self.take(";"), (lhs[0].start, lhs[-1].end), expr)
        elif word == "always":
            self.take()
            self.take("@")
            self.group() if self.peek() == "(" else self.take("*")
            self.statement()
        elif word in ("generate", "endgenerate", "end", "else"):
            self.take()
        elif word == "begin":
            self.take()
            if self.peek() == ":":
                self.take()
                self.take()
        elif word in ("if", "for"):  # of a generate block: fixed when the text is read
            self.take()
            self.group()
        else:
            self.instance()

    def declaration(self, direction=None):
        word = self.take().text
        if word not in ("wire", "reg"):
            self.until(";")
            self.take(";")
            return
        if self.peek() == "signed":
            self.take()
        bounds = self.bounds(self.group()) if self.peek() == "[" else None
        while True:
            name = self.take()
            if self.peek() == "[":
                self.group()  # a memory
            else:
                self.declare(name.text, bounds, direction)
            if self.peek() == "=":
                self.take()
                expr = self.until(",", ";")
                if word == "wire" and self.peek() == ";":
                    self.add("wire", name, self.tokens[self.at], (name.start, name.end), expr)
            if self.take().text == ";":
                return

    def instance(self):
        kind = self.take().text
        if self.peek() == "#":
            self.take()
            self.group()
        self.take()
        first = self.at
        self.group()
        last = self.at
        self.take(";")
        self.at = first + 1
        while self.at < last - 1:
            if self.peek() == ".":
                self.take()
                port = self.take().text
                inside = self.group()
                if inside and port in self.children.get(kind, ()):
                    self.add("connect", inside[0], inside[-1], (inside[0].start, inside[0].start), inside)
            else:
                self.take()
        self.at = last + 1

    def statement(self):
        word = self.peek()
        if word == "begin":
            self.take()
            while self.peek() != "end":
                self.statement()
            self.take("end")
        elif word == "if":
            self.take()
            inside = self.group()
            self.add("if", inside[0], inside[-1], (inside[0].start, inside[0].start), inside)
            here = self.module.sites[-1] if self.module.sites else None
            self.statement()
            follows = self.peek() == "else"
            if here and inside and here.expr[0] == inside[0].start:
                here.alone = not follows
                here.reset = any(t.text in ("rst", "unit_rst", "halted_q", "late_rst_q") for t in inside)
            if follows:
                self.take()
                self.statement()
        elif word == "case":
            self.take()
            inside = self.group()
            self.add("case", inside[0], inside[-1], (inside[0].start, inside[0].start), inside)
            while self.peek() != "endcase":
                if self.peek() == "default":
                    self.take()
                    if self.peek() == ":":
                        self.take()
                else:
                    self.until(":")
                    self.take(":")
                self.statement()
            self.take("endcase")
        elif word == "for":
            self.take()
            self.group()
            self.statement()
        elif word == ";":
            self.take()
        else:
            lhs = self.until("=", "<=")
            self.take()
            expr = self.until(";")
            self.add("set", lhs[0], self.take(";"), (lhs[0].start, lhs[-1].end), expr)


def read(files):
    """`{file name: text}` -> `{file name: [Module]}`; inputs of instances are known from a first reading."""
    children = {}
    for _ in range(2):
        result = {name: Reader(text, children).file() for name, text in files.items()}
        children = {m.name: m.inputs for modules in result.values() for m in modules}
    return result
