/*
 * What becomes of a frame: decided by a sequence of numbers that a seed makes, three for each frame whatever is asked for, so that
 * the same seed gives the n-th frame of a direction the same fate each time, and one setting does not change what another one does.
 */
#ifndef WEFT_FATE_H
#define WEFT_FATE_H

#include <stdbool.h>
#include <stdint.h>

#define PARTS_PER_MILLION 1000000u

struct chances {
  uint32_t loss_ppm, duplicate_ppm, reorder_ppm;
};

struct fate {
  bool is_lost, is_duplicated, is_reordered;
};

/* splitmix64 (Steele, Lea and Flood, 2014): its upper 32 bits. */
static inline uint32_t draw(uint64_t *state) {
  uint64_t mixed = *state += 0x9e3779b97f4a7c15u;
  mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9u;
  mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebu;
  return (uint32_t)((mixed ^ (mixed >> 31)) >> 32);
}

static inline bool happens(uint64_t *state, uint32_t ppm) {
  return ((uint64_t)draw(state) * PARTS_PER_MILLION) >> 32 < ppm;
}

static inline struct fate next_fate(uint64_t *state, const struct chances *chances) {
  struct fate fate;
  fate.is_lost = happens(state, chances->loss_ppm);
  fate.is_duplicated = happens(state, chances->duplicate_ppm);
  fate.is_reordered = happens(state, chances->reorder_ppm);
  return fate;
}

#endif
