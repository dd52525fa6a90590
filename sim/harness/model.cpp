// SPDX-License-Identifier: Apache-2.0 OR MIT
// model.cpp : the harness as a library; see model.h.
#define BRICKWORK_LIBRARY
#include "model.h"

#include "harness.cpp"

static const uint32_t POWER_ON_RESET = 16;

struct brickwork_model {
    Sim sim;
    std::string violation;
    explicit brickwork_model(int seed) : sim(seed, 0, nullptr) { sim.reset(POWER_ON_RESET); }
    void answered(const char* access, uint32_t offset, uint8_t response) {
        if (response != RESP_OKAY) sim.bus.violate("s_axil", "RESPONSE", "%s of 0x%x answered %d", access, offset, response);
    }
};

brickwork_model* brickwork_model_new(int seed) { return new brickwork_model(seed); }

void brickwork_model_delete(brickwork_model* model) { delete model; }

uint32_t brickwork_model_read(brickwork_model* model, uint32_t offset) {
    model->sim.lite.start_read(offset);
    model->sim.finish_access();
    model->answered("read", offset, model->sim.lite.rresp);
    return model->sim.lite.rdata;
}

void brickwork_model_write(brickwork_model* model, uint32_t offset, uint32_t value) {
    model->sim.lite.start_write(offset, value);
    model->sim.finish_access();
    model->answered("write", offset, model->sim.lite.bresp);
}

void brickwork_model_map(brickwork_model* model, uint64_t address, uint64_t bytes) {
    Region r;
    r.base = address;
    r.bytes.resize(bytes);
    model->sim.bus.memory.regions.push_back(std::move(r));
}

// The place of an address and how many bytes there are from it on.
static uint8_t* place(brickwork_model* model, uint64_t address, uint64_t bytes) {
    for (Region& r : model->sim.bus.memory.regions) {
        if (address >= r.base && bytes <= r.bytes.size() && address - r.base <= r.bytes.size() - bytes) {
            return r.bytes.data() + (address - r.base);
        }
    }
    return nullptr;
}

void brickwork_model_store(brickwork_model* model, uint64_t address, const void* from, uint64_t bytes) {
    if (uint8_t* to = place(model, address, bytes)) std::memcpy(to, from, bytes);
}

void brickwork_model_load(brickwork_model* model, uint64_t address, void* to, uint64_t bytes) {
    uint8_t* from = place(model, address, bytes);
    if (from) std::memcpy(to, from, bytes);
    else std::memset(to, 0, bytes);
}

void brickwork_model_fault(brickwork_model* model, uint64_t address, uint64_t bytes) {
    std::vector<Fault>& faults = model->sim.bus.memory.faults;
    faults.clear();
    if (bytes) faults.push_back({address, bytes, RESP_SLVERR});
}

uint64_t brickwork_model_cycles(const brickwork_model* model) { return model->sim.bus.cycle; }

int brickwork_model_step(brickwork_model* model, uint64_t cycles) {
    for (uint64_t i = 0; i < cycles && !model->sim.top->irq_o; i++) model->sim.step();
    return model->sim.top->irq_o;
}

const char* brickwork_model_violation(brickwork_model* model) {
    if (!model->sim.bus.violations.empty()) {
        const Violation& v = model->sim.bus.violations.front();
        model->violation = v.port + " " + v.rule + " in cycle " + std::to_string(v.cycle) + ": " + v.detail;
    }
    return model->violation.c_str();
}
