/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * brickwork.h : driver of the accelerator. C99, no allocation, no library but memcpy and memset.
 *
 * A program file (.bwp) is parsed in place, copied with its regions into one physically contiguous buffer, and run:
 *
 *     struct brickwork_program program;
 *     struct brickwork device;
 *     brickwork_parse(&program, file, file_bytes);
 *     brickwork_open(&device, &bus);
 *     brickwork_load(&device, &program, &memory);       (brickwork_memory_needed tells how much)
 *     brickwork_set_input(&device, 0, codes, count);
 *     brickwork_run(&device, 100000);
 *     brickwork_get_output(&device, 0, logits, count);
 *
 * Everything returns BRICKWORK_OK (0) or what is wrong. What the board gives is in `struct brickwork_bus`: register accesses,
 * cache maintenance, time. brickwork_linux.h and brickwork_zynq.h fill it for Linux (UIO) and for bare metal.
 */
#ifndef BRICKWORK_H
#define BRICKWORK_H

#include <stddef.h>
#include <stdint.h>

#include "brickwork_regs.h"

#ifdef __cplusplus
extern "C" {
#endif

enum brickwork_status {
    BRICKWORK_OK = 0,
    BRICKWORK_NO_DEVICE,        /* ID is not that of the accelerator */
    BRICKWORK_BAD_VERSION,      /* the hardware has another major or minor version than this driver */
    BRICKWORK_BAD_FILE,         /* no program file, damaged, or with a description that cannot be */
    BRICKWORK_BAD_FILE_VERSION, /* program file of another format */
    BRICKWORK_WRONG_HASH,       /* the program was made for another configuration */
    BRICKWORK_MISALIGNED,       /* the buffer's address is no multiple of BRICKWORK_ALIGN, or beyond 32 bits */
    BRICKWORK_TOO_SMALL,        /* the buffer is smaller than brickwork_memory_needed */
    BRICKWORK_NO_TENSOR,        /* no input or output of this number */
    BRICKWORK_WRONG_COUNT,      /* another number of values than the tensor has */
    BRICKWORK_BAD_VALUE,        /* a value that the tensor's type does not have */
    BRICKWORK_NOT_LOADED,       /* no program is loaded */
    BRICKWORK_BUSY,             /* a run is under way */
    BRICKWORK_NEEDS_RESET,      /* an error stopped the machine; only brickwork_reset goes on */
    BRICKWORK_TIMEOUT,          /* not done in time; the run goes on: wait again or reset */
    BRICKWORK_FAILED            /* the machine stopped with an error: brickwork_get_error */
};

/* What a status means, for people. */
const char *brickwork_status_text(enum brickwork_status status);

/*
 * What the board gives. `flush` writes the processor's cached data of a range to memory and returns when they are
 * there; `invalidate` makes the processor read the range from memory again. Both may be NULL where the buffer is not cached
 * (or the port is coherent). `wait` sleeps until the interrupt, at most `us`; NULL: the driver polls.
 */
struct brickwork_bus {
    void *context;
    uint32_t (*read)(void *context, uint32_t offset);
    void (*write)(void *context, uint32_t offset, uint32_t value);
    void (*flush)(void *context, void *start, size_t bytes);
    void (*invalidate)(void *context, void *start, size_t bytes);
    uint64_t (*now_us)(void *context);
    void (*wait)(void *context, uint64_t us);
};

/* A physically contiguous buffer: where the processor sees it, and where the accelerator does. */
struct brickwork_memory {
    uint8_t *data;
    uint64_t address;
    size_t bytes;
};

/* Addresses of the buffer and of each region in it are multiples of this: two cache lines of a Cortex-A9, one of others. */
#define BRICKWORK_ALIGN 64

/* A program file, parsed. It points into the file, which must stay. */
struct brickwork_program {
    uint64_t hash; /* of the configuration */
    const char *info;
    size_t info_bytes;
    const uint8_t *constants;
    size_t constants_bytes;
    const uint8_t *instructions;
    size_t instruction_bytes;
    size_t input_bytes, output_bytes, scratch_bytes;
    unsigned inputs, outputs;
};

/* Most offsets of an axis in an arrangement (`gather`) that the driver takes. */
#define BRICKWORK_MAX_OFFSETS 64

/* Stored position i, offset k is input position i / turns * outer + i % turns * inner + origin + offsets[k]. */
struct brickwork_axis {
    int64_t turns, inner, outer, origin;
    unsigned count;
    int32_t offsets[BRICKWORK_MAX_OFFSETS];
};

/* An input or output. */
struct brickwork_tensor {
    const char *name; /* not terminated, JSON escapes unresolved */
    size_t name_bytes;
    size_t shape[3]; /* height, width, channels; values are in this order */
    size_t count;    /* their product */
    unsigned bits;
    int is_signed;
    int has_scale;   /* real = scale * (code - zero_point); quantized floats of TFLite models have it */
    double scale;
    int32_t zero_point;
    /* How it lies in memory. */
    size_t offset, bytes;
    int planes_form; /* bit-planes, else 32-bit integers */
    size_t stored[3];
    unsigned planes, slots, lanes;
    size_t pitch, channels;
    int gathered;
    struct brickwork_axis rows, columns;
    int32_t pad_code;
};

struct brickwork_error {
    uint32_t code;        /* enum brickwork_error_code */
    uint32_t instruction; /* number of the instruction that failed */
    const char *name;
};

struct brickwork_counters {
    uint64_t cycles;
    uint32_t pass_busy, pass_wait_token, pass_wait_wgt, load_busy, post_busy, wgt_busy;
};

/* The accelerator. */
struct brickwork {
    struct brickwork_bus bus;
    uint64_t hash; /* of its configuration */
    const struct brickwork_program *program;
    struct brickwork_memory memory;
    size_t input, output; /* offsets of the regions in the buffer */
};

/* Reads a program file in memory: magic, version, checksum, description. */
enum brickwork_status brickwork_parse(struct brickwork_program *program, const void *file, size_t bytes);

/* Bytes of the contiguous buffer that brickwork_load needs. */
size_t brickwork_memory_needed(const struct brickwork_program *program);

/* Describes input (`output` 0) or output (1) number `index`. */
enum brickwork_status brickwork_tensor(const struct brickwork_program *program, int output, unsigned index,
                                       struct brickwork_tensor *tensor);

/* Checks identity and version, reads the configuration's hash. A run that somebody left is broken off. */
enum brickwork_status brickwork_open(struct brickwork *device, const struct brickwork_bus *bus);

/* Copies a program into the buffer and tells the machine where it is. */
enum brickwork_status brickwork_load(struct brickwork *device, const struct brickwork_program *program,
                                     const struct brickwork_memory *memory);

/* Packs an input: `count` codes in the order of its shape. */
enum brickwork_status brickwork_set_input(struct brickwork *device, unsigned index, const int32_t *codes, size_t count);

/* Starts a run; brickwork_poll tells in *done whether it has ended; brickwork_wait waits for it; brickwork_run starts and waits. */
enum brickwork_status brickwork_start(struct brickwork *device);
enum brickwork_status brickwork_poll(struct brickwork *device, int *done);
enum brickwork_status brickwork_wait(struct brickwork *device, uint64_t timeout_us);
enum brickwork_status brickwork_run(struct brickwork *device, uint64_t timeout_us);

/* Unpacks an output of the last run. */
enum brickwork_status brickwork_get_output(struct brickwork *device, unsigned index, int32_t *codes, size_t count);

/* Error of the last run (code 0: none) and its counters. */
void brickwork_get_error(struct brickwork *device, struct brickwork_error *error);
void brickwork_get_counters(struct brickwork *device, struct brickwork_counters *counters);

/* Cycles without progress after which the machine stops itself with an error; 0: never. */
void brickwork_set_watchdog(struct brickwork *device, uint32_t cycles);

/* Soft reset: breaks off what runs, waits until no transfer is under way, and sets the registers again. */
enum brickwork_status brickwork_reset(struct brickwork *device, uint64_t timeout_us);

/* Code of a real number, rounded to nearest (ties away from zero, as TFLite) and clamped; real number of a code. For tensors with has_scale. */
int32_t brickwork_quantize(const struct brickwork_tensor *tensor, double real);
double brickwork_dequantize(const struct brickwork_tensor *tensor, int32_t code);

#ifdef __cplusplus
}
#endif
#endif
