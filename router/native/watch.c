/*
 * Readiness: one thread per environment waits in epoll and tells the main thread through one
 * thread-safe function. A descriptor is armed for one event at a time (EPOLLONESHOT) and armed again
 * in the turn of the event loop after its callback: so at most one event per watch is ever queued, a
 * callback that leaves data unread is called again (level triggered), and timers and other descriptors
 * get their turn in between, however much there is to read.
 *
 *   epoll thread: wait ──(number of the watch, hangup)──▶ thread-safe function ──▶ main thread: on_ready
 *        ▲                                                                              │
 *        └────────────── arm again (epoll_ctl): on_turn ◀──────── setImmediate ◀────────┘
 *
 * The table of watches belongs to the main thread alone; the epoll thread knows only numbers. An event
 * of a watch that was stopped meanwhile finds no entry and is dropped.
 */
#include "weft.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define EVENTS_PER_WAIT 64

/* The number that the stop descriptor has in epoll; watches count from 1. */
#define STOP 0u

struct watch {
  uint32_t number;
  int fd;
  bool keep_alive;
  napi_ref ready;
  struct watch *next;
};

struct watcher {
  napi_env env;
  struct watch *watches;
  uint32_t last_number;
  uint32_t keeping_alive;
  /* The thread and its descriptors exist since the first watch. */
  bool running;
  int epoll;
  int stop;
  pthread_t thread;
  napi_threadsafe_function notify;
  /* JavaScript's setImmediate, and what it is to call with the number of a watch. */
  napi_ref set_immediate;
  napi_ref on_turn;
};

/* --- the epoll thread ------------------------------------------------------------------------- */

/* An event in the width of a pointer: the number of the watch, and whether its other side hung up. */
static void *pack(uint32_t number, bool hangup) {
  return (void *)(uintptr_t)((uint64_t)number << 1 | hangup);
}

static void *wait_for_events(void *context) {
  struct watcher *watcher = context;
  struct epoll_event events[EVENTS_PER_WAIT];
  for (bool stopped = false; !stopped;) {
    int count = epoll_wait(watcher->epoll, events, EVENTS_PER_WAIT, -1);
    if (count < 0 && errno != EINTR) break;
    for (int i = 0; i < count; i++) {
      uint32_t number = events[i].data.u32;
      bool hangup = (events[i].events & (EPOLLHUP | EPOLLERR)) != 0;
      if (number == STOP) stopped = true;
      else if (napi_call_threadsafe_function(watcher->notify, pack(number, hangup), napi_tsfn_nonblocking) == napi_closing)
        return NULL;
    }
  }
  napi_release_threadsafe_function(watcher->notify, napi_tsfn_release);
  return NULL;
}

/* --- the main thread -------------------------------------------------------------------------- */

static int arm(const struct watcher *watcher, const struct watch *watch, int operation) {
  struct epoll_event event = {.events = EPOLLIN | EPOLLONESHOT, .data.u32 = watch->number};
  return epoll_ctl(watcher->epoll, operation, watch->fd, &event);
}

/* Where the pointer to the watch of this number is kept; the end of the list when there is none. */
static struct watch **find(struct watcher *watcher, uint32_t number) {
  struct watch **place = &watcher->watches;
  while (*place != NULL && (*place)->number != number) place = &(*place)->next;
  return place;
}

/* An exception in a callback is a bug of ours: it goes where uncaught ones go, not into the event loop's void. */
static void report_exception(napi_env env) {
  bool pending = false;
  napi_value exception;
  if (napi_is_exception_pending(env, &pending) != napi_ok || !pending) return;
  if (napi_get_and_clear_last_exception(env, &exception) == napi_ok) napi_fatal_exception(env, exception);
}

/* The event loop has had a turn since the callback of this watch: arm it again, unless it was stopped. */
static napi_value on_turn(napi_env env, napi_callback_info info) {
  napi_value arguments[1];
  int number;
  struct watcher *watcher;
  if (!weft_arguments(env, info, 1, arguments) || !weft_take_int(env, arguments[0], "watch", &number)) return NULL;
  if (napi_get_instance_data(env, (void **)&watcher) != napi_ok) return NULL;
  struct watch *watch = *find(watcher, (uint32_t)number);
  /* It fails only when the owner closed the descriptor under the watch: then there is nothing to wait for. */
  if (watch != NULL) (void)arm(watcher, watch, EPOLL_CTL_MOD);
  return NULL;
}

static void after_this_turn(struct watcher *watcher, uint32_t number, napi_value receiver) {
  napi_value set_immediate, arguments[2] = {NULL, weft_number(watcher->env, number)};
  if (napi_get_reference_value(watcher->env, watcher->set_immediate, &set_immediate) != napi_ok ||
      napi_get_reference_value(watcher->env, watcher->on_turn, &arguments[0]) != napi_ok ||
      napi_call_function(watcher->env, receiver, set_immediate, 2, arguments, NULL) != napi_ok)
    report_exception(watcher->env);
}

static void on_ready(napi_env env, napi_value unused, void *context, void *data) {
  (void)unused;
  struct watcher *watcher = context;
  uint64_t event = (uint64_t)(uintptr_t)data;
  uint32_t number = (uint32_t)(event >> 1);
  struct watch *watch = *find(watcher, number);
  napi_value ready, hangup, receiver;
  /* Without an environment we are being torn down. */
  if (env == NULL || watch == NULL) return;
  if (napi_get_reference_value(env, watch->ready, &ready) != napi_ok || napi_get_boolean(env, event & 1, &hangup) != napi_ok ||
      napi_get_undefined(env, &receiver) != napi_ok)
    return;
  if (napi_call_function(env, receiver, ready, 1, &hangup, NULL) != napi_ok) report_exception(env);
  if (*find(watcher, number) != NULL) after_this_turn(watcher, number, receiver);
}

static napi_status create_notify(struct watcher *watcher) {
  napi_env env = watcher->env;
  napi_value name, global, set_immediate, turn;
  napi_status status = napi_create_string_utf8(env, "weft:watch", NAPI_AUTO_LENGTH, &name);
  if (status == napi_ok) status = napi_get_global(env, &global);
  if (status == napi_ok) status = napi_get_named_property(env, global, "setImmediate", &set_immediate);
  if (status == napi_ok) status = napi_create_reference(env, set_immediate, 1, &watcher->set_immediate);
  if (status == napi_ok) status = napi_create_function(env, "turn", NAPI_AUTO_LENGTH, on_turn, NULL, &turn);
  if (status == napi_ok) status = napi_create_reference(env, turn, 1, &watcher->on_turn);
  if (status != napi_ok) return status;
  status = napi_create_threadsafe_function(env, NULL, NULL, name, 0, 1, NULL, NULL, watcher, on_ready, &watcher->notify);
  return status == napi_ok ? napi_unref_threadsafe_function(env, watcher->notify) : status;
}

/* Signals are for the main thread: this one takes none. */
static int create_thread(struct watcher *watcher) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  int error = pthread_create(&watcher->thread, NULL, wait_for_events, watcher);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  return error;
}

/*
 * Runs before Node frees the environment, and before the thread-safe function's own clean-up (hooks run
 * newest first): after the join nobody calls into JavaScript any more.
 */
static void stop_thread(void *context) {
  struct watcher *watcher = context;
  uint64_t one = 1;
  if (write(watcher->stop, &one, sizeof one) == sizeof one) pthread_join(watcher->thread, NULL);
  close(watcher->epoll);
  close(watcher->stop);
  watcher->running = false;
}

/* Starts the thread at the first watch. NULL, or the name of the call that failed, with errno. */
static const char *start(struct watcher *watcher) {
  struct epoll_event event = {.events = EPOLLIN, .data.u32 = STOP};
  const char *failed = NULL;
  watcher->epoll = epoll_create1(EPOLL_CLOEXEC);
  watcher->stop = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (watcher->epoll < 0) failed = "epoll_create1";
  else if (watcher->stop < 0) failed = "eventfd";
  else if (epoll_ctl(watcher->epoll, EPOLL_CTL_ADD, watcher->stop, &event) != 0) failed = "epoll_ctl";
  else if (create_notify(watcher) != napi_ok) failed = "napi_create_threadsafe_function", errno = ENOMEM;
  else if ((errno = create_thread(watcher)) != 0) {
    failed = "pthread_create";
    int error = errno;
    napi_release_threadsafe_function(watcher->notify, napi_tsfn_abort);
    errno = error;
  }
  if (failed == NULL) {
    napi_add_env_cleanup_hook(watcher->env, stop_thread, watcher);
    watcher->running = true;
    return NULL;
  }
  int error = errno;
  if (watcher->epoll >= 0) close(watcher->epoll);
  if (watcher->stop >= 0) close(watcher->stop);
  errno = error;
  return failed;
}

static void keep_alive(struct watcher *watcher, int change) {
  watcher->keeping_alive += (uint32_t)change;
  if (change > 0 && watcher->keeping_alive == 1) napi_ref_threadsafe_function(watcher->env, watcher->notify);
  if (change < 0 && watcher->keeping_alive == 0) napi_unref_threadsafe_function(watcher->env, watcher->notify);
}

napi_value weft_watch(napi_env env, napi_callback_info info) {
  napi_value arguments[3];
  napi_valuetype type;
  struct watcher *watcher;
  struct watch *watch = calloc(1, sizeof *watch);
  if (watch == NULL) return weft_throw_errno(env, "calloc", ENOMEM);
  if (!weft_arguments(env, info, 3, arguments) || !weft_take_int(env, arguments[0], "fd", &watch->fd) ||
      !weft_take_bool(env, arguments[1], "keepAlive", &watch->keep_alive))
    goto thrown;
  if (napi_typeof(env, arguments[2], &type) != napi_ok || type != napi_function) {
    weft_throw_type(env, "ready is not a function");
    goto thrown;
  }
  if (napi_get_instance_data(env, (void **)&watcher) != napi_ok) goto thrown;
  const char *failed = watcher->running ? NULL : start(watcher);
  if (failed != NULL) {
    weft_throw_errno(env, failed, errno);
    goto thrown;
  }
  if (napi_create_reference(env, arguments[2], 1, &watch->ready) != napi_ok) goto thrown;
  watch->number = ++watcher->last_number;
  if (arm(watcher, watch, EPOLL_CTL_ADD) != 0) {
    weft_throw_errno(env, "epoll_ctl", errno);
    napi_delete_reference(env, watch->ready);
    goto thrown;
  }
  watch->next = watcher->watches;
  watcher->watches = watch;
  if (watch->keep_alive) keep_alive(watcher, 1);
  return weft_number(env, watch->number);
thrown:
  free(watch);
  return NULL;
}

napi_value weft_unwatch(napi_env env, napi_callback_info info) {
  napi_value arguments[1];
  int number;
  struct watcher *watcher;
  if (!weft_arguments(env, info, 1, arguments) || !weft_take_int(env, arguments[0], "watch", &number)) return NULL;
  if (napi_get_instance_data(env, (void **)&watcher) != napi_ok) return NULL;
  struct watch **place = find(watcher, (uint32_t)number), *watch = *place;
  if (watch == NULL) return weft_undefined(env);
  *place = watch->next;
  /* When the owner closed the descriptor too early, the kernel has removed it already. */
  (void)epoll_ctl(watcher->epoll, EPOLL_CTL_DEL, watch->fd, NULL);
  if (watch->keep_alive) keep_alive(watcher, -1);
  napi_delete_reference(env, watch->ready);
  free(watch);
  return weft_undefined(env);
}

/* The references go with the environment; only the memory is ours. */
static void free_watcher(napi_env env, void *data, void *hint) {
  (void)env;
  (void)hint;
  struct watcher *watcher = data;
  while (watcher->watches != NULL) {
    struct watch *watch = watcher->watches;
    watcher->watches = watch->next;
    free(watch);
  }
  free(watcher);
}

bool weft_watch_init(napi_env env) {
  struct watcher *watcher = calloc(1, sizeof *watcher);
  if (watcher == NULL) return false;
  watcher->env = env;
  if (napi_set_instance_data(env, watcher, free_watcher, NULL) == napi_ok) return true;
  free(watcher);
  return false;
}
