/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * edges.c : what the C driver makes of inputs and results, without a machine.
 *
 *     edges PROGRAM.bwp CODES.bin RESULTS.bin INPUT_REGION.bin OUTPUT_CODES.bin
 *
 * Packs CODES (32-bit numbers, all inputs) and writes the input region; takes RESULTS for the output region and writes
 * the codes of all outputs.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../brickwork.h"

static struct brickwork_program program;
static uint8_t *results;

static void fail(const char *what) {
    fprintf(stderr, "edges: %s\n", what);
    exit(1);
}

/* A machine that is done at once. */
static uint32_t read_register(void *context, uint32_t offset) {
    (void)context;
    switch (offset) {
        case BRICKWORK_REG_ID: return BRICKWORK_ID_VALUE;
        case BRICKWORK_REG_VERSION: return BRICKWORK_VERSION_VALUE;
        case BRICKWORK_REG_HASH_LO: return (uint32_t)program.hash;
        case BRICKWORK_REG_HASH_HI: return (uint32_t)(program.hash >> 32);
        case BRICKWORK_REG_STATUS: return BRICKWORK_STATUS_DONE;
        default: return 0;
    }
}
static void write_register(void *context, uint32_t offset, uint32_t value) {
    (void)context;
    (void)offset;
    (void)value;
}
static void invalidate(void *context, void *start, size_t bytes) {
    (void)context;
    if (bytes != program.output_bytes) fail("not the output is invalidated");
    memcpy(start, results, bytes);
}
static uint64_t now_us(void *context) {
    (void)context;
    return 0;
}

static uint8_t *read_file(const char *path, size_t *bytes) {
    FILE *f = fopen(path, "rb");
    uint8_t *data;
    long n;
    if (!f || fseek(f, 0, SEEK_END)) fail(path);
    n = ftell(f);
    rewind(f);
    data = malloc((size_t)n + 1);
    if (!data || fread(data, 1, (size_t)n, f) != (size_t)n) fail(path);
    fclose(f);
    *bytes = (size_t)n;
    return data;
}

static void write_file(const char *path, const void *data, size_t bytes) {
    FILE *f = fopen(path, "ab");
    if (!f || fwrite(data, 1, bytes, f) != bytes || fclose(f)) fail(path);
}

/* Codes become reals and codes again; what is beyond their range is clamped; ties go away from zero. */
static void check_scale(const struct brickwork_tensor *t) {
    int64_t lo = t->is_signed ? -((int64_t)1 << (t->bits - 1)) : 0, hi = lo + ((int64_t)1 << t->bits) - 1, code;
    if (!t->has_scale || t->bits > 16) return;
    for (code = lo; code <= hi; code++) {
        if (brickwork_quantize(t, brickwork_dequantize(t, (int32_t)code)) != code) fail("a code does not come back");
    }
    if (brickwork_quantize(t, 1e30) != hi || brickwork_quantize(t, -1e30) != lo) fail("reals are not clamped");
    if (t->zero_point + 1 < hi && brickwork_quantize(t, t->scale * 0.5) != t->zero_point + 1) fail("a tie goes the wrong way");
}

static void check(enum brickwork_status status) {
    if (status) fail(brickwork_status_text(status));
}

int main(int argc, char **argv) {
    struct brickwork_bus bus = {0, read_register, write_register, 0, invalidate, now_us, 0};
    struct brickwork device;
    struct brickwork_memory memory;
    struct brickwork_tensor tensor;
    size_t bytes, code_bytes, result_bytes;
    uint8_t *file, *codes;
    const int32_t *next;
    unsigned i;
    if (argc != 6) fail("five files");
    file = read_file(argv[1], &bytes);
    codes = read_file(argv[2], &code_bytes);
    results = read_file(argv[3], &result_bytes);
    check(brickwork_parse(&program, file, bytes));
    if (result_bytes != program.output_bytes) fail("the results have another length");
    memory.bytes = brickwork_memory_needed(&program);
    memory.address = 0;
    memory.data = malloc(memory.bytes);
    if (!memory.data) fail("no memory");
    memset(memory.data, 0xff, memory.bytes);
    check(brickwork_open(&device, &bus));
    check(brickwork_load(&device, &program, &memory));
    next = (const int32_t *)(void *)codes;
    for (i = 0; i < program.inputs; i++) {
        check(brickwork_tensor(&program, 0, i, &tensor));
        check_scale(&tensor);
        check(brickwork_set_input(&device, i, next, tensor.count));
        next += tensor.count;
    }
    if ((const uint8_t *)next != codes + code_bytes) fail("another number of codes");
    remove(argv[4]);
    remove(argv[5]);
    write_file(argv[4], memory.data + device.input, program.input_bytes);
    check(brickwork_run(&device, 0));
    for (i = 0; i < program.outputs; i++) {
        int32_t *values;
        check(brickwork_tensor(&program, 1, i, &tensor));
        values = malloc(tensor.count * sizeof *values);
        if (!values) fail("no memory");
        check(brickwork_get_output(&device, i, values, tensor.count));
        write_file(argv[5], values, tensor.count * sizeof *values);
        free(values);
    }
    return 0;
}
