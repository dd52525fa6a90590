/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * brickwork_linux.h : the driver's bus and memory on Linux: registers and interrupt by UIO, memory from u-dma-buf (or another
 * driver that maps a physically contiguous buffer with the same files). docs/drivers.md says how to set both up.
 */
#ifndef BRICKWORK_LINUX_H
#define BRICKWORK_LINUX_H

#include "brickwork.h"

#ifdef __cplusplus
extern "C" {
#endif

struct brickwork_linux {
    int uio, buffer, sync_cpu, sync_device;
    volatile uint32_t *registers;
    size_t register_bytes;
    struct brickwork_memory memory;
    int interrupts; /* the UIO device has an interrupt */
    const char *doing; /* what failed; errno says why */
};

/*
 * Opens /dev/uio<N> and /dev/<buffer> (such as "udmabuf0") and fills `bus`. `irq`: wait for interrupts instead of polling.
 * 0, or -1 with errno and linux_bus->doing.
 */
int brickwork_linux_open(struct brickwork_linux *linux_bus, const char *uio, const char *buffer, int irq, struct brickwork_bus *bus);
void brickwork_linux_close(struct brickwork_linux *linux_bus);

#ifdef __cplusplus
}
#endif
#endif
