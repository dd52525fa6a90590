// SPDX-License-Identifier: Apache-2.0 OR MIT
// axi.h : memory side of AXI4 read and write masters, master side of an AXI4-Lite slave, and the protocol checks of
// all three.
//
// Cycle t is the cycle at whose end a handshake is sampled. A port's outputs in a cycle depend only on what it sampled
// in earlier cycles (`drive`), then it looks at the design's settled outputs (`clock`).
//
// Timing without stalls, which the machine model (sim/src/machine) repeats:
// - arready, awready and wready are always 1.
// - A burst whose AR was accepted in t shows its first beat in max(t + latency, the cycle after the last beat of the burst
//   before was taken), then a new beat in every cycle after one was taken.
// - A write burst whose last W beat and whose AW were accepted by t shows B in max(t + latency, the cycle after the response before
//   was taken).
// - Ports do not influence each other. A burst reads memory when its AR is accepted and is in memory when its B is
//   taken: the latest and the earliest moment that AXI allows, so that a design which does not wait for B is found out.
// With stalls each channel skips a cycle with chance stall / 256, from its own random stream; a valid that is up stays.
// A bandwidth limit makes all data channels share `beats_per_256` beats in 256 cycles.
#pragma once
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <deque>
#include <string>
#include <vector>

#include "memory.h"

struct Violation {
    std::string port, rule, detail;
    uint64_t cycle;
};

class Random {  // xorshift64*
  public:
    explicit Random(uint64_t seed = 1) : s(seed * 0x9e3779b97f4a7c15ull + 0x2545f4914f6cdd1dull) {
        if (!s) s = 1;
        for (int i = 0; i < 8; i++) next();
    }
    uint64_t next() {
        s ^= s >> 12;
        s ^= s << 25;
        s ^= s >> 27;
        return s * 0x2545f4914f6cdd1dull;
    }
    bool chance(uint8_t of_256) { return of_256 != 0 && (next() >> 56) < of_256; }

  private:
    uint64_t s;
};

// What all ports share.
struct Bus {
    Memory memory;
    uint64_t cycle = 0;
    uint64_t latency = 40;
    uint8_t stall = 0;
    uint64_t beats_per_256 = 0;  // 0: no limit
    uint64_t credit = 0;
    uint64_t max_burst = 256;
    uint64_t last_handshake = 0;
    std::vector<Violation> violations;

    void refill() {
        if (beats_per_256 && credit < 1024) credit += beats_per_256;
    }
    bool may_move() const { return beats_per_256 == 0 || credit >= 256; }
    void moved() {
        last_handshake = cycle;
        if (beats_per_256) credit -= credit < 256 ? credit : 256;
    }
    void violate(const std::string& port, const char* rule, const char* format, ...)
        __attribute__((format(printf, 4, 5))) {
        if (violations.size() >= 16) return;
        char text[256];
        va_list args;
        va_start(args, format);
        vsnprintf(text, sizeof text, format, args);
        va_end(args);
        violations.push_back({port, rule, text, cycle});
    }
};

// An address channel, as the design drives it.
struct Address {
    bool valid = false;
    uint64_t addr = 0;
    uint32_t len = 0, size = 0, burst = 0, cache = 0, prot = 0;
    bool same(const Address& o) const {
        return addr == o.addr && len == o.len && size == o.size && burst == o.burst && cache == o.cache && prot == o.prot;
    }
};

// Checks one address channel.
class AddressCheck {
  public:
    AddressCheck(Bus& bus, std::string port, const char* channel) : bus(bus), port(std::move(port)), channel(channel) {}

    void clock(const Address& a, bool ready) {
        if (held && !a.valid) bus.violate(port, "VALID_STABLE", "%svalid fell before %sready", channel, channel);
        if (held && a.valid && !a.same(before)) {
            bus.violate(port, "PAYLOAD_STABLE", "%s payload changed before %sready: address 0x%llx to 0x%llx", channel, channel,
                        (unsigned long long)before.addr, (unsigned long long)a.addr);
        }
        if (a.valid && !held) rules(a);
        held = a.valid && !ready;
        before = a;
    }
    void reset() { held = false; }

  private:
    Bus& bus;
    std::string port;
    const char* channel;
    bool held = false;
    Address before;

    void rules(const Address& a) {
        unsigned long long first = a.addr, last = a.addr + 8ull * a.len;
        if (a.size != 3) bus.violate(port, "SIZE", "%ssize is %u, must be 3 (8 bytes)", channel, a.size);
        if (a.burst != 1) bus.violate(port, "INCR", "%sburst is %u, must be 1 (INCR)", channel, a.burst);
        if (a.cache != 3) bus.violate(port, "CACHE", "%scache is %u, must be 3 (normal, bufferable)", channel, a.cache);
        if (a.prot != 0) bus.violate(port, "PROT", "%sprot is %u, must be 0 (data, secure, unprivileged)", channel, a.prot);
        if (a.addr % 8) bus.violate(port, "ALIGN", "%saddr 0x%llx is no multiple of 8", channel, first);
        if (a.len + 1 > bus.max_burst) {
            bus.violate(port, "LENGTH", "%slen announces %u beats, longest is %llu", channel, a.len + 1,
                        (unsigned long long)bus.max_burst);
        }
        if (first / 4096 != last / 4096) {
            bus.violate(port, "BOUNDARY_4K", "%s burst from 0x%llx to 0x%llx crosses 4 KiB", channel, first, last + 7);
        }
    }
};

struct ReadReq {
    Address ar;
    bool rready = false;
};
struct ReadResp {
    bool arready = false, rvalid = false, rlast = false;
    uint64_t rdata = 0;
    uint8_t rresp = 0;
};

class ReadPort {
  public:
    ReadResp out;
    uint64_t bursts = 0, beats = 0;

    ReadPort(Bus& bus, const std::string& name, int number)
        : bus(bus), name(name), number(number), check(bus, name, "ar") {}

    void seed(uint64_t s) {
        ar_random = Random(s * 64 + number * 4);
        r_random = Random(s * 64 + number * 4 + 1);
    }
    void reset() {
        queue.clear();
        out = ReadResp();
        check.reset();
    }
    void drive() {
        out.arready = !ar_random.chance(bus.stall);
        if (out.rvalid || queue.empty()) return;
        const Burst& b = queue.front();
        if (b.ready_at > bus.cycle || r_random.chance(bus.stall) || !bus.may_move()) return;
        bus.moved();
        out.rvalid = true;
        out.rdata = b.data[b.next];
        out.rresp = b.resp[b.next];
        out.rlast = b.next + 1 == b.data.size();
    }
    void clock(const ReadReq& in) {
        check.clock(in.ar, out.arready);
        if (in.ar.valid && out.arready) accept(in.ar);
        if (out.rvalid && in.rready) {
            bus.last_handshake = bus.cycle;
            beats++;
            if (++queue.front().next == queue.front().data.size()) queue.pop_front();
            out.rvalid = false;
        }
    }
    // Bursts announced and not ended; beats of the first one that were taken.
    uint32_t open_bursts() const { return queue.size(); }
    uint32_t partial_beats() const { return queue.empty() ? 0 : queue.front().next; }
    void in_reset(const ReadReq& in) {
        if (in.ar.valid) bus.violate(name, "RESET", "arvalid is high in reset");
    }
    void expect_idle(const char* when) {
        if (!queue.empty()) bus.violate(name, "OUTSTANDING", "%zu read bursts are outstanding at %s", queue.size(), when);
    }

  private:
    struct Burst {
        uint64_t ready_at;
        size_t next;
        std::vector<uint64_t> data;
        std::vector<uint8_t> resp;
    };
    Bus& bus;
    std::string name;
    int number;
    AddressCheck check;
    Random ar_random, r_random;
    std::deque<Burst> queue;

    void accept(const Address& a) {
        bus.last_handshake = bus.cycle;
        bursts++;
        Burst b{bus.cycle + bus.latency, 0, {}, {}};
        for (uint64_t i = 0; i <= a.len; i++) {
            uint64_t addr = (a.addr & ~7ull) + 8 * i;
            uint8_t resp = bus.memory.response(addr);
            b.resp.push_back(resp);
            b.data.push_back(resp == RESP_OKAY ? bus.memory.read_beat(addr) : 0);
        }
        queue.push_back(std::move(b));
    }
};

struct WriteReq {
    Address aw;
    bool wvalid = false, wlast = false, bready = false;
    uint64_t wdata = 0;
    uint8_t wstrb = 0;
};
struct WriteResp {
    bool awready = false, wready = false, bvalid = false;
    uint8_t bresp = 0;
};

class WritePort {
  public:
    WriteResp out;
    uint64_t bursts = 0, beats = 0;

    WritePort(Bus& bus, const std::string& name, int number)
        : bus(bus), name(name), number(number), check(bus, name, "aw") {}

    void seed(uint64_t s) {
        aw_random = Random(s * 64 + number * 4);
        w_random = Random(s * 64 + number * 4 + 1);
        b_random = Random(s * 64 + number * 4 + 2);
    }
    void reset() {
        addresses.clear();
        data.clear();
        present.clear();
        responses.clear();
        out = WriteResp();
        check.reset();
        w_held = false;
    }
    void drive() {
        out.awready = !aw_random.chance(bus.stall);
        out.wready = !w_random.chance(bus.stall) && bus.may_move();
        if (out.bvalid || responses.empty() || responses.front().ready_at > bus.cycle) return;
        if (b_random.chance(bus.stall)) return;
        out.bvalid = true;
        out.bresp = responses.front().resp;
    }
    void clock(const WriteReq& in) {
        check.clock(in.aw, out.awready);
        check_data(in);
        if (in.aw.valid && out.awready) {
            bus.last_handshake = bus.cycle;
            addresses.push_back(in.aw);
        }
        if (in.wvalid && out.wready) take_data(in);
        pair();
        if (out.bvalid && in.bready) take_response();
    }
    // Bursts announced and not answered; beats of the burst that is arriving.
    uint32_t open_bursts() const { return addresses.size() + responses.size(); }
    uint32_t partial_beats() const { return present.size(); }
    void in_reset(const WriteReq& in) {
        if (in.aw.valid) bus.violate(name, "RESET", "awvalid is high in reset");
        if (in.wvalid) bus.violate(name, "RESET", "wvalid is high in reset");
    }
    void expect_idle(const char* when) {
        if (!addresses.empty()) bus.violate(name, "OUTSTANDING", "%zu write addresses lack their data at %s", addresses.size(), when);
        if (!data.empty() || !present.empty()) bus.violate(name, "DATA_WITHOUT_ADDRESS", "write data lacks its address at %s", when);
        if (!responses.empty()) bus.violate(name, "OUTSTANDING", "%zu write responses are outstanding at %s", responses.size(), when);
    }

  private:
    struct Beat {
        uint64_t data;
        uint8_t strobes;
    };
    struct Response {
        uint64_t ready_at;
        uint8_t resp;
        uint64_t addr;
        std::vector<Beat> beats;
    };
    Bus& bus;
    std::string name;
    int number;
    AddressCheck check;
    Random aw_random, w_random, b_random;
    std::deque<Address> addresses;         // accepted, data not complete
    std::deque<std::vector<Beat>> data;    // complete bursts without address
    std::vector<Beat> present;             // beats of the burst that is arriving
    std::deque<Response> responses;
    bool w_held = false;
    WriteReq before;

    void check_data(const WriteReq& in) {
        if (w_held && !in.wvalid) bus.violate(name, "VALID_STABLE", "wvalid fell before wready");
        if (w_held && in.wvalid &&
            (in.wdata != before.wdata || in.wstrb != before.wstrb || in.wlast != before.wlast)) {
            bus.violate(name, "PAYLOAD_STABLE", "w payload changed before wready");
        }
        w_held = in.wvalid && !out.wready;
        before = in;
    }
    void take_data(const WriteReq& in) {
        bus.moved();
        beats++;
        present.push_back({in.wdata, in.wstrb});
        // The burst that is arriving belongs to the first address that has no complete data.
        if (data.empty() && !addresses.empty()) {
            bool last = present.size() == addresses.front().len + 1ull;
            if (last != in.wlast) {
                bus.violate(name, "WLAST", "wlast is %d at beat %zu of a burst of %u", in.wlast, present.size(),
                            addresses.front().len + 1);
            }
        } else if (present.size() > 256) {
            bus.violate(name, "DATA_WITHOUT_ADDRESS", "more than 256 beats without address");
        }
        if (in.wlast) {
            data.push_back(std::move(present));
            present.clear();
        }
    }
    void pair() {
        while (!addresses.empty() && !data.empty()) {
            const Address& a = addresses.front();
            if (data.front().size() != a.len + 1ull) {
                bus.violate(name, "WLAST", "a burst of %u beats got %zu", a.len + 1, data.front().size());
            }
            uint8_t resp = RESP_OKAY;
            for (size_t i = 0; i < data.front().size(); i++) {
                uint8_t r = bus.memory.response((a.addr & ~7ull) + 8 * i);
                if (r > resp) resp = r;
            }
            bursts++;
            responses.push_back({bus.cycle + bus.latency, resp, a.addr & ~7ull, std::move(data.front())});
            addresses.pop_front();
            data.pop_front();
        }
    }
    void take_response() {
        bus.last_handshake = bus.cycle;
        const Response& r = responses.front();
        for (size_t i = 0; i < r.beats.size(); i++) {
            uint64_t addr = r.addr + 8 * i;
            if (bus.memory.response(addr) == RESP_OKAY) bus.memory.write_beat(addr, r.beats[i].data, r.beats[i].strobes);
        }
        responses.pop_front();
        out.bvalid = false;
    }
};

// What the AXI4-Lite slave drives.
struct LiteResp {
    bool awready = false, wready = false, bvalid = false, arready = false, rvalid = false;
    uint8_t bresp = 0, rresp = 0;
    uint32_t rdata = 0;
};

// One write and one read at a time. With stalls the channels start in random order; each can be told to wait.
class LiteMaster {
  public:
    // Cycles by which a channel starts later, and by which a response waits for its ready.
    struct Delays {
        uint8_t aw = 0, w = 0, b = 0, ar = 0, r = 0;
    };
    bool awvalid = false, wvalid = false, arvalid = false, bready = true, rready = true;
    uint32_t waddr = 0, wdata = 0, raddr = 0;
    uint8_t wstrb = 15;
    uint8_t bresp = 0, rresp = 0;
    uint32_t rdata = 0;

    explicit LiteMaster(Bus& bus) : bus(bus) {}
    void seed(uint64_t s) { random = Random(s * 64 + 63); }
    void reset() {
        awvalid = wvalid = arvalid = aw_todo = w_todo = ar_todo = aw_taken = w_taken = false;
        b_due = r_due = b_held = r_held = false;
        writing = reading = false;
    }
    bool done() const { return !writing && !reading; }
    void start_write(uint32_t a, uint32_t value, uint8_t strobes = 15) {
        waddr = a;
        wdata = value;
        wstrb = strobes;
        aw_todo = w_todo = writing = true;
    }
    void start_read(uint32_t a) {
        raddr = a;
        ar_todo = reading = true;
    }
    void delay(const Delays& d) { delays = d; }
    void drive() {
        if (aw_todo && !waits(delays.aw)) aw_todo = false, awvalid = true;
        if (w_todo && !waits(delays.w)) w_todo = false, wvalid = true;
        if (ar_todo && !waits(delays.ar)) ar_todo = false, arvalid = true;
        bready = !(b_due && delays.b) && !random.chance(bus.stall);
        rready = !(r_due && delays.r) && !random.chance(bus.stall);
    }
    void clock(const LiteResp& in) {
        check(in);
        if (in.bvalid && delays.b) delays.b--;
        if (in.rvalid && delays.r) delays.r--;
        if (awvalid && in.awready) awvalid = false, aw_taken = true;
        if (wvalid && in.wready) wvalid = false, w_taken = true;
        if (aw_taken && w_taken) aw_taken = w_taken = false, b_due = true;
        if (in.bvalid && bready) bresp = in.bresp, b_due = writing = false, bus.last_handshake = bus.cycle;
        if (arvalid && in.arready) arvalid = false, r_due = true;
        if (in.rvalid && rready) {
            rdata = in.rdata, rresp = in.rresp, r_due = reading = false, bus.last_handshake = bus.cycle;
        }
    }
    void in_reset(const LiteResp& in) {
        if (in.bvalid) bus.violate("s_axil", "RESET", "bvalid is high in reset");
        if (in.rvalid) bus.violate("s_axil", "RESET", "rvalid is high in reset");
    }

  private:
    Bus& bus;
    Random random;
    bool aw_todo = false, w_todo = false, ar_todo = false, aw_taken = false, w_taken = false;
    bool b_due = false, r_due = false, b_held = false, r_held = false;
    bool writing = false, reading = false;
    Delays delays;
    LiteResp before;

    bool waits(uint8_t& cycles) {
        if (cycles) return cycles--, true;
        return random.chance(bus.stall);
    }
    void check(const LiteResp& in) {
        if (b_held && (!in.bvalid || in.bresp != before.bresp)) {
            bus.violate("s_axil", "VALID_STABLE", "bvalid or bresp changed before bready");
        }
        if (r_held && (!in.rvalid || in.rresp != before.rresp || in.rdata != before.rdata)) {
            bus.violate("s_axil", "VALID_STABLE", "rvalid or its payload changed before rready");
        }
        if (in.bvalid && !b_due) bus.violate("s_axil", "UNEXPECTED", "bvalid without a complete write");
        if (in.rvalid && !r_due) bus.violate("s_axil", "UNEXPECTED", "rvalid without a read");
        if (in.bvalid && in.bresp == 1) bus.violate("s_axil", "EXOKAY", "bresp is EXOKAY");
        if (in.rvalid && in.rresp == 1) bus.violate("s_axil", "EXOKAY", "rresp is EXOKAY");
        b_held = in.bvalid && !bready;
        r_held = in.rvalid && !rready;
        before = in;
    }
};
