/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * model.h : the Verilated accelerator and its memory as a library, for drivers that run on it. Plain C; built by
 * Cosim::library. Memory is the accelerator's side alone: who plays a processor with a cache copies to and fro.
 */
#ifndef BRICKWORK_MODEL_H
#define BRICKWORK_MODEL_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct brickwork_model;

/* Switches the machine on and resets it; `seed` draws what is in registers and memories before. */
struct brickwork_model *brickwork_model_new(int seed);
void brickwork_model_delete(struct brickwork_model *model);

/* Register accesses over AXI-Lite. A response that is not OKAY is a violation. */
uint32_t brickwork_model_read(struct brickwork_model *model, uint32_t offset);
void brickwork_model_write(struct brickwork_model *model, uint32_t offset, uint32_t value);

/* Makes `bytes` bytes of memory at an address; copies into it and out of it. Elsewhere reads give 0, writes are lost. */
void brickwork_model_map(struct brickwork_model *model, uint64_t address, uint64_t bytes);
void brickwork_model_store(struct brickwork_model *model, uint64_t address, const void *from, uint64_t bytes);
void brickwork_model_load(struct brickwork_model *model, uint64_t address, void *to, uint64_t bytes);

/* From now on accesses of these addresses answer with an error; 0 bytes: no address does. */
void brickwork_model_fault(struct brickwork_model *model, uint64_t address, uint64_t bytes);

/* Clock cycles since power-on. */
uint64_t brickwork_model_cycles(const struct brickwork_model *model);

/* Lets the clock run for at most `cycles` cycles, until the interrupt is up; gives whether it is. */
int brickwork_model_step(struct brickwork_model *model, uint64_t cycles);

/* The first broken AXI rule, or "" if there is none. */
const char *brickwork_model_violation(struct brickwork_model *model);

#ifdef __cplusplus
}
#endif
#endif
