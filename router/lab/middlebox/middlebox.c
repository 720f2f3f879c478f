/*
 * A bad stretch of cable: carries Ethernet frames between two devices, both ways, and loses, delays, repeats, reorders and slows
 * down as it is told. It stands in for netem, which not every kernel has.
 *
 *     weft-middlebox NEAR FAR COUNTERS SEED LOSS DUPLICATE REORDER DELAY RATE
 *
 * LOSS, DUPLICATE and REORDER are parts per million, of each direction; DELAY is in microseconds, RATE in kbit/s or 0. Whatever is
 * behind the two devices must be kept from handling the frames by itself. It runs until it is killed or a device is gone.
 *
 * A frame that left a socket of this machine may lack its checksum, as the device is thought to add it. The header that comes and
 * goes with each frame (struct virtio_net_hdr) says so, and the next device hears it again; super-frames of segmentation offload
 * would pass the same way, as one. The lab turns that offload off on these cables, so that a loss is the loss of one packet.
 *
 * COUNTERS is a file of 64-bit words in the machine's order, mapped, so that reading costs us nothing: first 1 once frames pass,
 * then for NEAR to FAR and for FAR to NEAR what `struct counters` has.
 */
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netpacket/packet.h>
#include <poll.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "fate.h"
#include "queue.h"

#define ETHERTYPE_ALL 0x0003
#define OPTION_STATISTICS 6
#define OPTION_VNET_HEADER 15
#define OPTION_IGNORE_OUTGOING 23
#define VNET_HEADER_BYTES 10
#define FRAME_BYTES_MAX (VNET_HEADER_BYTES + 18 + 65536)

#define SOCKET_BUFFER_BYTES (8 * 1024 * 1024)
/* Frames read before others get their turn. */
#define BATCH 256
#define NS_PER_US 1000u
#define NS_PER_S 1000000000u
/* How much later a frame comes that others are to overtake. */
#define REORDER_NS (5u * 1000 * NS_PER_US)
/* A frame that would wait longer for the link to be free is dropped, as by a switch with a short queue. */
#define RATE_WAIT_NS (100u * 1000 * NS_PER_US)

struct counters {
  uint64_t received, sent, lost, duplicated, reordered, overflowed;
};

struct counter_file {
  uint64_t is_ready;
  struct counters directions[2];
};

struct settings {
  struct chances chances;
  uint64_t delay_ns, rate_bits;
};

struct direction {
  int from, to;
  uint64_t random;
  /* When the link will have sent all that it was given; for a rate. */
  uint64_t free_ns;
  bool is_blocked;
  struct counters *counters;
  struct queue queue;
};

static const char *device_names[2];
static struct direction directions[2];

static _Noreturn void fail(const char *what) {
  fprintf(stderr, "weft-middlebox: %s: %s\n", what, strerror(errno));
  exit(1);
}

static uint64_t number(const char *text, uint64_t max) {
  char *end;
  errno = 0;
  unsigned long long value = strtoull(text, &end, 10);
  if (errno == 0 && *text >= '0' && *text <= '9' && *end == '\0' && value <= max) return value;
  errno = EINVAL;
  fail(text);
}

static uint64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

static void set(int socket, int level, int option, int value) {
  if (setsockopt(socket, level, option, &value, sizeof value) < 0) fail("setsockopt");
}

/* Gets and sends the frames of one device, without those that we send ourselves. */
static int open_device(const char *name) {
  unsigned index = if_nametoindex(name);
  if (index == 0) fail(name);
  int device = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (device < 0) fail("socket");
  set(device, SOL_PACKET, OPTION_VNET_HEADER, 1);
  set(device, SOL_PACKET, OPTION_IGNORE_OUTGOING, 1);
  set(device, SOL_SOCKET, SO_RCVBUFFORCE, SOCKET_BUFFER_BYTES);
  set(device, SOL_SOCKET, SO_SNDBUFFORCE, SOCKET_BUFFER_BYTES);
  struct sockaddr_ll address = {.sll_family = AF_PACKET, .sll_protocol = htons(ETHERTYPE_ALL), .sll_ifindex = (int)index};
  if (bind(device, (struct sockaddr *)&address, sizeof address) < 0) fail(name);
  return device;
}

static struct counter_file *map_counters(const char *path) {
  int file = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (file < 0 || ftruncate(file, sizeof(struct counter_file)) < 0) fail(path);
  struct counter_file *counters = mmap(NULL, sizeof *counters, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (counters == MAP_FAILED) fail(path);
  close(file);
  return counters;
}

/* A device that is down comes back; one that is gone does not. */
static void after_device_error(void) {
  if (if_nametoindex(device_names[0]) == 0 || if_nametoindex(device_names[1]) == 0) exit(0);
}

/* Sends what is due. Returns when the next frame will be, or UINT64_MAX. */
static uint64_t flush(struct direction *direction) {
  uint64_t now = now_ns();
  direction->is_blocked = false;
  for (struct frame *frame; (frame = queue_first(&direction->queue)) != NULL; queue_drop_first(&direction->queue)) {
    if (frame->due_ns > now && frame->due_ns > (now = now_ns())) return frame->due_ns;
    if (send(direction->to, frame->bytes, frame->length, 0) >= 0) {
      direction->counters->sent++;
    } else if (errno == EAGAIN || errno == EINTR) {
      direction->is_blocked = true;
      return UINT64_MAX;
    } else {
      /* Too big for the device, or the device is down: as a switch has it. */
      direction->counters->overflowed++;
      after_device_error();
    }
  }
  return UINT64_MAX;
}

static void enqueue(struct direction *direction, const struct settings *settings, const uint8_t *bytes, size_t length, uint64_t extra_ns) {
  uint64_t due_ns = now_ns();
  if (settings->rate_bits > 0) {
    uint64_t start_ns = direction->free_ns > due_ns ? direction->free_ns : due_ns;
    if (start_ns - due_ns > RATE_WAIT_NS) {
      direction->counters->overflowed++;
      return;
    }
    direction->free_ns = due_ns = start_ns + (length - VNET_HEADER_BYTES) * 8 * NS_PER_S / settings->rate_bits;
  }
  if (!queue_push(&direction->queue, due_ns + settings->delay_ns + extra_ns, bytes, length)) direction->counters->overflowed++;
}

static void take(struct direction *direction, const struct settings *settings, const uint8_t *bytes, size_t length) {
  struct fate fate = next_fate(&direction->random, &settings->chances);
  direction->counters->received++;
  if (fate.is_lost) {
    direction->counters->lost++;
    return;
  }
  if (fate.is_reordered) direction->counters->reordered++;
  enqueue(direction, settings, bytes, length, fate.is_reordered ? REORDER_NS : 0);
  if (!fate.is_duplicated) return;
  direction->counters->duplicated++;
  enqueue(direction, settings, bytes, length, 0);
}

/* What the kernel had to drop, as we came too late. Reading sets its counters to zero. */
static void count_missed(struct direction *direction) {
  struct {
    unsigned packets, drops;
  } missed;
  socklen_t length = sizeof missed;
  if (getsockopt(direction->from, SOL_PACKET, OPTION_STATISTICS, &missed, &length) == 0) direction->counters->overflowed += missed.drops;
}

static void receive(struct direction *direction, const struct settings *settings) {
  static uint8_t bytes[FRAME_BYTES_MAX];
  for (int count = 0; count < BATCH; count++) {
    ssize_t length = recv(direction->from, bytes, sizeof bytes, 0);
    if (length > VNET_HEADER_BYTES) {
      take(direction, settings, bytes, (size_t)length);
    } else if (length < 0) {
      if (errno != EAGAIN && errno != EINTR) after_device_error();
      break;
    }
  }
  count_missed(direction);
}

static _Noreturn void run(const struct settings *settings) {
  for (;;) {
    uint64_t next_ns[2] = {flush(&directions[0]), flush(&directions[1])};
    uint64_t due_ns = next_ns[0] < next_ns[1] ? next_ns[0] : next_ns[1];
    struct pollfd devices[2];
    for (int i = 0; i < 2; i++) {
      short writable = directions[1 - i].is_blocked ? POLLOUT : 0;
      devices[i] = (struct pollfd){.fd = directions[i].from, .events = (short)(POLLIN | writable)};
    }
    uint64_t now = now_ns(), wait_ns = due_ns > now ? due_ns - now : 0;
    struct timespec wait = {.tv_sec = (time_t)(wait_ns / NS_PER_S), .tv_nsec = (long)(wait_ns % NS_PER_S)};
    if (ppoll(devices, 2, due_ns == UINT64_MAX ? NULL : &wait, NULL) < 0 && errno != EINTR) fail("ppoll");
    for (int i = 0; i < 2; i++) {
      if (devices[i].revents & ~POLLOUT) receive(&directions[i], settings);
    }
  }
}

int main(int argc, char **argv) {
  if (argc != 10) {
    fprintf(stderr, "usage: weft-middlebox NEAR FAR COUNTERS SEED LOSS DUPLICATE REORDER DELAY RATE\n");
    return 2;
  }
  uint64_t seed = number(argv[4], UINT32_MAX);
  struct settings settings = {
      .chances = {.loss_ppm = (uint32_t)number(argv[5], PARTS_PER_MILLION),
                  .duplicate_ppm = (uint32_t)number(argv[6], PARTS_PER_MILLION),
                  .reorder_ppm = (uint32_t)number(argv[7], PARTS_PER_MILLION)},
      .delay_ns = number(argv[8], UINT32_MAX) * NS_PER_US,
      .rate_bits = number(argv[9], UINT32_MAX) * 1000,
  };
  /* Delays are exact to some microseconds; the default is 50. */
  prctl(PR_SET_TIMERSLACK, NS_PER_US);
  struct counter_file *counters = map_counters(argv[3]);
  for (int i = 0; i < 2; i++) {
    device_names[i] = argv[1 + i];
    directions[i].from = directions[1 - i].to = open_device(argv[1 + i]);
    directions[i].counters = &counters->directions[i];
  }
  directions[0].random = seed;
  directions[1].random = ~seed;
  counters->is_ready = 1;
  run(&settings);
}
