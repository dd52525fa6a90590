// SPDX-License-Identifier: Apache-2.0 OR MIT
// memory.h : the memory behind all AXI ports. One flat address space in which a few regions exist; reads elsewhere
// give 0, writes elsewhere are lost. Some address ranges answer with an error.
#pragma once
#include <cstdint>
#include <cstring>
#include <vector>

enum : uint8_t { RESP_OKAY = 0, RESP_SLVERR = 2, RESP_DECERR = 3 };

struct Region {
    uint64_t base;
    std::vector<uint8_t> bytes;
    bool dirty = false;  // written by the design since it was set
};

struct Fault {
    uint64_t start, bytes;
    uint8_t resp;
};

class Memory {
  public:
    std::vector<Region> regions;
    std::vector<Fault> faults;

    uint64_t read_beat(uint64_t addr) const {
        uint64_t value = 0;
        for (const Region& r : regions) {
            if (addr >= r.base && addr + 8 <= r.base + r.bytes.size()) {
                std::memcpy(&value, &r.bytes[addr - r.base], 8);
                return value;
            }
        }
        for (int i = 0; i < 8; i++) {
            if (const Region* r = find(addr + i)) value |= uint64_t(r->bytes[addr + i - r->base]) << (8 * i);
        }
        return value;
    }

    void write_beat(uint64_t addr, uint64_t data, uint8_t strobes) {
        for (int i = 0; i < 8; i++) {
            if (!(strobes >> i & 1)) continue;
            if (Region* r = const_cast<Region*>(find(addr + i))) {
                r->bytes[addr + i - r->base] = uint8_t(data >> (8 * i));
                r->dirty = true;
            }
        }
    }

    // Response of the 8-byte beat at `addr`.
    uint8_t response(uint64_t addr) const {
        for (const Fault& f : faults) {
            if (f.start < addr + 8 && addr < f.start + f.bytes) return f.resp;
        }
        return RESP_OKAY;
    }

  private:
    const Region* find(uint64_t addr) const {
        for (const Region& r : regions) {
            if (addr >= r.base && addr - r.base < r.bytes.size()) return &r;
        }
        return nullptr;
    }
};
