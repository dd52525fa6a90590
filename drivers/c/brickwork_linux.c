/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* brickwork_linux.c : UIO and u-dma-buf. */
#define _POSIX_C_SOURCE 200809L
#include "brickwork_linux.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define REGISTER_BYTES 4096

static uint32_t read_register(void *context, uint32_t offset) {
    struct brickwork_linux *l = context;
    return l->registers[offset / 4];
}

static void write_register(void *context, uint32_t offset, uint32_t value) {
    struct brickwork_linux *l = context;
    __sync_synchronize(); /* what was written to memory is there before the machine is told */
    l->registers[offset / 4] = value;
}

/* u-dma-buf: which part of the buffer, in what direction, for whom: offset (high word), size, direction, 1. */
static void sync_range(struct brickwork_linux *l, int file, const void *start, size_t bytes, unsigned direction) {
    char text[64];
    unsigned long offset = (unsigned long)((const uint8_t *)start - l->memory.data);
    int n = snprintf(text, sizeof text, "0x%08lx%08lx", offset, ((unsigned long)(bytes + 15) & ~15ul) | direction << 2 | 1);
    if (n > 0 && pwrite(file, text, (size_t)n, 0) != n) l->doing = "synchronise the buffer";
}

static void flush(void *context, void *start, size_t bytes) {
    struct brickwork_linux *l = context;
    sync_range(l, l->sync_device, start, bytes, 1); /* 1: to the device */
}

static void invalidate(void *context, void *start, size_t bytes) {
    struct brickwork_linux *l = context;
    sync_range(l, l->sync_cpu, start, bytes, 2); /* 2: from the device */
}

static uint64_t now_us(void *context) {
    struct timespec t;
    (void)context;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* UIO: writing 1 lets the next interrupt through, reading tells how many there were. */
static void wait_interrupt(void *context, uint64_t us) {
    struct brickwork_linux *l = context;
    struct pollfd p;
    uint32_t one = 1, count;
    p.fd = l->uio;
    p.events = POLLIN;
    if (write(l->uio, &one, sizeof one) != sizeof one) return;
    /* It may have come before it was let through. */
    if (l->registers[BRICKWORK_REG_IRQ_STATUS / 4]) return;
    if (poll(&p, 1, (int)(us / 1000 + 1 < 1000000 ? us / 1000 + 1 : 1000000)) > 0) {
        if (read(l->uio, &count, sizeof count) != sizeof count) l->doing = "read the interrupt";
    }
}

/* A number from a file of /sys. */
static int sys_number(const char *buffer, const char *file, unsigned long long *value) {
    char path[128];
    FILE *f;
    int found;
    snprintf(path, sizeof path, "/sys/class/u-dma-buf/%s/%s", buffer, file);
    f = fopen(path, "r");
    if (!f) return -1;
    found = fscanf(f, "%lli", (long long *)value);
    fclose(f);
    if (found != 1) errno = EINVAL;
    return found == 1 ? 0 : -1;
}

static int sys_open(const char *buffer, const char *file) {
    char path[128];
    snprintf(path, sizeof path, "/sys/class/u-dma-buf/%s/%s", buffer, file);
    return open(path, O_WRONLY);
}

static int open_all(struct brickwork_linux *l, const char *uio, const char *buffer) {
    char path[128];
    unsigned long long address, bytes;
    void *map;
    l->doing = "open the UIO device";
    l->uio = open(uio, O_RDWR | O_SYNC);
    if (l->uio < 0) return -1;
    l->doing = "map the registers";
    map = mmap(0, REGISTER_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, l->uio, 0);
    if (map == MAP_FAILED) return -1;
    l->registers = map;
    l->register_bytes = REGISTER_BYTES;
    l->doing = "read the buffer's address and size";
    if (sys_number(buffer, "phys_addr", &address) || sys_number(buffer, "size", &bytes)) return -1;
    l->doing = "open the buffer";
    snprintf(path, sizeof path, "/dev/%s", buffer);
    l->buffer = open(path, O_RDWR);
    l->sync_cpu = sys_open(buffer, "sync_for_cpu");
    l->sync_device = sys_open(buffer, "sync_for_device");
    if (l->buffer < 0 || l->sync_cpu < 0 || l->sync_device < 0) return -1;
    l->doing = "map the buffer";
    map = mmap(0, (size_t)bytes, PROT_READ | PROT_WRITE, MAP_SHARED, l->buffer, 0);
    if (map == MAP_FAILED) return -1;
    l->memory.data = map;
    l->memory.address = address;
    l->memory.bytes = (size_t)bytes;
    l->doing = 0;
    return 0;
}

int brickwork_linux_open(struct brickwork_linux *l, const char *uio, const char *buffer, int irq, struct brickwork_bus *bus) {
    memset(l, 0, sizeof *l);
    l->uio = l->buffer = l->sync_cpu = l->sync_device = -1;
    if (open_all(l, uio, buffer)) {
        int error = errno;
        const char *doing = l->doing;
        brickwork_linux_close(l);
        l->doing = doing;
        errno = error;
        return -1;
    }
    l->interrupts = irq;
    bus->context = l;
    bus->read = read_register;
    bus->write = write_register;
    bus->flush = flush;
    bus->invalidate = invalidate;
    bus->now_us = now_us;
    bus->wait = irq ? wait_interrupt : 0;
    return 0;
}

void brickwork_linux_close(struct brickwork_linux *l) {
    int files[4];
    unsigned i;
    files[0] = l->uio;
    files[1] = l->buffer;
    files[2] = l->sync_cpu;
    files[3] = l->sync_device;
    if (l->registers) munmap((void *)(uintptr_t)l->registers, l->register_bytes);
    if (l->memory.data) munmap(l->memory.data, l->memory.bytes);
    for (i = 0; i < 4; i++) {
        if (files[i] >= 0) close(files[i]);
    }
    memset(l, 0, sizeof *l);
    l->uio = l->buffer = l->sync_cpu = l->sync_device = -1;
}
