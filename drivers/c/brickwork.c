/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* brickwork.c : the machine: identity, loading, running, errors, reset. */
#include "brickwork.h"

#include <string.h>

/* A soft reset waits for bursts under way: microseconds. */
#define OPEN_RESET_US 100000

static uint32_t rd(struct brickwork *d, uint32_t offset) { return d->bus.read(d->bus.context, offset); }

static void wr(struct brickwork *d, uint32_t offset, uint32_t value) { d->bus.write(d->bus.context, offset, value); }

static void flush(struct brickwork *d, size_t at, size_t bytes) {
    if (d->bus.flush && bytes) d->bus.flush(d->bus.context, d->memory.data + at, bytes);
}

static void invalidate(struct brickwork *d, size_t at, size_t bytes) {
    if (d->bus.invalidate && bytes) d->bus.invalidate(d->bus.context, d->memory.data + at, bytes);
}

static size_t align(size_t n) { return (n + BRICKWORK_ALIGN - 1) / BRICKWORK_ALIGN * BRICKWORK_ALIGN; }

/* Offsets of the parts in the buffer. */
struct parts {
    size_t constants, input, output, scratch, end;
};

static struct parts parts_of(const struct brickwork_program *p) {
    struct parts x;
    x.constants = align(p->instruction_bytes);
    x.input = x.constants + align(p->constants_bytes);
    x.output = x.input + align(p->input_bytes);
    x.scratch = x.output + align(p->output_bytes);
    x.end = x.scratch + align(p->scratch_bytes);
    return x;
}

size_t brickwork_memory_needed(const struct brickwork_program *program) { return parts_of(program).end; }

const char *brickwork_status_text(enum brickwork_status status) {
    switch (status) {
        case BRICKWORK_OK: return "done";
        case BRICKWORK_NO_DEVICE: return "there is no Brickwork accelerator at this address";
        case BRICKWORK_BAD_VERSION: return "the accelerator has another version than this driver";
        case BRICKWORK_BAD_FILE: return "not a usable program file";
        case BRICKWORK_BAD_FILE_VERSION: return "program file of another format; compile again";
        case BRICKWORK_WRONG_HASH: return "the program was made for another configuration";
        case BRICKWORK_MISALIGNED: return "the buffer's physical address is no multiple of 64 below 4 GiB";
        case BRICKWORK_TOO_SMALL: return "the buffer is too small for the program";
        case BRICKWORK_NO_TENSOR: return "the program has no such input or output";
        case BRICKWORK_WRONG_COUNT: return "another number of values than the tensor has";
        case BRICKWORK_BAD_VALUE: return "a value that the tensor's type does not have";
        case BRICKWORK_NOT_LOADED: return "no program is loaded";
        case BRICKWORK_BUSY: return "a run is under way";
        case BRICKWORK_NEEDS_RESET: return "an error stopped the machine; it needs a reset";
        case BRICKWORK_TIMEOUT: return "not done in time";
        case BRICKWORK_FAILED: return "the machine stopped with an error";
    }
    return "unknown status";
}

enum brickwork_status brickwork_open(struct brickwork *device, const struct brickwork_bus *bus) {
    memset(device, 0, sizeof *device);
    device->bus = *bus;
    if (rd(device, BRICKWORK_REG_ID) != BRICKWORK_ID_VALUE) return BRICKWORK_NO_DEVICE;
    if (rd(device, BRICKWORK_REG_VERSION) >> 8 != BRICKWORK_VERSION_VALUE >> 8) return BRICKWORK_BAD_VERSION;
    device->hash = (uint64_t)rd(device, BRICKWORK_REG_HASH_HI) << 32 | rd(device, BRICKWORK_REG_HASH_LO);
    return brickwork_reset(device, OPEN_RESET_US);
}

/* Where the parts are; interrupts on if somebody waits for them. */
static void set_registers(struct brickwork *d) {
    uint32_t base = (uint32_t)d->memory.address;
    wr(d, BRICKWORK_REG_IRQ_STATUS, BRICKWORK_IRQ_STATUS_DONE | BRICKWORK_IRQ_STATUS_ERROR);
    wr(d, BRICKWORK_REG_IRQ_ENABLE, d->bus.wait ? BRICKWORK_IRQ_ENABLE_DONE | BRICKWORK_IRQ_ENABLE_ERROR : 0);
    if (d->program) {
        struct parts at = parts_of(d->program);
        wr(d, BRICKWORK_REG_PROGRAM, base);
        wr(d, BRICKWORK_REG_BASE0, base + (uint32_t)at.constants);
        wr(d, BRICKWORK_REG_BASE1, base + (uint32_t)at.input);
        wr(d, BRICKWORK_REG_BASE2, base + (uint32_t)at.output);
        wr(d, BRICKWORK_REG_BASE3, base + (uint32_t)at.scratch);
    }
}

static enum brickwork_status idle(struct brickwork *d) {
    uint32_t status = rd(d, BRICKWORK_REG_STATUS);
    if (status & BRICKWORK_STATUS_ERROR) return BRICKWORK_NEEDS_RESET;
    return status & BRICKWORK_STATUS_BUSY ? BRICKWORK_BUSY : BRICKWORK_OK;
}

enum brickwork_status brickwork_load(struct brickwork *device, const struct brickwork_program *program,
                                     const struct brickwork_memory *memory) {
    struct parts at = parts_of(program);
    enum brickwork_status status = idle(device);
    if (status) return status;
    if (program->hash != device->hash) return BRICKWORK_WRONG_HASH;
    if (memory->bytes < at.end) return BRICKWORK_TOO_SMALL;
    if (memory->address % BRICKWORK_ALIGN || memory->address + at.end > (uint64_t)1 << 32) return BRICKWORK_MISALIGNED;
    device->program = program;
    device->memory = *memory;
    device->input = at.input;
    device->output = at.output;
    memcpy(memory->data, program->instructions, program->instruction_bytes);
    memcpy(memory->data + at.constants, program->constants, program->constants_bytes);
    memset(memory->data + at.input, 0, at.end - at.input);
    flush(device, 0, at.end);
    set_registers(device);
    return BRICKWORK_OK;
}

enum brickwork_status brickwork_start(struct brickwork *device) {
    enum brickwork_status status;
    if (!device->program) return BRICKWORK_NOT_LOADED;
    status = idle(device);
    if (status) return status;
    flush(device, device->input, device->program->input_bytes);
    /* No line of the output may be written back on top of the results. */
    invalidate(device, device->output, device->program->output_bytes);
    wr(device, BRICKWORK_REG_IRQ_STATUS, BRICKWORK_IRQ_STATUS_DONE | BRICKWORK_IRQ_STATUS_ERROR);
    wr(device, BRICKWORK_REG_CTRL, BRICKWORK_CTRL_START);
    return BRICKWORK_OK;
}

enum brickwork_status brickwork_poll(struct brickwork *device, int *done) {
    uint32_t status = rd(device, BRICKWORK_REG_STATUS);
    *done = 0;
    if (status & BRICKWORK_STATUS_ERROR) return BRICKWORK_FAILED;
    if ((status & BRICKWORK_STATUS_DONE) && !(status & BRICKWORK_STATUS_BUSY)) {
        *done = 1;
        wr(device, BRICKWORK_REG_IRQ_STATUS, BRICKWORK_IRQ_STATUS_DONE);
        invalidate(device, device->output, device->program ? device->program->output_bytes : 0);
    }
    return BRICKWORK_OK;
}

enum brickwork_status brickwork_wait(struct brickwork *device, uint64_t timeout_us) {
    uint64_t begin = device->bus.now_us(device->bus.context);
    for (;;) {
        uint64_t spent = device->bus.now_us(device->bus.context) - begin;
        int done;
        enum brickwork_status status = brickwork_poll(device, &done);
        if (status || done) return status;
        if (spent >= timeout_us) return BRICKWORK_TIMEOUT;
        if (device->bus.wait) device->bus.wait(device->bus.context, timeout_us - spent);
    }
}

enum brickwork_status brickwork_run(struct brickwork *device, uint64_t timeout_us) {
    enum brickwork_status status = brickwork_start(device);
    return status ? status : brickwork_wait(device, timeout_us);
}

void brickwork_get_error(struct brickwork *device, struct brickwork_error *error) {
    static const char *const names[] = BRICKWORK_ERROR_NAMES;
    error->code = rd(device, BRICKWORK_REG_ERROR_CODE);
    error->instruction = rd(device, BRICKWORK_REG_ERROR_INSTR);
    error->name = error->code < sizeof names / sizeof *names ? names[error->code] : "unknown";
}

void brickwork_get_counters(struct brickwork *device, struct brickwork_counters *counters) {
    uint32_t high, low;
    do { /* the low word may pass to the high one between two reads */
        high = rd(device, BRICKWORK_REG_CYCLES_HI);
        low = rd(device, BRICKWORK_REG_CYCLES_LO);
    } while (high != rd(device, BRICKWORK_REG_CYCLES_HI));
    counters->cycles = (uint64_t)high << 32 | low;
    counters->pass_busy = rd(device, BRICKWORK_REG_PASS_BUSY);
    counters->pass_wait_token = rd(device, BRICKWORK_REG_PASS_WAIT_TOKEN);
    counters->pass_wait_wgt = rd(device, BRICKWORK_REG_PASS_WAIT_WGT);
    counters->load_busy = rd(device, BRICKWORK_REG_LOAD_BUSY);
    counters->post_busy = rd(device, BRICKWORK_REG_POST_BUSY);
    counters->wgt_busy = rd(device, BRICKWORK_REG_WGT_BUSY);
}

void brickwork_set_watchdog(struct brickwork *device, uint32_t cycles) { wr(device, BRICKWORK_REG_WATCHDOG, cycles); }

enum brickwork_status brickwork_reset(struct brickwork *device, uint64_t timeout_us) {
    uint64_t begin = device->bus.now_us(device->bus.context);
    wr(device, BRICKWORK_REG_CTRL, BRICKWORK_CTRL_RESET);
    for (;;) {
        uint64_t spent = device->bus.now_us(device->bus.context) - begin;
        if (!(rd(device, BRICKWORK_REG_STATUS) & (BRICKWORK_STATUS_BUSY | BRICKWORK_STATUS_ERROR))) break;
        if (spent >= timeout_us) return BRICKWORK_TIMEOUT;
    }
    set_registers(device);
    return BRICKWORK_OK;
}
