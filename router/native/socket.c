/* Sockets: making them (in another network namespace, too), options, addresses, closing. */
#include "weft.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/* Longer than any socket option that the kernel has for us. */
#define OPTION_BYTES_MAX 4096

/*
 * Moves this thread into `netns` and says in `home` how to come back. Nothing else runs on this thread
 * until `leave`, and other threads are not touched: setns(2) with CLONE_NEWNET is per thread.
 */
static int enter(int netns, int *home) {
  *home = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
  if (*home < 0) return -1;
  if (setns(netns, CLONE_NEWNET) == 0) return 0;
  int error = errno;
  close(*home);
  errno = error;
  return -1;
}

/* A process whose main thread is lost in a pod's namespace would do harm with everything it does next: better none. */
static void leave(int home) {
  int error = errno;
  if (setns(home, CLONE_NEWNET) != 0) {
    perror("weft: cannot return to our network namespace");
    abort();
  }
  close(home);
  errno = error;
}

napi_value weft_socket(napi_env env, napi_callback_info info) {
  napi_value arguments[4];
  int netns, domain, type, protocol, home = -1;
  if (!weft_arguments(env, info, 4, arguments) || !weft_take_int(env, arguments[0], "netns", &netns) ||
      !weft_take_int(env, arguments[1], "domain", &domain) || !weft_take_int(env, arguments[2], "type", &type) ||
      !weft_take_int(env, arguments[3], "protocol", &protocol))
    return NULL;
  if (netns != -1 && enter(netns, &home) != 0) return weft_throw_errno(env, "setns", errno);
  int fd = socket(domain, type | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol);
  if (home != -1) leave(home);
  return fd < 0 ? weft_throw_errno(env, "socket", errno) : weft_number(env, fd);
}

napi_value weft_setsockopt(napi_env env, napi_callback_info info) {
  napi_value arguments[4];
  int fd, level, option;
  struct weft_bytes value;
  if (!weft_arguments(env, info, 4, arguments) || !weft_take_int(env, arguments[0], "fd", &fd) ||
      !weft_take_int(env, arguments[1], "level", &level) || !weft_take_int(env, arguments[2], "option", &option) ||
      !weft_take_bytes(env, arguments[3], "value", &value))
    return NULL;
  if (setsockopt(fd, level, option, value.data, (socklen_t)value.length) != 0) return weft_throw_errno(env, "setsockopt", errno);
  return weft_undefined(env);
}

napi_value weft_getsockopt(napi_env env, napi_callback_info info) {
  napi_value arguments[4];
  int fd, level, option, bytes_max;
  char value[OPTION_BYTES_MAX];
  if (!weft_arguments(env, info, 4, arguments) || !weft_take_int(env, arguments[0], "fd", &fd) ||
      !weft_take_int(env, arguments[1], "level", &level) || !weft_take_int(env, arguments[2], "option", &option) ||
      !weft_take_int(env, arguments[3], "bytesMax", &bytes_max))
    return NULL;
  if (bytes_max < 0 || bytes_max > OPTION_BYTES_MAX) return weft_throw_type(env, "bytesMax is not 0 to 4096");
  socklen_t length = (socklen_t)bytes_max;
  if (getsockopt(fd, level, option, value, &length) != 0) return weft_throw_errno(env, "getsockopt", errno);
  return weft_bytes_copy(env, value, length);
}

/* The common form of bind(2) and connect(2). */
static napi_value with_address(napi_env env, napi_callback_info info, const char *syscall,
                               int (*call)(int, const struct sockaddr *, socklen_t)) {
  napi_value arguments[2];
  int fd, status;
  struct weft_bytes address;
  if (!weft_arguments(env, info, 2, arguments) || !weft_take_int(env, arguments[0], "fd", &fd) ||
      !weft_take_bytes(env, arguments[1], "address", &address))
    return NULL;
  do {
    status = call(fd, address.data, (socklen_t)address.length);
  } while (status != 0 && errno == EINTR);
  return status != 0 ? weft_throw_errno(env, syscall, errno) : weft_undefined(env);
}

napi_value weft_bind(napi_env env, napi_callback_info info) {
  return with_address(env, info, "bind", bind);
}

napi_value weft_connect(napi_env env, napi_callback_info info) {
  return with_address(env, info, "connect", connect);
}

napi_value weft_listen(napi_env env, napi_callback_info info) {
  napi_value arguments[2];
  int fd, backlog;
  if (!weft_arguments(env, info, 2, arguments) || !weft_take_int(env, arguments[0], "fd", &fd) ||
      !weft_take_int(env, arguments[1], "backlog", &backlog))
    return NULL;
  return listen(fd, backlog) != 0 ? weft_throw_errno(env, "listen", errno) : weft_undefined(env);
}

napi_value weft_accept(napi_env env, napi_callback_info info) {
  napi_value arguments[1];
  int fd, accepted;
  if (!weft_arguments(env, info, 1, arguments) || !weft_take_int(env, arguments[0], "fd", &fd)) return NULL;
  /* A client that gave up while it waited (ECONNABORTED) is nobody: the next one counts. */
  do {
    accepted = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
  } while (accepted < 0 && (errno == EINTR || errno == ECONNABORTED));
  if (accepted >= 0) return weft_number(env, accepted);
  return errno == EAGAIN ? weft_undefined(env) : weft_throw_errno(env, "accept4", errno);
}

napi_value weft_close(napi_env env, napi_callback_info info) {
  napi_value arguments[1];
  int fd;
  if (!weft_arguments(env, info, 1, arguments) || !weft_take_int(env, arguments[0], "fd", &fd)) return NULL;
  /* Linux frees the descriptor even when it says EINTR: trying again would close somebody else's. */
  if (close(fd) != 0 && errno != EINTR) return weft_throw_errno(env, "close", errno);
  return weft_undefined(env);
}
