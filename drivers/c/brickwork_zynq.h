/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * brickwork_zynq.h : the driver's bus on a Zynq-7000 without an operating system, with the standalone BSP of Vitis
 * (xil_io.h, xil_cache.h, xtime_l.h). The buffer is any array in DDR memory: addresses are physical.
 *
 *     static uint8_t buffer[1 << 20] __attribute__((aligned(BRICKWORK_ALIGN)));
 *     struct brickwork_bus bus;
 *     struct brickwork_memory memory;
 *     brickwork_zynq(0x43C00000, buffer, sizeof buffer, &bus, &memory);
 */
#ifndef BRICKWORK_ZYNQ_H
#define BRICKWORK_ZYNQ_H

#include <xil_cache.h>
#include <xil_io.h>
#include <xtime_l.h>

#include "brickwork.h"

static inline uint32_t brickwork_zynq_read(void *context, uint32_t offset) { return Xil_In32((UINTPTR)context + offset); }

static inline void brickwork_zynq_write(void *context, uint32_t offset, uint32_t value) {
    Xil_Out32((UINTPTR)context + offset, value);
}

/* HP ports do not see the caches: both levels are written back, or dropped. The BSP's functions wait until it is done. */
static inline void brickwork_zynq_flush(void *context, void *start, size_t bytes) {
    (void)context;
    Xil_DCacheFlushRange((INTPTR)start, (uint32_t)bytes);
}

static inline void brickwork_zynq_invalidate(void *context, void *start, size_t bytes) {
    (void)context;
    Xil_DCacheInvalidateRange((INTPTR)start, (uint32_t)bytes);
}

static inline uint64_t brickwork_zynq_now_us(void *context) {
    XTime t;
    (void)context;
    XTime_GetTime(&t);
    return t / (COUNTS_PER_SECOND / 1000000);
}

static inline void brickwork_zynq(uintptr_t registers, void *buffer, size_t bytes, struct brickwork_bus *bus,
                                  struct brickwork_memory *memory) {
    bus->context = (void *)registers;
    bus->read = brickwork_zynq_read;
    bus->write = brickwork_zynq_write;
    bus->flush = brickwork_zynq_flush;
    bus->invalidate = brickwork_zynq_invalidate;
    bus->now_us = brickwork_zynq_now_us;
    bus->wait = 0;
    memory->data = buffer;
    memory->address = (uintptr_t)buffer;
    memory->bytes = bytes;
}

#endif
