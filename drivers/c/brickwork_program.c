/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* brickwork_program.c : program files: header, description (JSON, read in place), and how codes lie in memory. */
#include <string.h>

#include "brickwork.h"

#define HEADER_BYTES 32
#define CHECKSUM_BYTES 8
#define FORMAT_VERSION 1
#define INSTRUCTION_BYTES 16
/* Sizes and positions below this can be multiplied without a thought. */
#define SMALL (1 << 24)
#define MAX_ELEMENTS ((uint64_t)1 << 31)

/* ---- JSON, as far as the description goes: a cursor over the text ---- */

struct json {
    const char *at, *end;
    int bad;
};

static void skip_space(struct json *j) {
    while (j->at < j->end && (*j->at == ' ' || *j->at == '\n' || *j->at == '\r' || *j->at == '\t')) j->at++;
}

/* Takes `c` if it is next. */
static int take(struct json *j, char c) {
    skip_space(j);
    if (j->at >= j->end || *j->at != c) return 0;
    j->at++;
    return 1;
}

static void expect(struct json *j, char c) {
    if (!take(j, c)) j->bad = 1;
}

/* A string between its quotes, escapes unresolved. */
static void string(struct json *j, const char **text, size_t *bytes) {
    expect(j, '"');
    *text = j->at;
    while (!j->bad && j->at < j->end && *j->at != '"') j->at += *j->at == '\\' ? 2 : 1;
    if (j->bad || j->at >= j->end) {
        j->bad = 1;
        j->at = j->end;
        *bytes = 0;
        return;
    }
    *bytes = (size_t)(j->at - *text);
    j->at++;
}

static int is(const char *text, size_t bytes, const char *name) { return strlen(name) == bytes && !memcmp(text, name, bytes); }

/* The next key of an object whose brace was taken; `first` tells the first call. False at its end. */
static int key(struct json *j, int *first, const char **text, size_t *bytes) {
    if (j->bad || take(j, '}')) return 0;
    if (!*first) expect(j, ',');
    *first = 0;
    string(j, text, bytes);
    expect(j, ':');
    return !j->bad;
}

/* Whether an array whose bracket was taken has one more element. */
static int element(struct json *j, int *first) {
    if (j->bad || take(j, ']')) return 0;
    if (!*first) expect(j, ',');
    *first = 0;
    return !j->bad;
}

static uint64_t natural(struct json *j) {
    uint64_t n = 0;
    const char *begin;
    skip_space(j);
    for (begin = j->at; j->at < j->end && *j->at >= '0' && *j->at <= '9'; j->at++) {
        unsigned digit = (unsigned)(*j->at - '0');
        if (n > (UINT64_MAX - digit) / 10) j->bad = 1;
        n = n * 10 + digit;
    }
    if (j->at == begin) j->bad = 1;
    return n;
}

/* An integer whose magnitude is below SMALL * 256. */
static int64_t integer(struct json *j) {
    int negative = take(j, '-');
    uint64_t n = natural(j);
    if (n >= (uint64_t)SMALL * 256) j->bad = 1;
    return j->bad ? 0 : negative ? -(int64_t)n : (int64_t)n;
}

/* A size below SMALL. */
static size_t size(struct json *j) {
    uint64_t n = natural(j);
    if (n >= SMALL) j->bad = 1;
    return j->bad ? 0 : (size_t)n;
}

/* A decimal number with fraction and exponent. */
static double decimal(struct json *j) {
    int negative = take(j, '-'), exponent = 0, sign = 1;
    double value = 0;
    const char *begin = j->at;
    for (; j->at < j->end && *j->at >= '0' && *j->at <= '9'; j->at++) value = value * 10 + (*j->at - '0');
    if (j->at == begin) j->bad = 1;
    if (j->at < j->end && *j->at == '.') {
        for (j->at++; j->at < j->end && *j->at >= '0' && *j->at <= '9'; j->at++) {
            value = value * 10 + (*j->at - '0');
            exponent--;
        }
    }
    if (j->at < j->end && (*j->at == 'e' || *j->at == 'E')) {
        int given = 0;
        j->at++;
        if (take(j, '-')) sign = -1;
        else (void)take(j, '+');
        for (; j->at < j->end && *j->at >= '0' && *j->at <= '9' && given < 1000; j->at++) given = given * 10 + (*j->at - '0');
        exponent += sign * given;
    }
    for (; exponent > 0 && exponent < 400; exponent--) value *= 10;
    for (; exponent < 0 && exponent > -400; exponent++) value /= 10;
    return negative ? -value : value;
}

static int boolean(struct json *j) {
    skip_space(j);
    if (j->end - j->at >= 4 && !memcmp(j->at, "true", 4)) {
        j->at += 4;
        return 1;
    }
    if (j->end - j->at >= 5 && !memcmp(j->at, "false", 5)) j->at += 5;
    else j->bad = 1;
    return 0;
}

/* Passes over one value of any kind. */
static void skip(struct json *j) {
    unsigned depth = 0;
    do {
        const char *text;
        size_t bytes;
        skip_space(j);
        if (j->at >= j->end) {
            j->bad = 1;
            return;
        }
        if (*j->at == '"') {
            string(j, &text, &bytes);
        } else if (*j->at == '{' || *j->at == '[') {
            depth++;
            j->at++;
        } else if (*j->at == '}' || *j->at == ']') {
            if (depth == 0) j->bad = 1;
            else depth--;
            j->at++;
        } else if (*j->at == ',' || *j->at == ':') {
            if (depth == 0) j->bad = 1;
            j->at++;
        } else {
            const char *begin = j->at;
            while (j->at < j->end && !strchr(",:]}[{\" \n\r\t", *j->at)) j->at++;
            if (j->at == begin) j->bad = 1;
        }
    } while (depth && !j->bad);
}

/* ---- the description ---- */

static void shape(struct json *j, size_t out[3]) {
    int first = 1;
    unsigned n = 0;
    expect(j, '[');
    while (element(j, &first)) {
        size_t value = size(j);
        if (n < 3) out[n] = value;
        n++;
    }
    if (n != 3) j->bad = 1;
}

static void int_type(struct json *j, unsigned *bits, int *is_signed) {
    const char *k;
    size_t n;
    int first = 1;
    expect(j, '{');
    while (key(j, &first, &k, &n)) {
        if (is(k, n, "bits")) *bits = (unsigned)size(j);
        else if (is(k, n, "signed")) *is_signed = boolean(j);
        else skip(j);
    }
}

static void planes_form(struct json *j, struct brickwork_tensor *t) {
    const char *k;
    size_t n;
    int first = 1;
    t->planes_form = 1;
    expect(j, '{');
    while (key(j, &first, &k, &n)) {
        if (is(k, n, "shape")) shape(j, t->stored);
        else if (is(k, n, "planes")) t->planes = (unsigned)size(j);
        else if (is(k, n, "slots")) t->slots = (unsigned)size(j);
        else if (is(k, n, "lanes")) t->lanes = (unsigned)size(j);
        else skip(j);
    }
}

static void int_form(struct json *j, struct brickwork_tensor *t) {
    const char *k;
    size_t n;
    int first = 1;
    t->planes_form = 0;
    expect(j, '{');
    while (key(j, &first, &k, &n)) {
        if (is(k, n, "pitch")) t->pitch = size(j);
        else if (is(k, n, "channels")) t->channels = size(j);
        else skip(j);
    }
}

static void form(struct json *j, struct brickwork_tensor *t) {
    const char *k;
    size_t n;
    int first = 1;
    expect(j, '{');
    while (key(j, &first, &k, &n)) {
        if (is(k, n, "Planes")) planes_form(j, t);
        else if (is(k, n, "Int32")) int_form(j, t);
        else j->bad = 1;
    }
}

static void axis(struct json *j, struct brickwork_axis *a) {
    const char *k;
    size_t n;
    int first = 1;
    expect(j, '{');
    while (key(j, &first, &k, &n)) {
        if (is(k, n, "turns")) a->turns = (int64_t)size(j);
        else if (is(k, n, "inner")) a->inner = (int64_t)size(j);
        else if (is(k, n, "outer")) a->outer = (int64_t)size(j);
        else if (is(k, n, "origin")) a->origin = integer(j);
        else if (is(k, n, "offsets")) {
            int begin = 1;
            expect(j, '[');
            while (element(j, &begin)) {
                size_t offset = size(j);
                if (a->count < BRICKWORK_MAX_OFFSETS) a->offsets[a->count++] = (int32_t)offset;
                else j->bad = 1;
            }
        } else skip(j);
    }
    if (a->turns < 1) j->bad = 1;
}

static void gather(struct json *j, struct brickwork_tensor *t) {
    const char *k;
    size_t n;
    int first = 1;
    t->gathered = 1;
    expect(j, '{');
    while (key(j, &first, &k, &n)) {
        if (is(k, n, "rows")) axis(j, &t->rows);
        else if (is(k, n, "cols")) axis(j, &t->columns);
        else if (is(k, n, "pad_code")) t->pad_code = (int32_t)integer(j);
        else skip(j);
    }
}

static void quant(struct json *j, struct brickwork_tensor *t) {
    const char *k;
    size_t n;
    int first = 1;
    t->has_scale = 1;
    expect(j, '{');
    while (key(j, &first, &k, &n)) {
        if (is(k, n, "scale")) t->scale = decimal(j);
        else if (is(k, n, "zero_point")) t->zero_point = (int32_t)integer(j);
        else skip(j);
    }
    if (!(t->scale > 0)) j->bad = 1;
}

/* Number of elements; 0 where it is not sensible. */
static uint64_t elements(const size_t s[3]) {
    uint64_t n = (uint64_t)s[0] * s[1];
    if (!s[0] || !s[1] || !s[2] || n >= MAX_ELEMENTS || n * s[2] >= MAX_ELEMENTS) return 0;
    return n * s[2];
}

static size_t beats_per_bank_word(unsigned lanes) { return (4 * lanes + 63) / 64; }

/* Plane-words from one pixel to the next. */
static size_t pixel_words(const struct brickwork_tensor *t) { return (t->stored[2] + t->lanes - 1) / t->lanes * t->slots; }

/* What packing and unpacking rely on; sets count and bytes. */
static int sound(struct brickwork_tensor *t, size_t limit) {
    uint64_t count = elements(t->shape), bytes;
    if (!count || t->bits < 1 || t->bits > 32) return 0;
    if (t->planes_form) {
        uint64_t stored = elements(t->stored);
        uint64_t taps = t->gathered ? (uint64_t)t->rows.count * t->columns.count : 1;
        if (!stored || t->planes < 1 || t->planes > 16 || t->slots < t->planes || t->slots > 16) return 0;
        if (t->lanes < 1 || t->lanes > 32) return 0;
        if (t->gathered ? taps * t->shape[2] != t->stored[2] : count != stored) return 0;
        bytes = (uint64_t)t->stored[0] * t->stored[1] * pixel_words(t);
        bytes = (bytes + 3) / 4 * beats_per_bank_word(t->lanes) * 8;
    } else {
        if (!t->channels || t->channels > t->pitch || count % t->channels || t->gathered) return 0;
        bytes = count / t->channels * t->pitch * 4;
    }
    t->count = (size_t)count;
    t->bytes = (size_t)bytes;
    return t->offset <= limit && bytes <= limit - t->offset;
}

static void tensor(struct json *j, struct brickwork_tensor *t, size_t limit) {
    const char *k;
    size_t n;
    int first = 1;
    memset(t, 0, sizeof *t);
    expect(j, '{');
    while (key(j, &first, &k, &n)) {
        if (is(k, n, "name")) string(j, &t->name, &t->name_bytes);
        else if (is(k, n, "shape")) shape(j, t->shape);
        else if (is(k, n, "ty")) int_type(j, &t->bits, &t->is_signed);
        else if (is(k, n, "offset")) t->offset = (size_t)natural(j);
        else if (is(k, n, "form")) form(j, t);
        else if (is(k, n, "gather")) gather(j, t);
        else if (is(k, n, "quant")) quant(j, t);
        else skip(j);
    }
    if (!j->bad && !sound(t, limit)) j->bad = 1;
}

/* Goes through a list of tensors; keeps number `wanted`, if there is one. Gives how many there are. */
static unsigned tensors(struct json *j, size_t limit, unsigned wanted, struct brickwork_tensor *found) {
    struct brickwork_tensor t;
    unsigned n = 0;
    int first = 1;
    expect(j, '[');
    while (element(j, &first)) {
        tensor(j, &t, limit);
        if (n == wanted && found) *found = t;
        n++;
    }
    return n;
}

/* The value of a key of the description. */
static struct json find(const struct brickwork_program *p, const char *name) {
    struct json j;
    const char *k;
    size_t n;
    int first = 1;
    j.at = p->info;
    j.end = p->info + p->info_bytes;
    j.bad = 0;
    expect(&j, '{');
    while (key(&j, &first, &k, &n)) {
        if (is(k, n, name)) return j;
        skip(&j);
    }
    j.bad = 1;
    return j;
}

static size_t find_size(const struct brickwork_program *p, const char *name, int *bad) {
    struct json j = find(p, name);
    uint64_t n = natural(&j);
    if (j.bad || n >= (uint64_t)1 << 32) *bad = 1;
    return *bad ? 0 : (size_t)n;
}

static uint64_t little_endian(const uint8_t *p, unsigned bytes) {
    uint64_t value = 0;
    unsigned i;
    for (i = 0; i < bytes; i++) value |= (uint64_t)p[i] << (8 * i);
    return value;
}

static uint64_t fnv(const uint8_t *p, size_t bytes) {
    uint64_t hash = 0xcbf29ce484222325u;
    size_t i;
    for (i = 0; i < bytes; i++) hash = (hash ^ p[i]) * 0x00000100000001b3u;
    return hash;
}

enum brickwork_status brickwork_parse(struct brickwork_program *program, const void *file, size_t bytes) {
    const uint8_t *f = file;
    uint64_t info, constants, instructions, rest;
    struct json hash;
    int bad = 0;
    memset(program, 0, sizeof *program);
    if (bytes < HEADER_BYTES + CHECKSUM_BYTES || memcmp(f, "BWP", 4)) return BRICKWORK_BAD_FILE;
    if (little_endian(f + 4, 4) != FORMAT_VERSION) return BRICKWORK_BAD_FILE_VERSION;
    if (fnv(f, bytes - CHECKSUM_BYTES) != little_endian(f + bytes - CHECKSUM_BYTES, 8)) return BRICKWORK_BAD_FILE;
    info = little_endian(f + 8, 8);
    constants = little_endian(f + 16, 8);
    instructions = little_endian(f + 24, 8);
    rest = bytes - HEADER_BYTES - CHECKSUM_BYTES;
    if (info > rest || constants > rest - info || instructions > rest / INSTRUCTION_BYTES) return BRICKWORK_BAD_FILE;
    if (rest - info - constants != instructions * INSTRUCTION_BYTES) return BRICKWORK_BAD_FILE;
    program->info = (const char *)f + HEADER_BYTES;
    program->info_bytes = (size_t)info;
    program->constants = f + HEADER_BYTES + info;
    program->constants_bytes = (size_t)constants;
    program->instructions = program->constants + constants;
    program->instruction_bytes = (size_t)instructions * INSTRUCTION_BYTES;
    hash = find(program, "arch_hash");
    program->hash = natural(&hash);
    program->input_bytes = find_size(program, "input_bytes", &bad);
    program->output_bytes = find_size(program, "output_bytes", &bad);
    program->scratch_bytes = find_size(program, "scratch_bytes", &bad);
    if (hash.bad || bad) return BRICKWORK_BAD_FILE;
    {
        struct json inputs = find(program, "inputs"), outputs = find(program, "outputs");
        program->inputs = tensors(&inputs, program->input_bytes, 0, 0);
        program->outputs = tensors(&outputs, program->output_bytes, 0, 0);
        if (inputs.bad || outputs.bad) return BRICKWORK_BAD_FILE;
    }
    return BRICKWORK_OK;
}

enum brickwork_status brickwork_tensor(const struct brickwork_program *program, int output, unsigned index,
                                       struct brickwork_tensor *t) {
    struct json j = find(program, output ? "outputs" : "inputs");
    if (index >= (output ? program->outputs : program->inputs)) return BRICKWORK_NO_TENSOR;
    tensors(&j, output ? program->output_bytes : program->input_bytes, index, t);
    return j.bad ? BRICKWORK_BAD_FILE : BRICKWORK_OK;
}

/* ---- values ---- */

static int in_range(const struct brickwork_tensor *t, int32_t code) {
    int64_t lo = t->is_signed ? -((int64_t)1 << (t->bits - 1)) : 0;
    int64_t hi = ((int64_t)1 << (t->bits - (t->is_signed ? 1 : 0))) - 1;
    return code >= lo && code <= hi;
}

/* Byte and bit of lane `lane` of a plane-word. */
static size_t plane_bit(const struct brickwork_tensor *t, size_t word, size_t lane, unsigned *bit) {
    size_t at = word % 4 * t->lanes + lane;
    *bit = (unsigned)(at % 8);
    return word / 4 * beats_per_bank_word(t->lanes) * 8 + at / 8;
}

/* First plane-word of a channel of a stored pixel. */
static size_t channel_word(const struct brickwork_tensor *t, size_t pixel, size_t channel) {
    return pixel * pixel_words(t) + channel / t->lanes * t->slots;
}

static void put_planes(const struct brickwork_tensor *t, uint8_t *to, size_t pixel, size_t channel, int32_t code) {
    unsigned p, bit;
    for (p = 0; p < t->planes; p++) {
        size_t byte = plane_bit(t, channel_word(t, pixel, channel) + p, channel % t->lanes, &bit);
        if ((uint32_t)code >> (t->planes - 1 - p) & 1) to[byte] |= (uint8_t)(1u << bit);
    }
}

static int32_t get_planes(const struct brickwork_tensor *t, const uint8_t *from, size_t pixel, size_t channel) {
    uint32_t code = 0, sign = (uint32_t)1 << (t->planes - 1);
    unsigned p, bit;
    for (p = 0; p < t->planes; p++) {
        size_t byte = plane_bit(t, channel_word(t, pixel, channel) + p, channel % t->lanes, &bit);
        code = code << 1 | (from[byte] >> bit & 1);
    }
    return t->is_signed && (code & sign) ? (int32_t)code - (int32_t)(sign << 1) : (int32_t)code;
}

/* Input position of offset k of stored position i, or -1 outside. */
static int64_t source(const struct brickwork_axis *a, size_t i, unsigned k, size_t limit) {
    int64_t n = (int64_t)i, at = n / a->turns * a->outer + n % a->turns * a->inner + a->origin + a->offsets[k];
    return at >= 0 && at < (int64_t)limit ? at : -1;
}

static void put_gathered(const struct brickwork_tensor *t, uint8_t *to, const int32_t *codes) {
    size_t y, x, c;
    unsigned r, k;
    for (y = 0; y < t->stored[0]; y++) {
        for (x = 0; x < t->stored[1]; x++) {
            size_t channel = 0;
            for (r = 0; r < t->rows.count; r++) {
                for (k = 0; k < t->columns.count; k++) {
                    int64_t row = source(&t->rows, y, r, t->shape[0]), column = source(&t->columns, x, k, t->shape[1]);
                    int inside = row >= 0 && column >= 0;
                    const int32_t *pixel = codes + (inside ? ((size_t)row * t->shape[1] + (size_t)column) * t->shape[2] : 0);
                    for (c = 0; c < t->shape[2]; c++)
                        put_planes(t, to, y * t->stored[1] + x, channel++, inside ? pixel[c] : t->pad_code);
                }
            }
        }
    }
}

enum brickwork_status brickwork_set_input(struct brickwork *device, unsigned index, const int32_t *codes, size_t count) {
    struct brickwork_tensor t;
    enum brickwork_status status;
    uint8_t *to;
    size_t i;
    if (!device->program) return BRICKWORK_NOT_LOADED;
    status = brickwork_tensor(device->program, 0, index, &t);
    if (status) return status;
    if (count != t.count) return BRICKWORK_WRONG_COUNT;
    for (i = 0; i < count; i++) {
        if (!in_range(&t, codes[i])) return BRICKWORK_BAD_VALUE;
    }
    to = device->memory.data + device->input + t.offset;
    memset(to, 0, t.bytes);
    if (t.gathered) {
        put_gathered(&t, to, codes);
        return BRICKWORK_OK;
    }
    for (i = 0; i < count; i++) {
        if (t.planes_form) put_planes(&t, to, i / t.stored[2], i % t.stored[2], codes[i]);
        else {
            uint32_t code = (uint32_t)codes[i];
            size_t at = (i / t.channels * t.pitch + i % t.channels) * 4;
            unsigned b;
            for (b = 0; b < 4; b++) to[at + b] = (uint8_t)(code >> (8 * b));
        }
    }
    return BRICKWORK_OK;
}

enum brickwork_status brickwork_get_output(struct brickwork *device, unsigned index, int32_t *codes, size_t count) {
    struct brickwork_tensor t;
    enum brickwork_status status;
    const uint8_t *from;
    size_t i;
    if (!device->program) return BRICKWORK_NOT_LOADED;
    status = brickwork_tensor(device->program, 1, index, &t);
    if (status) return status;
    if (count != t.count) return BRICKWORK_WRONG_COUNT;
    from = device->memory.data + device->output + t.offset;
    for (i = 0; i < count; i++) {
        if (t.planes_form) codes[i] = get_planes(&t, from, i / t.stored[2], i % t.stored[2]);
        else codes[i] = (int32_t)little_endian(from + (i / t.channels * t.pitch + i % t.channels) * 4, 4);
    }
    return BRICKWORK_OK;
}

int32_t brickwork_quantize(const struct brickwork_tensor *t, double real) {
    int64_t lo = t->is_signed ? -((int64_t)1 << (t->bits - 1)) : 0;
    int64_t hi = ((int64_t)1 << (t->bits - (t->is_signed ? 1 : 0))) - 1;
    double x = real / t->scale, limit = 4294967296.0;
    int64_t n;
    if (!(x > -limit)) return (int32_t)lo; /* and NaN */
    if (x >= limit) return (int32_t)hi;
    n = (int64_t)(x < 0 ? x - 0.5 : x + 0.5) + t->zero_point;
    return (int32_t)(n < lo ? lo : n > hi ? hi : n);
}

double brickwork_dequantize(const struct brickwork_tensor *t, int32_t code) { return t->scale * ((double)code - t->zero_point); }
