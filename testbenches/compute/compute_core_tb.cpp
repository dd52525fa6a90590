// SPDX-License-Identifier: Apache-2.0 OR MIT
// Bench of compute_core. Reads a script of lines from standard input, writes what it sees to standard output.
//
//   bank <mask> <addr> <words>      write one bank word (mask: sub-banks); <words> = hexadecimal 32-bit words, low first
//   wbuf <addr> <words>             write one weight buffer word
//   tap <addr> <words>              write one tap
//   wgt <gap> <instruction>         append to the wgt queue; offered `gap` cycles after the command before was taken + 1
//   pass <gap> <instruction> <same> the same for the pass queue; instruction = 32 hexadecimal digits; same: a pass with
//                                   accumulators and steps of the pass before
//   run <max cycles>                reset, then run until both queues are empty and both units idle
//   drop                            forget what is left in the queues
//   acc <addr>                      read one accumulator word of all groups, and the sum column
//
// `run` answers "run <n>" and n lines, one per cycle: bit 0 wgt taken, 1 pass taken, 5:2 wgt signals, 9:6 pass signals,
// 10 wgt busy, 11 pass busy, 12 wgt feed, 13 pass feed, 14 pass waits for weights. `acc` answers "acc <words> <sum>".
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <iostream>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "Vcompute_core.h"
#include "verilated.h"

using Words = std::vector<uint32_t>;

template <typename T>
static void put(T& port, const Words& words) {
    uint64_t value = words.empty() ? 0 : words[0];
    if (words.size() > 1) value |= static_cast<uint64_t>(words[1]) << 32;
    port = static_cast<T>(value);
}
template <std::size_t N>
static void put(VlWide<N>& port, const Words& words) {
    for (std::size_t i = 0; i < N; i++) port[i] = i < words.size() ? words[i] : 0;
}
template <typename T>
static Words get(const T& port) {
    const uint64_t value = port;
    return {static_cast<uint32_t>(value), static_cast<uint32_t>(value >> 32)};
}
template <std::size_t N>
static Words get(const VlWide<N>& port) {
    Words words;
    for (std::size_t i = 0; i < N; i++) words.push_back(port[i]);
    return words;
}

static Words hex(std::istream& line) {
    Words words;
    uint32_t word;
    while (line >> std::hex >> word) words.push_back(word);
    return words;
}

struct Offer {
    unsigned gap;
    Words instruction;
    bool same;
};

// One command queue: the head is offered from `gap` cycles after the previous transfer on, until it is taken.
struct Queue {
    std::deque<Offer> offers;
    unsigned waited = 0;
    bool offered() const { return !offers.empty() && waited >= offers.front().gap; }
    void step(bool taken) {
        if (taken) {
            offers.pop_front();
            waited = 0;
        } else {
            waited++;
        }
    }
};

struct Bench {
    VerilatedContext context;
    std::unique_ptr<Vcompute_core> top{new Vcompute_core{&context}};
    Queue wgt, pass;

    void edge() {
        top->clk = 1;
        top->eval();
        top->clk = 0;
        top->eval();
    }
    void reset() {
        top->rst = 1;
        for (int i = 0; i < 4; i++) edge();
        top->rst = 0;
        top->eval();
    }
    bool offer(const Queue& queue, VlWide<4>& port) {
        if (queue.offered()) put(port, queue.offers.front().instruction);
        return queue.offered();
    }
    void run(unsigned max_cycles) {
        reset();
        wgt.waited = pass.waited = 0;
        std::vector<uint32_t> trace;
        for (;;) {
            top->wgt_cmd_valid_i = offer(wgt, top->wgt_cmd_i);
            top->pass_cmd_valid_i = offer(pass, top->pass_cmd_i);
            top->pass_cmd_same_i = pass.offered() && pass.offers.front().same;
            top->eval();
            const bool wgt_taken = top->wgt_cmd_valid_i && top->wgt_cmd_ready_o;
            const bool pass_taken = top->pass_cmd_valid_i && top->pass_cmd_ready_o;
            trace.push_back(wgt_taken | pass_taken << 1 | top->wgt_signal_o << 2 | top->pass_signal_o << 6 |
                            top->wgt_busy_o << 10 | top->pass_busy_o << 11 | top->wgt_feed_o << 12 |
                            top->pass_feed_o << 13 | top->pass_wait_wgt_o << 14);
            const bool idle = wgt.offers.empty() && pass.offers.empty() && !top->wgt_busy_o && !top->pass_busy_o;
            if (idle || trace.size() >= max_cycles) break;
            edge();
            wgt.step(wgt_taken);
            pass.step(pass_taken);
        }
        top->wgt_cmd_valid_i = 0;
        top->pass_cmd_valid_i = 0;
        edge();
        printf("run %zu\n", trace.size());
        for (uint32_t t : trace) printf("%x\n", t);
    }
    void acc(unsigned addr) {
        top->acc_rd_en_i = 1;
        top->acc_rd_addr_i = addr;
        edge();
        top->acc_rd_en_i = 0;
        edge();
        printf("acc");
        for (uint32_t word : get(top->acc_rd_data_o)) printf(" %x", word);
        printf(" %x\n", static_cast<unsigned>(top->sum_rd_data_o));
    }
    void command(const std::string& name, std::istream& line) {
        unsigned a = 0, b = 0;
        line >> std::dec >> a;
        if (name == "bank") {
            line >> b;
            top->bank_wr_en_i = a;
            top->bank_wr_addr_i = b;
            put(top->bank_wr_data_i, hex(line));
            edge();
            top->bank_wr_en_i = 0;
        } else if (name == "wbuf") {
            top->wbuf_wr_en_i = 1;
            top->wbuf_wr_addr_i = a;
            put(top->wbuf_wr_data_i, hex(line));
            edge();
            top->wbuf_wr_en_i = 0;
        } else if (name == "tap") {
            top->tap_wr_en_i = 1;
            top->tap_wr_addr_i = a;
            put(top->tap_wr_data_i, hex(line));
            edge();
            top->tap_wr_en_i = 0;
        } else if (name == "wgt" || name == "pass") {
            std::string digits;
            bool same = false;
            line >> digits >> same;
            Words words;
            for (int i = 3; i >= 0; i--)
                words.push_back(static_cast<uint32_t>(std::strtoul(digits.substr(8 * i, 8).c_str(), nullptr, 16)));
            (name == "wgt" ? wgt : pass).offers.push_back({a, words, same});
        } else if (name == "run") {
            run(a);
        } else if (name == "drop") {
            wgt.offers.clear();
            pass.offers.clear();
        } else if (name == "acc") {
            acc(a);
        } else {
            fprintf(stderr, "unknown command %s\n", name.c_str());
            std::exit(2);
        }
    }
};

int main(int argc, char** argv) {
    Bench bench;
    bench.context.commandArgs(argc, argv);
    bench.top->clk = 0;
    bench.reset();
    std::string text, name;
    while (std::getline(std::cin, text)) {
        std::istringstream line(text);
        if (line >> name) bench.command(name, line);
    }
    bench.top->final();
    return 0;
}
