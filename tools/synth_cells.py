# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Physical resources of one mapped module, counted in a Yosys JSON netlist.

xc7 (a site is one LUT6 with outputs O6 and O5):
  - Two LUTs of at most five inputs share a site if together they have at most five different inputs and at least one in
    common, and only one of them drives a carry bit or a MUXF7, for which there is only O6. Pairs are chosen greedily, most
    common inputs first. `lut_cells` is the number without any sharing.
  - A used bit of a CARRY4 needs the site in front of it: the LUT that drives its S input. A bit whose S comes from elsewhere
    (flip-flop, constant, a LUT that already serves another bit) takes a site more. Bits above the last used one take none.
  - An input of a MUXF7 that no LUT drives takes a site. MUXF7, MUXF8 themselves take none.
  - Two SRL16 with the same address and enable share a site; SRLC32 takes one. RAM32M, RAM64M: four; RAM64X1D, RAM32X1D: two.
  - Constants are followed through LUTs, as an implementation tool does before placement.
ecp5 (a site is one LUT4):
  - CCU2C: two; TRELLIS_DPR16X4: six (four for data, two for its write port). PFUMX, L6MUX21: none.
"""

from collections import defaultdict

RAM_SITES = {
    "RAM32X1S": 1, "RAM64X1S": 1, "RAM32X1D": 2, "RAM64X1D": 2, "RAM128X1S": 2, "RAM128X1D": 4, "RAM256X1S": 4,
    "RAM32M": 4, "RAM64M": 4,
}
KEYS = ["lut", "lut_cells", "lut_ram", "srl", "carry", "ff", "bram36", "dsp"]


def zero():
    return {k: 0 for k in KEYS}


def add(total, part, times=1):
    for k in KEYS:
        total[k] += part[k] * times


class Netlist:
    """Cells of one module and who drives and reads each net."""

    def __init__(self, module):
        self.cells = module["cells"]
        self.driver = {}
        self.loads = defaultdict(int)
        for name, cell in self.cells.items():
            for port, bits in cell["connections"].items():
                out = cell["port_directions"].get(port) == "output"
                for i, bit in enumerate(bits):
                    if not isinstance(bit, int):
                        continue
                    if out:
                        self.driver[bit] = (name, port, i)
                    else:
                        self.loads[bit] += 1
        for port in module["ports"].values():
            if port["direction"] != "input":
                for bit in port["bits"]:
                    if isinstance(bit, int):
                        self.loads[bit] += 1

    def fold(self):
        """Replaces the outputs of LUTs that constants decide; drops inputs on which a LUT does not depend."""
        todo = [n for n, c in self.cells.items() if lut_size(c["type"]) and any(b in ("0", "1", "x") for b in lut_bits(c))]
        users = None
        while todo:
            name = todo.pop()
            cell = self.cells.get(name)
            if cell is None:
                continue
            out = cell["connections"]["O"][0]
            table, inputs = simplified(cell)
            cell["folded"] = inputs
            if inputs and table not in ("const0", "const1"):
                continue
            value = "1" if table == "const1" else "0"
            del self.cells[name]
            if users is None:
                users = defaultdict(list)
                for n, c in self.cells.items():
                    for port, bits in c["connections"].items():
                        for i, b in enumerate(bits):
                            if isinstance(b, int):
                                users[b].append((n, port, i))
            self.driver.pop(out, None)
            for n, port, i in users[out]:
                if n in self.cells and self.cells[n]["connections"][port][i] == out:
                    self.cells[n]["connections"][port][i] = value
                    if lut_size(self.cells[n]["type"]):
                        todo.append(n)

    def driving_cell(self, bit):
        """Name of the cell that drives a net; None for inputs and constants."""
        return self.driver[bit][0] if bit in self.driver else None


def is_lut(kind):
    return kind == "INV" or (kind.startswith("LUT") and kind[3:].isdigit())


def lut_size(kind):
    """Inputs of a LUT1 to LUT6; 0 for everything else."""
    return int(kind[3:]) if kind.startswith("LUT") and kind[3:].isdigit() else 0


def lut_bits(cell):
    return [cell["connections"][f"I{i}"][0] for i in range(lut_size(cell["type"]))]


def simplified(cell):
    """What constants leave of a LUT: `const0`, `const1` or `table`, and the nets on which it depends."""
    bits = lut_bits(cell)
    init = cell["parameters"]["INIT"]
    size = 1 << len(bits)
    table = [init[-1 - k] == "1" for k in range(size)]
    free = [i for i, b in enumerate(bits) if isinstance(b, int)]
    base = sum(1 << i for i, b in enumerate(bits) if b == "1")
    rows = [table[base + sum(1 << i for k, i in enumerate(free) if row >> k & 1)] for row in range(1 << len(free))]
    needed = [i for k, i in enumerate(free) if any(rows[r] != rows[r ^ (1 << k)] for r in range(len(rows)))]
    if not needed:
        return ("const1" if rows[0] else "const0"), frozenset()
    return "table", frozenset(bits[i] for i in needed)


def lut_inputs(cell):
    if "folded" in cell:
        return cell["folded"]
    return frozenset(
        b
        for port, bits in cell["connections"].items()
        if cell["port_directions"].get(port) != "output"
        for b in bits
        if isinstance(b, int)
    )


def pairs(luts, needs_o6):
    """Number of sites saved by pairing; `luts` = input sets of the LUTs that may share, `needs_o6` flags beside them."""
    by_input = defaultdict(list)
    for i, ins in enumerate(luts):
        for b in ins:
            by_input[b].append(i)
    free = set(range(len(luts)))
    order = sorted(free, key=lambda i: (-len(luts[i]), i))
    saved = 0
    for least in (4, 3, 2, 1):  # common inputs
        for i in order:
            if i not in free:
                continue
            common = defaultdict(int)
            for b in luts[i]:
                if len(by_input[b]) > 512:  # a net of the whole module says nothing about neighbourhood
                    continue
                for j in by_input[b]:
                    if j != i and j in free and not (needs_o6[i] and needs_o6[j]):
                        common[j] += 1
            best = None
            for j, n in common.items():
                if n >= least and len(luts[i] | luts[j]) <= 5 and (best is None or (n, -j) > best[0]):
                    best = ((n, -j), j)
            if best:
                free -= {i, best[1]}
                saved += 1
    return saved


def count_xc7(module):
    """Resources of one module without the modules below it, and those modules as (type, cell) pairs."""
    net = Netlist(module)
    net.fold()
    r, children = zero(), []
    luts, extra = {}, 0
    srl16 = defaultdict(int)
    carry_of, o6 = set(), set()  # LUTs that serve a carry bit, a MUXF7
    for name, cell in sorted(net.cells.items()):
        kind, con = cell["type"], cell["connections"]
        if is_lut(kind):
            luts[name] = lut_inputs(cell)
        elif kind.startswith("FD") or kind in ("LDCE", "LDPE"):
            r["ff"] += 1
        elif kind == "CARRY4":
            r["carry"] += 1
            extra += carry_extra(net, con, carry_of)
        elif kind == "MUXF7":
            for port in ("I0", "I1"):
                source = net.driving_cell(con[port][0])
                o6.add(source)
                if source is None or not (is_lut(net.cells[source]["type"]) or net.cells[source]["type"].startswith("RAM")):
                    extra += 1
        elif kind == "SRL16E":
            srl16[tuple(str(con[p][0]) for p in ("A0", "A1", "A2", "A3", "CE", "CLK"))] += 1
        elif kind == "SRLC32E":
            r["srl"] += 1
        elif kind in RAM_SITES:
            r["lut_ram"] += RAM_SITES[kind]
        elif kind == "RAMB36E1":
            r["bram36"] += 1
        elif kind == "RAMB18E1":
            r["bram36"] += 0.5
        elif kind == "DSP48E1":
            r["dsp"] += 1
        elif kind not in ("MUXF8", "BUFG", "IBUF", "OBUF", "GND", "VCC", "$scopeinfo"):
            children.append((kind, cell))
    r["srl"] += sum((n + 1) // 2 for n in srl16.values())
    r["lut_cells"] = len(luts) + extra + r["lut_ram"] + r["srl"]
    o6 |= carry_of
    small = [(ins, name in o6) for name, ins in sorted(luts.items()) if len(ins) <= 5]
    r["lut"] = r["lut_cells"] - pairs([ins for ins, _ in small], [flag for _, flag in small])
    return r, children


def carry_extra(net, con, taken):
    """Sites that the bits of a CARRY4 take beyond the LUTs that drive them. `taken`: LUTs that serve a bit already."""
    used = [i for i in range(4) for out in ("O", "CO") if i < len(con[out]) and net.loads.get(con[out][i], 0)]
    extra = 0
    for i in range(max(used) + 1 if used else 0):
        source = net.driving_cell(con["S"][i])
        if source is None or source in taken or not is_lut(net.cells[source]["type"]):
            extra += 1
        else:
            taken.add(source)
    return extra


def count_ecp5(module):
    net = Netlist(module)
    r, children = zero(), []
    for _, cell in sorted(net.cells.items()):
        kind = cell["type"]
        if kind == "LUT4":
            r["lut"] += 1
        elif kind == "CCU2C":
            r["carry"] += 1
            r["lut"] += 2
        elif kind == "TRELLIS_FF":
            r["ff"] += 1
        elif kind == "TRELLIS_DPR16X4":
            r["lut_ram"] += 6
        elif kind in ("DP16KD", "PDPW16KD"):
            r["bram36"] += 1
        elif kind in ("MULT18X18D", "MULT9X9D", "ALU54B"):
            r["dsp"] += 1 if kind != "ALU54B" else 0
        elif kind not in ("PFUMX", "L6MUX21", "DCCA", "$scopeinfo"):
            children.append((kind, cell))
    r["lut"] += r["lut_ram"]
    r["lut_cells"] = r["lut"]
    return r, children
