/* Frames that wait for their time, the next one first, and of one time in the order of their coming. Bounded in frames and bytes. */
#ifndef WEFT_QUEUE_H
#define WEFT_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* 20 ms of a link of 10 Gbit/s. What is beyond has nowhere to wait, as in a real switch. */
#define QUEUE_FRAMES_MAX 32768
#define QUEUE_BYTES_MAX (32u * 1024 * 1024)

struct frame {
  uint64_t due_ns, number;
  size_t length;
  uint8_t bytes[];
};

/* A binary heap. */
struct queue {
  struct frame *frames[QUEUE_FRAMES_MAX];
  size_t count, bytes;
  uint64_t numbered;
};

static inline bool is_before(const struct frame *one, const struct frame *other) {
  return one->due_ns < other->due_ns || (one->due_ns == other->due_ns && one->number < other->number);
}

/* A copy of `bytes`. False when there is no room. */
static inline bool queue_push(struct queue *queue, uint64_t due_ns, const uint8_t *bytes, size_t length) {
  if (queue->count == QUEUE_FRAMES_MAX || queue->bytes + length > QUEUE_BYTES_MAX) return false;
  struct frame *frame = malloc(sizeof *frame + length);
  if (frame == NULL) return false;
  *frame = (struct frame){.due_ns = due_ns, .number = queue->numbered++, .length = length};
  memcpy(frame->bytes, bytes, length);
  size_t place = queue->count++;
  for (; place > 0 && is_before(frame, queue->frames[(place - 1) / 2]); place = (place - 1) / 2) {
    queue->frames[place] = queue->frames[(place - 1) / 2];
  }
  queue->frames[place] = frame;
  queue->bytes += length;
  return true;
}

/* The next one, which stays; NULL when nothing waits. */
static inline struct frame *queue_first(const struct queue *queue) {
  return queue->count == 0 ? NULL : queue->frames[0];
}

/* Takes the next one away; there must be one. */
static inline void queue_drop_first(struct queue *queue) {
  queue->bytes -= queue->frames[0]->length;
  free(queue->frames[0]);
  struct frame *last = queue->frames[--queue->count];
  size_t place = 0;
  for (size_t child; (child = 2 * place + 1) < queue->count; place = child) {
    if (child + 1 < queue->count && is_before(queue->frames[child + 1], queue->frames[child])) child++;
    if (!is_before(queue->frames[child], last)) break;
    queue->frames[place] = queue->frames[child];
  }
  if (queue->count > 0) queue->frames[place] = last;
}

#endif
