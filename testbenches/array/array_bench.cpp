// SPDX-License-Identifier: Apache-2.0 OR MIT
// Bench of array_core: random passes, weights shifted in while others compute, compared with plain integer sums.
//
// The configuration comes as macros: ROWS LANES BRICK GROUPS DEPTH SUM (0/1), and the latencies that hdl-gen states:
// DONE (token -> done_o), RMW (between two last steps of one accumulator), SWAP (token of a swap -> shift_en_i of any row).
// Usage: bench SEED PIXELS [speed]. Prints what differs and ends with 1, or a line that begins with "ok".
#include "Varray_core.h"
#include "verilated.h"
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <deque>
#include <map>
#include <vector>

typedef unsigned __int128 u128;
typedef __int128 i128;

static const int GROUP_COLUMNS = 8 / BRICK;
static const int ACT_BITS = LANES * BRICK;
static const u128 MASK72 = (((u128)1) << 72) - 1;

// ---- random numbers ---------------------------------------------------------------------------------------------
static uint64_t state;
static uint64_t rnd64() {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state * 0x2545f4914f6cdd1dull;
}
static int rnd(int n) { return (int)((rnd64() >> 33) % (uint64_t)n); }

// ---- ports of any width -----------------------------------------------------------------------------------------
template <class T> static void put(T& port, int lo, int bits, uint64_t v) {
    uint64_t mask = (bits == 64 ? ~0ull : (1ull << bits) - 1) << lo;
    port = (T)(((uint64_t)port & ~mask) | ((v << lo) & mask));
}
template <std::size_t N> static void put(VlWide<N>& port, int lo, int bits, uint64_t v) {
    for (int i = 0; i < bits; i++) {
        uint32_t bit = 1u << ((lo + i) & 31);
        if (v >> i & 1) port.m_storage[(lo + i) >> 5] |= bit;
        else port.m_storage[(lo + i) >> 5] &= ~bit;
    }
}
template <class T> static u128 get(const T& port, int lo, int bits) {
    return ((u128)port >> lo) & ((((u128)1) << bits) - 1);
}
template <std::size_t N> static u128 get(const VlWide<N>& port, int lo, int bits) {
    u128 v = 0;
    for (int i = bits - 1; i >= 0; i--) v = v << 1 | (port.m_storage[(lo + i) >> 5] >> ((lo + i) & 31) & 1);
    return v;
}

// ---- golden model -----------------------------------------------------------------------------------------------
struct Mode {
    int q;           // log2 of the weight bits
    bool wgt_signed, act_signed;
    int steps;       // of BRICK activation bits each
    bool overwrite, shift8;
};
struct Weights {
    int q = 0;
    bool is_signed = false;
    std::vector<int> w; // [group][channel of the group][row][lane]
    int channels() const { return 8 >> q; }
    int& at(int g, int ch, int r, int l) { return w[((g * channels() + ch) * ROWS + r) * LANES + l]; }
};
struct Pixel {
    u128 half[GROUPS][2];
    bool known[2];
    uint32_t sum;
    bool sum_known;
};
static Pixel memory[DEPTH];

static int draw(int bits, bool is_signed, int kind) {
    int lo = is_signed ? -(1 << (bits - 1)) : 0, hi = (1 << (is_signed ? bits - 1 : bits)) - 1;
    if (kind == 1) return hi;
    if (kind == 2) return lo;
    if (kind == 3) return rnd(2) ? hi : lo;
    return lo + rnd(hi - lo + 1);
}

static void accumulate(const Mode& m, Weights& wg, const std::vector<int>& x, Pixel& p) {
    uint32_t s = 0;
    for (int v : x) s += (uint32_t)v;
    p.sum = ((m.overwrite ? 0 : p.sum) + s) & 0x3ffff;
    if (m.overwrite) p.sum_known = true;
    for (int h = 0; h < 2; h++) {
        if (m.overwrite) p.known[h] = true;
        if (m.q == 3 && h == 1) p.known[h] = false;
    }
    int span = 18 << m.q;
    if (span > 72) span = 72;
    for (int g = 0; g < GROUPS; g++) {
        for (int h = 0; h < 2; h++)
            p.half[g][h] = m.overwrite ? 0 : m.shift8 ? (p.half[g][h] << 8) & MASK72 : p.half[g][h];
        for (int ch = 0; ch < wg.channels(); ch++) {
            int64_t dot = 0;
            const int* w = &wg.at(g, ch, 0, 0);
            for (int i = 0; i < ROWS * LANES; i++) dot += (int64_t)x[i] * w[i];
            int lo = ch * (18 << m.q), h = lo / 72;
            lo %= 72;
            u128 mask = ((((u128)1) << span) - 1) << lo;
            u128 old = p.half[g][h];
            p.half[g][h] = (old & ~mask) | ((old + ((u128)(i128)dot << lo)) & mask);
        }
    }
}

// ---- the bench --------------------------------------------------------------------------------------------------
static Varray_core* top;
static long now = 0;
static long errors = 0;
static void fail(const char* what, long at, long a, long b, long c) {
    if (errors++ < 10) printf("cycle %ld: %s (%ld %ld %ld)\n", at, what, a, b, c);
}

struct Drain {
    int addr;
    long due;
    Pixel want;
};
static std::map<long, std::vector<std::pair<int, std::vector<uint8_t>>>> row_words; // cycle -> (row, bits)
static std::map<long, int> row_swaps;                                             // cycle -> mask of rows
static std::map<long, int> done_due;
static std::deque<Drain> drains;
static std::deque<int> to_drain;
static long busy_to = -1, last_rmw = -1000000, drain_from = -1;
static std::vector<long> last_step_of(DEPTH, -1000000);

// Weights on their way into the shadow registers, row after row, the last group's word first.
static std::vector<uint8_t> column_bits(Weights& w, int r, int g) {
    std::vector<uint8_t> bits(GROUP_COLUMNS * ACT_BITS, 0);
    for (int ch = 0; ch < w.channels(); ch++)
        for (int l = 0; l < LANES; l++)
            for (int k = 0; k < (1 << w.q); k++) {
                int plane = (ch << w.q) + k;
                bits[plane / BRICK * ACT_BITS + l * BRICK + plane % BRICK] = (w.at(g, ch, r, l) >> k) & 1;
            }
    return bits;
}
static Weights next_weights, live_weights;
static std::map<long, std::pair<int, std::vector<uint8_t>>> shift_words; // cycle -> (row, bits)
static long shadow_ready = 0;  // first cycle in which a token may swap

static void plan_weights(long from) {
    if (!shift_words.empty() && from <= shift_words.rbegin()->first) from = shift_words.rbegin()->first + 1;
    next_weights.q = rnd(4);
    if (BRICK == 2 && next_weights.q == 0) next_weights.q = 1;
    next_weights.is_signed = rnd(2);
    next_weights.w.resize(GROUPS * next_weights.channels() * ROWS * LANES);
    int kind = rnd(6);
    for (int& v : next_weights.w) v = draw(1 << next_weights.q, next_weights.is_signed, kind);
    for (int i = 0; i < ROWS * GROUPS; i++) {
        int r = i / GROUPS, g = GROUPS - 1 - i % GROUPS;
        shift_words[from + i] = {r, column_bits(next_weights, r, g)};
    }
    // Row r needs its weights r cycles after the token; the last row is the last to get them.
    shadow_ready = from + ROWS * GROUPS - (ROWS - 1);
}

static void drive_shift() {
    auto word = shift_words.find(now);
    top->shift_en_i = word == shift_words.end() ? 0 : 1u << word->second.first;
    if (word == shift_words.end()) return;
    const std::vector<uint8_t>& bits = word->second.second;
    for (size_t i = 0; i < bits.size(); i++) put(top->shift_data_i, (int)i, 1, bits[i]);
    shift_words.erase(word);
}

static void drive_rows() {
    for (int r = 0; r < ROWS; r++)
        for (int b = 0; b < ACT_BITS; b += 32)
            put(top->act_i, r * ACT_BITS + b, ACT_BITS - b < 32 ? ACT_BITS - b : 32, 0);
    auto w = row_words.find(now);
    if (w != row_words.end()) {
        for (auto& e : w->second)
            for (int b = 0; b < ACT_BITS; b++) put(top->act_i, e.first * ACT_BITS + b, 1, e.second[b]);
        row_words.erase(w);
    }
    auto s = row_swaps.find(now);
    top->swap_i = s == row_swaps.end() ? 0 : s->second;
    if (s != row_swaps.end()) row_swaps.erase(s);
}

static void drive_drain() {
    top->acc_rd_en_i = 0;
    top->acc_rd_addr_i = rnd(DEPTH);
    if (to_drain.empty() || drain_from < 0 || now < drain_from || now <= last_rmw + DONE) return;
    if (now != drain_from && rnd(4) == 0) return;
    Drain d;
    d.addr = to_drain.front();
    d.due = now + 2;
    d.want = memory[d.addr];
    to_drain.pop_front();
    top->acc_rd_en_i = 1;
    top->acc_rd_addr_i = d.addr;
    drains.push_back(d);
}

static void check() {
    int done = done_due.count(now) ? done_due[now] : 0;
    if (top->done_o != done) fail("done_o differs: got, want", now, top->done_o, done, 0);
    done_due.erase(now);
    bool busy = now <= busy_to;
    if (top->tok_valid_i) busy_to = now + DONE;
    if (top->busy_o != busy) fail("busy_o differs: got, want", now, top->busy_o, busy, 0);
    while (!drains.empty() && drains.front().due == now) {
        Drain& d = drains.front();
        for (int g = 0; g < GROUPS; g++)
            for (int h = 0; h < 2; h++) {
                if (!d.want.known[h]) continue;
                u128 got = get(top->acc_rd_data_o, g * 144 + h * 72, 72);
                if (got != d.want.half[g][h]) {
                    fail("accumulator differs: address, group, half", now, d.addr, g, h);
                    if (errors <= 10)
                        printf("    got %02lx%016lx want %02lx%016lx\n", (long)(got >> 64), (long)got,
                               (long)(d.want.half[g][h] >> 64), (long)d.want.half[g][h]);
                }
            }
        uint32_t sum = SUM ? d.want.sum : 0;
        if ((!SUM || d.want.sum_known) && top->sum_rd_data_o != sum)
            fail("sum column differs: address, got, want", now, d.addr, top->sum_rd_data_o, sum);
        drains.pop_front();
    }
}

// One clock cycle with the token inputs as they stand.
static void cycle() {
    drive_rows();
    drive_shift();
    drive_drain();
    top->eval();
    check();
    top->clk = 1;
    top->eval();
    top->clk = 0;
    top->eval();
    now++;
    top->tok_valid_i = 0;
    // What stands beside an invalid token does not matter.
    top->tok_first_i = rnd(2);
    top->tok_last_i = rnd(2);
    top->tok_act_signed_i = rnd(2);
    top->tok_wgt_log2_i = rnd(4);
    top->tok_wgt_signed_i = rnd(2);
    top->tok_overwrite_i = rnd(2);
    top->tok_shift8_i = rnd(2);
    top->tok_acc_i = rnd(DEPTH);
    top->tok_done_i = 0;
}
static void idle(long cycles) {
    while (cycles-- > 0) cycle();
}

static void send_step(const Mode& m, const std::vector<int>& x, int step, bool swap, int addr, int done) {
    top->tok_valid_i = 1;
    top->tok_first_i = step == 0;
    top->tok_last_i = step == m.steps - 1;
    top->tok_act_signed_i = m.act_signed;
    top->tok_wgt_log2_i = m.q;
    top->tok_wgt_signed_i = m.wgt_signed;
    top->tok_overwrite_i = m.overwrite;
    top->tok_shift8_i = m.shift8;
    top->tok_acc_i = addr;
    top->tok_done_i = done;
    int shift = (m.steps - 1 - step) * BRICK;
    for (int r = 0; r < ROWS; r++) {
        std::vector<uint8_t> bits(ACT_BITS);
        for (int l = 0; l < LANES; l++)
            for (int b = 0; b < BRICK; b++) bits[l * BRICK + b] = (x[r * LANES + l] >> (shift + b)) & 1;
        row_words[now + r].push_back({r, bits});
        if (swap) row_swaps[now + r] |= 1 << r;
    }
    if (!m.overwrite) last_rmw = now;
    if (step == m.steps - 1) last_step_of[addr] = now;
    if (done) done_due[now + DONE] = done;
}

// A pass: `pixels` pixels from `base` on. Swaps first if the weights are new.
static void run_pass(Mode m, bool swap, int base, int pixels, bool last_of_job) {
    int pause = rnd(3) == 0 ? 8 : 0, act_kind = rnd(6), off_row = rnd(3) == 0 ? rnd(ROWS) : -1;
    if (swap) {
        while (now < shadow_ready) cycle();
        live_weights = next_weights;
        // Row 0's first word may come when that row's last group has taken its weights: SWAP holds for any row.
        plan_weights(now + (rnd(2) ? GROUPS - 1 : SWAP));
    }
    for (int i = 0; i < pixels; i++) {
        std::vector<int> x(ROWS * LANES);
        for (int j = 0; j < ROWS * LANES; j++)
            x[j] = j / LANES == off_row ? 0 : draw(m.steps * BRICK, m.act_signed, act_kind);
        for (int s = 0; s < m.steps; s++) {
            while (!(i == 0 && s == 0) && pause && rnd(pause) == 0) cycle();
            bool last = s == m.steps - 1;
            while (!m.overwrite && (!to_drain.empty() || (last && now - last_step_of[base + i] < RMW))) {
                if (i == 0 && s == 0 && swap) break; // the swap is already planned for this cycle; see below
                cycle();
            }
            int done = last && i == pixels - 1 && (last_of_job || rnd(2)) ? 1 + rnd(15) : 0;
            send_step(m, x, s, swap && i == 0 && s == 0, base + i, done);
            if (last) accumulate(m, live_weights, x, memory[base + i]);
            if (last && i == pixels - 1 && last_of_job) {
                drain_from = now + DONE;
                for (int k = pixels - 1; k >= 0; k--) to_drain.push_back(base + k);
            }
            cycle();
        }
    }
}

static Mode draw_mode(bool swap, bool overwrite) {
    Weights& w = swap ? next_weights : live_weights;
    Mode m;
    m.q = w.q;
    m.wgt_signed = w.is_signed;
    m.act_signed = rnd(2);
    m.steps = 1 + rnd(rnd(3) ? 4 : 16 / BRICK);
    m.overwrite = overwrite;
    m.shift8 = !overwrite && m.q == 3 && rnd(2);
    return m;
}

// A job: one to three passes into the same accumulators, then the results are read while the next job runs.
static void run_job(int job, int max_pixels) {
    int room = DEPTH / 2, pixels = 1 + rnd(rnd(2) ? 4 : max_pixels);
    if (pixels > room) pixels = room;
    int base = (job & 1) * room + rnd(room - pixels + 1), passes = 1 + rnd(3);
    while (!to_drain.empty()) {
        // The previous job may still be draining; only overwriting passes run beside it, elsewhere.
        if (drain_from >= 0 && now >= drain_from && rnd(2)) break;
        cycle();
    }
    bool fresh = true;
    for (int i = 0; i < pixels; i++) fresh &= memory[base + i].known[0] && memory[base + i].sum_known;
    for (int i = 0; i < passes; i++) {
        bool swap = live_weights.w.empty() || rnd(4) != 0;
        bool overwrite = i == 0 ? !fresh || rnd(4) != 0 : rnd(6) == 0;
        if (!overwrite || i == passes - 1) while (!to_drain.empty()) cycle();
        Mode m = draw_mode(swap, overwrite);
        if (!overwrite && m.steps < RMW) idle(rnd(2) ? RMW : 0);
        if (!overwrite && swap && m.steps == 1)
            while (now - last_step_of[base] < RMW) cycle();
        if (!overwrite && swap) while (shadow_ready > now) cycle();
        run_pass(m, swap, base, pixels, i == passes - 1);
    }
}

// A pixel that a reset cuts off leaves nothing behind.
static void abort_pixel() {
    while (!to_drain.empty()) cycle();
    idle(DONE + 4);
    if (live_weights.w.empty()) return;
    Mode m = draw_mode(false, true);
    m.steps = 3;
    std::vector<int> x(ROWS * LANES, 1);
    send_step(m, x, 0, false, 0, 0);
    cycle();
    send_step(m, x, 1, false, 0, 0);
    cycle();
    idle(rnd(2 * DONE));
    while (!row_words.empty()) cycle();
    top->rst = 1;
    idle(1);
    top->rst = 0;
    busy_to = -1;
}

static void start() {
    top = new Varray_core;
    top->clk = 0;
    top->rst = 1;
    top->tok_valid_i = 1;
    top->tok_last_i = 1;
    top->tok_done_i = 15;
    for (int i = 0; i < 2; i++) {
        top->eval();
        top->clk = 1;
        top->eval();
        top->clk = 0;
        top->eval();
    }
    top->rst = 0;
    top->tok_valid_i = 0;
    top->tok_done_i = 0;
}

// Cycles of CPU time per second with everything busy: 4-bit activations, weights shifting in.
static int speed(long cycles) {
    std::vector<uint32_t> noise(4096);
    for (auto& n : noise) n = (uint32_t)rnd64();
    clock_t begin = clock();
    uint64_t hash = 0;
    for (long c = 0; c < cycles; c++) {
        long in_pass = c % (ROWS * GROUPS + 256);
        for (int r = 0; r < ROWS; r++)
            put(top->act_i, r * ACT_BITS, ACT_BITS < 32 ? ACT_BITS : 32, noise[(c * ROWS + r) & 4095]);
        top->swap_i = in_pass < ROWS ? 1u << in_pass : 0;
        long word = in_pass - GROUPS;
        top->shift_en_i = word >= 0 && word < ROWS * GROUPS ? 1u << (word / GROUPS) : 0;
        for (int b = 0; top->shift_en_i && b + 32 <= GROUP_COLUMNS * ACT_BITS; b += 32)
            put(top->shift_data_i, b, 32, noise[(c + b) & 4095]);
        top->tok_valid_i = 1;
        top->tok_first_i = c % 4 == 0;
        top->tok_last_i = c % 4 == 3;
        top->tok_wgt_log2_i = 2;
        top->tok_overwrite_i = c & 1024 ? 1 : 0;
        top->tok_acc_i = (c / 4) % DEPTH;
        top->eval();
        top->clk = 1;
        top->eval();
        top->clk = 0;
        top->eval();
        hash += top->sum_rd_data_o;
    }
    double seconds = (double)(clock() - begin) / CLOCKS_PER_SEC;
    printf("ok %.0f cycles/s (%lx)\n", cycles / seconds, (long)hash);
    return 0;
}

int main(int argc, char** argv) {
    if (argc < 3) return 2;
    state = strtoull(argv[1], nullptr, 0) * 2 + 0x9e3779b97f4a7c15ull;
    long pixels = atol(argv[2]);
    start();
    if (argc > 3 && !strcmp(argv[3], "speed")) return speed(pixels);
    for (Pixel& p : memory) memset(&p, 0, sizeof p);
    plan_weights(0);
    int job = 0;
    for (long used = 0; used < pixels && errors == 0; job++) {
        run_job(job, 40);
        used += 20;
        if (job % 16 == 7) abort_pixel();
    }
    while (!to_drain.empty()) cycle();
    idle(DONE + 4);
    if (errors) {
        printf("%ld errors, seed %s\n", errors, argv[1]);
        return 1;
    }
    printf("ok %d jobs, %ld cycles, seed %s\n", job, now, argv[1]);
    return 0;
}
