/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * cosim.c : the C driver linked with the Verilated accelerator. Memory is not coherent, as on a Zynq: the processor's buffer
 * and the accelerator's memory differ until the driver flushes or invalidates.
 *
 *     cosim PROGRAM.bwp CASES.bin
 *
 * CASES.bin: little-endian 32-bit numbers: cases, values in, values out, then codes and expected codes of each case.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../brickwork.h"
#include "model.h"

#define CHECK(condition) \
    do { \
        if (!(condition)) { \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
            exit(1); \
        } \
    } while (0)
#define IS(call, wanted) \
    do { \
        enum brickwork_status got = (call); \
        if (got != (wanted)) { \
            fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #call, brickwork_status_text(got)); \
            exit(1); \
        } \
    } while (0)

#define ADDRESS 0x10000000u
#define CLOCK_MHZ 100
#define LONG_US 1000000

struct board {
    struct brickwork_model *model;
    struct brickwork_memory memory;
};

static uint32_t read_register(void *context, uint32_t offset) {
    return brickwork_model_read(((struct board *)context)->model, offset);
}
static void write_register(void *context, uint32_t offset, uint32_t value) {
    brickwork_model_write(((struct board *)context)->model, offset, value);
}
static uint64_t address_of(const struct board *b, const void *start) {
    return b->memory.address + (uint64_t)((const uint8_t *)start - b->memory.data);
}
static void flush(void *context, void *start, size_t bytes) {
    struct board *b = context;
    brickwork_model_store(b->model, address_of(b, start), start, bytes);
}
static void invalidate(void *context, void *start, size_t bytes) {
    struct board *b = context;
    brickwork_model_load(b->model, address_of(b, start), start, bytes);
}
static uint64_t now_us(void *context) { return brickwork_model_cycles(((struct board *)context)->model) / CLOCK_MHZ; }
static void wait_interrupt(void *context, uint64_t us) { brickwork_model_step(((struct board *)context)->model, us * CLOCK_MHZ); }

static uint8_t *read_file(const char *path, size_t *bytes) {
    FILE *f = fopen(path, "rb");
    uint8_t *data;
    long n;
    CHECK(f);
    fseek(f, 0, SEEK_END);
    n = ftell(f);
    rewind(f);
    data = malloc((size_t)n);
    CHECK(data && fread(data, 1, (size_t)n, f) == (size_t)n);
    fclose(f);
    *bytes = (size_t)n;
    return data;
}

/* 64-bit FNV-1a at the end of a changed file. */
static void sign_again(uint8_t *file, size_t bytes) {
    uint64_t hash = 0xcbf29ce484222325u;
    size_t i;
    for (i = 0; i < bytes - 8; i++) hash = (hash ^ file[i]) * 0x00000100000001b3u;
    for (i = 0; i < 8; i++) file[bytes - 8 + i] = (uint8_t)(hash >> (8 * i));
}

struct cases {
    const int32_t *numbers;
    size_t count, in, out;
};
static const int32_t *codes(const struct cases *c, size_t i) { return c->numbers + 3 + i * (c->in + c->out); }
static const int32_t *expected(const struct cases *c, size_t i) { return codes(c, i) + c->in; }

static struct board board;
static struct brickwork device;
static struct brickwork_program program;
static struct cases cases;
static int32_t *result;

static void right_result(size_t i) {
    IS(brickwork_get_output(&device, 0, result, cases.out), BRICKWORK_OK);
    CHECK(!memcmp(result, expected(&cases, i), cases.out * sizeof *result));
}

static void run_right(size_t i) {
    IS(brickwork_set_input(&device, 0, codes(&cases, i), cases.in), BRICKWORK_OK);
    IS(brickwork_run(&device, LONG_US), BRICKWORK_OK);
    right_result(i);
}

static void all_cases(const struct brickwork_bus *bus) {
    struct brickwork_counters first, counters;
    size_t i;
    memset(&first, 0, sizeof first);
    IS(brickwork_open(&device, bus), BRICKWORK_OK);
    IS(brickwork_load(&device, &program, &board.memory), BRICKWORK_OK);
    for (i = 0; i < cases.count; i++) {
        run_right(i);
        brickwork_get_counters(&device, &counters);
        if (i == 0) first = counters;
        CHECK(counters.cycles == first.cycles && counters.cycles > 0 && counters.pass_busy > 0);
    }
    printf("%u inputs, %llu cycles each\n", (unsigned)cases.count, (unsigned long long)first.cycles);
}

static void refusals(const uint8_t *file, size_t bytes) {
    struct brickwork_program other;
    struct brickwork_memory bad = board.memory;
    struct brickwork_tensor tensor;
    uint8_t *copy = malloc(bytes);
    char number[24];
    char *at;
    size_t i;
    CHECK(copy);
    IS(brickwork_parse(&other, file, bytes - 1), BRICKWORK_BAD_FILE);
    IS(brickwork_parse(&other, file, 0), BRICKWORK_BAD_FILE);
    memcpy(copy, file, bytes);
    copy[4] = 99;
    IS(brickwork_parse(&other, copy, bytes), BRICKWORK_BAD_FILE_VERSION);
    memcpy(copy, file, bytes);
    copy[bytes / 2] ^= 1;
    IS(brickwork_parse(&other, copy, bytes), BRICKWORK_BAD_FILE);

    /* A program for another configuration: one digit of the hash. */
    memcpy(copy, file, bytes);
    sprintf(number, "%llu", (unsigned long long)program.hash);
    at = 0;
    for (i = 0; i + strlen(number) <= bytes && !at; i++) {
        if (!memcmp(copy + i, number, strlen(number))) at = (char *)copy + i;
    }
    CHECK(at);
    at[strlen(number) - 1] ^= 1;
    sign_again(copy, bytes);
    IS(brickwork_parse(&other, copy, bytes), BRICKWORK_OK);
    IS(brickwork_load(&device, &other, &board.memory), BRICKWORK_WRONG_HASH);

    bad.address += 8;
    IS(brickwork_load(&device, &program, &bad), BRICKWORK_MISALIGNED);
    bad.address = 0x100000000u;
    IS(brickwork_load(&device, &program, &bad), BRICKWORK_MISALIGNED);
    bad = board.memory;
    bad.bytes = brickwork_memory_needed(&program) - 1;
    IS(brickwork_load(&device, &program, &bad), BRICKWORK_TOO_SMALL);
    IS(brickwork_tensor(&program, 0, program.inputs, &tensor), BRICKWORK_NO_TENSOR);
    IS(brickwork_tensor(&program, 0, 0, &tensor), BRICKWORK_OK);
    IS(brickwork_set_input(&device, 0, codes(&cases, 0), cases.in - 1), BRICKWORK_WRONG_COUNT);
    {
        int32_t *wrong = malloc(cases.in * sizeof *wrong);
        CHECK(wrong);
        memcpy(wrong, codes(&cases, 0), cases.in * sizeof *wrong);
        wrong[cases.in - 1] = 1 << tensor.bits;
        IS(brickwork_set_input(&device, 0, wrong, cases.in), BRICKWORK_BAD_VALUE);
        free(wrong);
    }
    free(copy);
}

/* The machine refuses a program of another configuration even if the driver is deceived: `begin` is changed. */
static void machine_refuses(const uint8_t *file, size_t bytes) {
    struct brickwork_program other;
    struct brickwork_error error;
    uint8_t *copy = malloc(bytes);
    CHECK(copy);
    memcpy(copy, file, bytes);
    copy[program.instructions - file] ^= 1;
    sign_again(copy, bytes);
    IS(brickwork_parse(&other, copy, bytes), BRICKWORK_OK);
    IS(brickwork_load(&device, &other, &board.memory), BRICKWORK_OK);
    IS(brickwork_run(&device, LONG_US), BRICKWORK_FAILED);
    brickwork_get_error(&device, &error);
    CHECK(error.code == BRICKWORK_ERROR_WRONG_CONFIGURATION && error.instruction == 0);
    CHECK(!strcmp(error.name, "wrong configuration"));
    IS(brickwork_start(&device), BRICKWORK_NEEDS_RESET);
    IS(brickwork_reset(&device, LONG_US), BRICKWORK_OK);
    IS(brickwork_load(&device, &program, &board.memory), BRICKWORK_OK);
    run_right(0);
    free(copy);
}

static void time_out(void) {
    int done;
    IS(brickwork_run(&device, 1), BRICKWORK_TIMEOUT);
    IS(brickwork_start(&device), BRICKWORK_BUSY);
    IS(brickwork_poll(&device, &done), BRICKWORK_OK);
    CHECK(!done);
    IS(brickwork_wait(&device, LONG_US), BRICKWORK_OK);
    right_result(0);
    IS(brickwork_run(&device, 1), BRICKWORK_TIMEOUT);
    IS(brickwork_reset(&device, LONG_US), BRICKWORK_OK);
    run_right(1);
}

/* Memory that answers with an error: reading constants, writing results. */
static void memory_errors(void) {
    uint64_t constants = board.memory.address + (program.instruction_bytes + 63) / 64 * 64;
    uint64_t places[2], codes_of[2];
    size_t i;
    places[0] = constants;
    places[1] = board.memory.address + device.output;
    codes_of[0] = BRICKWORK_ERROR_BUS_READ;
    codes_of[1] = BRICKWORK_ERROR_BUS_WRITE;
    for (i = 0; i < 2; i++) {
        struct brickwork_error error;
        brickwork_model_fault(board.model, places[i], 8);
        IS(brickwork_run(&device, LONG_US), BRICKWORK_FAILED);
        brickwork_get_error(&device, &error);
        CHECK(error.code == codes_of[i] && error.instruction > 0);
        IS(brickwork_run(&device, LONG_US), BRICKWORK_NEEDS_RESET);
        brickwork_model_fault(board.model, 0, 0);
        IS(brickwork_reset(&device, LONG_US), BRICKWORK_OK);
        run_right(0);
    }
}

static uint32_t nothing(void *context, uint32_t offset) {
    (void)context;
    return offset;
}

int main(int argc, char **argv) {
    struct brickwork_bus bus;
    size_t file_bytes, case_bytes;
    uint8_t *file, *data;
    CHECK(argc == 3);
    file = read_file(argv[1], &file_bytes);
    data = read_file(argv[2], &case_bytes);
    cases.numbers = (const int32_t *)(void *)data;
    cases.count = (size_t)cases.numbers[0];
    cases.in = (size_t)cases.numbers[1];
    cases.out = (size_t)cases.numbers[2];
    CHECK(case_bytes == (3 + cases.count * (cases.in + cases.out)) * 4);
    result = malloc(cases.out * sizeof *result);
    CHECK(result);

    IS(brickwork_parse(&program, file, file_bytes), BRICKWORK_OK);
    board.model = brickwork_model_new(1);
    board.memory.bytes = brickwork_memory_needed(&program);
    board.memory.address = ADDRESS;
    board.memory.data = malloc(board.memory.bytes);
    CHECK(board.memory.data);
    memset(board.memory.data, 0x5a, board.memory.bytes); /* neither side begins with zeros */
    brickwork_model_map(board.model, ADDRESS, board.memory.bytes);
    bus.context = &board;
    bus.read = nothing;
    bus.write = write_register;
    bus.flush = flush;
    bus.invalidate = invalidate;
    bus.now_us = now_us;
    bus.wait = 0;
    IS(brickwork_open(&device, &bus), BRICKWORK_NO_DEVICE);
    bus.read = read_register;
    IS(brickwork_open(&device, &bus), BRICKWORK_OK);
    IS(brickwork_start(&device), BRICKWORK_NOT_LOADED);
    all_cases(&bus);
    refusals(file, file_bytes);
    machine_refuses(file, file_bytes);
    time_out();
    memory_errors();
    bus.wait = wait_interrupt;
    all_cases(&bus);
    if (*brickwork_model_violation(board.model)) {
        fprintf(stderr, "%s\n", brickwork_model_violation(board.model));
        return 1;
    }
    brickwork_model_delete(board.model);
    free(board.memory.data);
    free(result);
    free(file);
    free(data);
    return 0;
}
