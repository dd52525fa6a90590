// SPDX-License-Identifier: Apache-2.0 OR MIT
// Bench of post_unit: accumulators with 2 cycles latency, banks, an AXI memory with protocol checks, a queue that offers
// commands. Reads cases from stdin, writes what happened in which cycle to stdout. sim/tests/post_unit.rs writes the
// cases and compares; shape.h (written by it, too) holds the sizes of the configuration.
//
// Input, numbers in hexadecimal:
//   acc GROUP PIXEL W0 W1 W2 | sum PIXEL VALUE | param ADDRESS HIGH LOW | table INDEX VALUE   contents, kept over cases
//   region INDEX BYTES | fault START BYTES RESPONSE | cmd DELAY PC HIGH LOW | flush CYCLE
//   run LATENCY STALL SEED                                                                  one case, from reset
// Output: `f|b CYCLE`, `s CYCLE MASK`, `m CYCLE ID`, `e CYCLE CODE PC`, then `bank ADDRESS DATA` (what is not all ones, as the
// banks are at the start), `mem REGION OFFSET WORD` (what is not 0), `rule ...` for each violation, `end CYCLES`.
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <string>

#include "Vpost_unit.h"
#include "axi.h"
#include "shape.h"
#include "verilated.h"

static uint32_t word_of(uint32_t v, int i) { return i == 0 ? v : 0; }
static uint32_t word_of(uint64_t v, int i) { return i < 2 ? uint32_t(v >> (32 * i)) : 0; }
template <std::size_t N>
static uint32_t word_of(const VlWide<N>& v, int i) {
    return std::size_t(i) < N ? v[i] : 0;
}
template <class T>
static uint64_t field(const T& v, int lo, int width) {
    uint64_t r = 0;
    for (int b = 0; b < width; b++) r |= uint64_t(word_of(v, (lo + b) / 32) >> ((lo + b) % 32) & 1) << b;
    return r;
}

struct Cmd {
    uint64_t delay, pc, high, low;
};

struct Bench {
    std::unique_ptr<Vpost_unit> top{new Vpost_unit};
    std::vector<uint32_t> acc = std::vector<uint32_t>(size_t(ACC_DEPTH) * ACC_WORDS);
    std::vector<uint32_t> sum = std::vector<uint32_t>(ACC_DEPTH);
    std::vector<uint64_t> banks = std::vector<uint64_t>(4 * BANK_DEPTH);
    std::vector<uint32_t> read1 = std::vector<uint32_t>(ACC_WORDS), read2 = read1;
    uint32_t sum1 = 0, sum2 = 0;
    std::vector<Cmd> cmds;
    Bus bus;
    WritePort port{bus, "m_axi_st", 0};
    WriteReq req;

    void settle() {
        port.drive();
        top->m_axi_st_awready = port.out.awready;
        top->m_axi_st_wready = port.out.wready;
        top->m_axi_st_bvalid = port.out.bvalid;
        top->m_axi_st_bresp = port.out.bresp;
        for (int i = 0; i < ACC_WORDS; i++) top->acc_rd_data_i[i] = read2[i];
        top->sum_rd_data_i = sum2;
        top->clk = 0;
        top->eval();
        req = WriteReq();
        req.aw.valid = top->m_axi_st_awvalid;
        req.aw.addr = top->m_axi_st_awaddr;
        req.aw.len = top->m_axi_st_awlen;
        req.aw.size = 3;
        req.aw.burst = 1;
        req.aw.cache = 3;
        req.wvalid = top->m_axi_st_wvalid;
        req.wdata = top->m_axi_st_wdata;
        req.wstrb = top->m_axi_st_wstrb;
        req.wlast = top->m_axi_st_wlast;
        req.bready = top->m_axi_st_bready;
    }
    void edge(bool bus_counts = true) {
        bool read = top->acc_rd_en_o;
        uint32_t at = top->acc_rd_addr_o;
        write_bank();
        if (bus_counts) port.clock(req);
        top->clk = 1;
        top->eval();
        read2 = read1;
        sum2 = sum1;
        if (read) {
            read1.assign(acc.begin() + size_t(at) * ACC_WORDS, acc.begin() + size_t(at + 1) * ACC_WORDS);
            sum1 = sum[at];
        }
        bus.cycle++;
    }
    void write_bank() {
        for (int s = 0; s < 4; s++) {
            if (top->bank_wr_en_o >> s & 1) banks[top->bank_wr_addr_o * 4 + s] = field(top->bank_wr_data_o, s * LANES, LANES);
        }
    }
    void reset() {
        bus.cycle = 0;
        port.reset();
        top->rst = 1;
        top->post_cmd_valid_i = 0;
        top->flush_i = 0;
        for (int i = 0; i < 4; i++) {
            settle();
            if (i > 0) port.in_reset(req);
            edge(i > 0);  // before the first edge the registers hold anything
        }
        top->rst = 0;
        bus.cycle = 0;
    }
    void run(uint64_t flush_at);
};

void Bench::run(uint64_t flush_at) {
    reset();
    const uint64_t blank = ~0ull >> (64 - LANES);
    banks.assign(4 * BANK_DEPTH, blank);
    size_t next = 0;
    uint64_t delay = cmds.empty() ? 0 : cmds[0].delay, quiet = 0;
    while (quiet < 40 && bus.cycle < 2000000) {
        bool offer = next < cmds.size() && delay == 0 && bus.cycle < flush_at;
        top->flush_i = bus.cycle >= flush_at;
        top->post_cmd_valid_i = offer;
        if (offer) {
            const Cmd& c = cmds[next];
            top->post_cmd_pc_i = c.pc;
            for (int i = 0; i < 4; i++) top->post_cmd_i[i] = uint32_t((i < 2 ? c.low : c.high) >> (32 * (i & 1)));
        }
        settle();
        uint64_t t = bus.cycle;
        if (top->post_feed_o) printf("f %" PRIx64 "\n", t);
        if (top->bank_wr_en_o) printf("b %" PRIx64 "\n", t);
        if (top->post_signal_o) printf("s %" PRIx64 " %x\n", t, top->post_signal_o);
        if (top->mark_valid_o) printf("m %" PRIx64 " %x\n", t, top->mark_id_o);
        if (top->err_valid_o) printf("e %" PRIx64 " %x %x\n", t, top->err_code_o, top->err_pc_o);
        bool accepted = offer && top->post_cmd_ready_o;
        bool idle = (next == cmds.size() || t >= flush_at) && !top->post_busy_o && top->axi_idle_o;
        edge();
        quiet = idle ? quiet + 1 : 0;
        if (delay) delay--;
        if (accepted) {
            next++;
            delay = next < cmds.size() ? cmds[next].delay : 0;
        }
    }
    port.expect_idle("the end");
    for (size_t i = 0; i < banks.size(); i++)
        if (banks[i] != blank) printf("bank %zx %" PRIx64 "\n", i, banks[i]);
    for (size_t r = 0; r < bus.memory.regions.size(); r++) {
        const Region& region = bus.memory.regions[r];
        for (size_t at = 0; at + 8 <= region.bytes.size(); at += 8) {
            uint64_t v = bus.memory.read_beat(region.base + at);
            if (v) printf("mem %zx %zx %" PRIx64 "\n", r, at, v);
        }
    }
    for (const Violation& v : bus.violations)
        printf("rule %s %s in cycle %" PRIu64 ": %s\n", v.port.c_str(), v.rule.c_str(), v.cycle, v.detail.c_str());
    bus.violations.clear();
    printf("end %" PRIx64 "\n", bus.cycle);
    fflush(stdout);
}

static uint64_t number() {
    std::string s;
    if (!(std::cin >> s)) {
        fprintf(stderr, "the input ends in the middle of a line\n");
        exit(2);
    }
    return strtoull(s.c_str(), nullptr, 16);
}

int main(int argc, char** argv) {
    Verilated::commandArgs(argc, argv);
    std::ios::sync_with_stdio(false);
    Bench b;
    b.bus.max_burst = MAX_BURST;
    b.top->base0_i = BASE0;
    b.top->base1_i = BASE1;
    b.top->base2_i = BASE2;
    b.top->base3_i = BASE3;
    const uint64_t bases[4] = {BASE0, BASE1, BASE2, BASE3};
    for (uint64_t base : bases) b.bus.memory.regions.push_back({base, {}, false});
    b.reset();
    uint64_t flush_at = ~0ull;
    std::string word;
    while (std::cin >> word) {
        if (word == "acc") {
            uint64_t group = number(), pixel = number();
            for (int w = 0; w < 3; w++) {
                uint64_t v = number();
                for (int bit = 0; bit < (w == 2 ? 16 : 64); bit++) {
                    uint64_t at = group * 144 + w * 64 + bit;
                    uint32_t& cell = b.acc[pixel * ACC_WORDS + at / 32];
                    cell = (cell & ~(1u << at % 32)) | uint32_t(v >> bit & 1) << at % 32;
                }
            }
        } else if (word == "sum") {
            uint64_t pixel = number();
            b.sum[pixel] = number() & 0x3ffff;
        } else if (word == "param") {
            b.top->param_wr_en_i = 1;
            b.top->param_wr_addr_i = number();
            uint64_t high = number(), low = number();
            b.top->param_wr_data_i[0] = low;
            b.top->param_wr_data_i[1] = low >> 32;
            b.top->param_wr_data_i[2] = high;
            b.top->param_wr_data_i[3] = high >> 32;
            b.settle();
            b.edge();
            b.top->param_wr_en_i = 0;
        } else if (word == "table") {
            b.top->table_wr_en_i = 1;
            b.top->table_wr_addr_i = number();
            b.top->table_wr_data_i = number();
            b.settle();
            b.edge();
            b.top->table_wr_en_i = 0;
        } else if (word == "region") {
            uint64_t index = number();
            b.bus.memory.regions[index].bytes.assign(number(), 0);
        } else if (word == "fault") {
            uint64_t start = number(), bytes = number();
            b.bus.memory.faults.push_back({start, bytes, uint8_t(number())});
        } else if (word == "cmd") {
            uint64_t delay = number(), pc = number(), high = number();
            b.cmds.push_back({delay, pc, high, number()});
        } else if (word == "flush") {
            flush_at = number();
        } else if (word == "run") {
            b.bus.latency = number();
            b.bus.stall = number();
            b.port.seed(number());
            b.run(flush_at);
            b.cmds.clear();
            b.bus.memory.faults.clear();
            flush_at = ~0ull;
        } else {
            fprintf(stderr, "unknown word %s\n", word.c_str());
            return 2;
        }
    }
    b.top->final();
    return 0;
}
