// SPDX-License-Identifier: Apache-2.0 OR MIT
// Bench of one column of bricks (brick_column, brick_column2): its sum against plain integers, new operands in every cycle.
//
// Macros: LANES, PSUM_W, BRICK (1 or 2). With 16 bits of operands or fewer every pattern is tried, at every sign with 2-bit
// bricks; otherwise random ones, the extremes often. Usage: bench SEED CYCLES. Prints what differs and ends with 1, or "ok".
#include "Vcolumn.h"
#include "verilated.h"
#include <cstdint>
#include <cstdio>
#include <cstdlib>

static const int BITS = LANES * BRICK;
static const bool EXHAUSTIVE = 2 * BITS <= 16;
static const int SIGNS = BRICK == 2 ? 4 : 1;

static uint64_t state;
static uint64_t rnd64() {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state * 0x2545f4914f6cdd1dull;
}

template <class T> static void put(T& port, int i, bool v) {
    if (v) port |= (T)1 << i;
    else port &= ~((T)1 << i);
}
template <std::size_t N> static void put(VlWide<N>& port, int i, bool v) {
    uint32_t bit = 1u << (i & 31);
    if (v) port.m_storage[i >> 5] |= bit;
    else port.m_storage[i >> 5] &= ~bit;
}

struct Operands {
    bool act[BITS], wgt[BITS], act_signed, wgt_signed;
    int value(const bool* bits, int lane, bool is_signed) const {
#if BRICK == 1
        return bits[lane];
#else
        return bits[2 * lane] + (is_signed ? -2 : 2) * bits[2 * lane + 1];
#endif
    }
    int sum() const {
        int s = 0;
        for (int l = 0; l < LANES; l++) s += value(act, l, act_signed) * value(wgt, l, wgt_signed);
        return s;
    }
};

// kind: 0 all zero, 1 all one, 2 low bits, 3 high bits of the slices, 4 alternating lanes, else random.
static void draw(bool* bits, int kind) {
    for (int i = 0; i < BITS; i++) {
        switch (kind) {
        case 0: bits[i] = false; break;
        case 1: bits[i] = true; break;
        case 2: bits[i] = i % BRICK == 0; break;
        case 3: bits[i] = i % BRICK == BRICK - 1; break;
        case 4: bits[i] = i / BRICK % 2; break;
        default: bits[i] = rnd64() >> 40 & 1;
        }
    }
}

static Operands operands(uint64_t n) {
    Operands o;
    o.act_signed = n % SIGNS & 1;
    o.wgt_signed = n % SIGNS >> 1 & 1;
    n /= SIGNS;
    if (EXHAUSTIVE) {
        for (int i = 0; i < BITS; i++) {
            o.act[i] = n >> i & 1;
            o.wgt[i] = n >> (BITS + i) & 1;
        }
    } else {
        draw(o.act, (int)((rnd64() >> 33) % 8));
        draw(o.wgt, (int)((rnd64() >> 33) % 8));
    }
    return o;
}

int main(int argc, char** argv) {
    if (argc != 3) return 2;
    state = strtoull(argv[1], nullptr, 10) * 0x9e3779b97f4a7c15ull | 1;
    uint64_t cycles = strtoull(argv[2], nullptr, 10);
    if (EXHAUSTIVE) cycles = (uint64_t)SIGNS << 2 * BITS;
    Vcolumn top;
    const uint64_t mask = (1ull << PSUM_W) - 1;
    int sums[3] = {0, 0, 0};
    for (uint64_t n = 0; n < cycles + 2; n++) {
        Operands o = operands(n);
        for (int i = 0; i < BITS; i++) {
            put(top.act_i, i, o.act[i]);
            put(top.wgt_i, i, o.wgt[i]);
        }
#if BRICK == 2
        top.act_signed_i = o.act_signed;
        top.wgt_signed_i = o.wgt_signed;
#endif
        uint64_t psum = rnd64() >> 13 & mask;
        top.psum_i = psum;
        top.clk = 0;
        top.eval();
        top.clk = 1;
        top.eval();
        sums[n % 3] = o.sum();
        // What comes out has the partial sum of this edge and the operands of two edges ago.
        uint64_t expected = (psum + (uint64_t)(int64_t)sums[(n + 1) % 3]) & mask;
        if (n >= 2 && top.psum_o != expected) {
            printf("operands %llu: expected %llx, got %llx\n", (unsigned long long)(n - 2),
                   (unsigned long long)expected, (unsigned long long)top.psum_o);
            return 1;
        }
    }
    printf("ok %llu\n", (unsigned long long)cycles);
    return 0;
}
