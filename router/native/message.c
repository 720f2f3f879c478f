/* sendmsg(2) and recvmsg(2) with descriptors (SCM_RIGHTS). Never blocks, whatever the descriptor's own flags are. */
#include "weft.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Room for more descriptors than we take, so that the rest arrive (and are closed) instead of the whole list being cut. */
#define CONTROL_BYTES 512

napi_value weft_send(napi_env env, napi_callback_info info) {
  napi_value arguments[4];
  int fd, descriptors[WEFT_DESCRIPTORS_MAX];
  struct weft_bytes bytes, to;
  size_t count = 0;
  if (!weft_arguments(env, info, 4, arguments) || !weft_take_int(env, arguments[0], "fd", &fd) ||
      !weft_take_bytes(env, arguments[1], "bytes", &bytes) || !weft_take_bytes(env, arguments[2], "to", &to) ||
      !weft_take_descriptors(env, arguments[3], descriptors, &count))
    return NULL;

  union {
    struct cmsghdr header;
    char space[CMSG_SPACE(sizeof descriptors)];
  } control;
  struct iovec iov = {.iov_base = bytes.data, .iov_len = bytes.length};
  struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
  if (to.length > 0) {
    message.msg_name = to.data;
    message.msg_namelen = (socklen_t)to.length;
  }
  if (count > 0) {
    memset(&control, 0, sizeof control);
    message.msg_control = control.space;
    message.msg_controllen = CMSG_SPACE(count * sizeof(int));
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(count * sizeof(int));
    memcpy(CMSG_DATA(header), descriptors, count * sizeof(int));
  }

  ssize_t sent;
  do {
    sent = sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
  } while (sent < 0 && errno == EINTR);
  if (sent >= 0) return weft_number(env, sent);
  return errno == EAGAIN ? weft_undefined(env) : weft_throw_errno(env, "sendmsg", errno);
}

/* Collects the descriptors that came along; those above the limit are closed. */
static size_t collect_descriptors(struct msghdr *message, int *out) {
  size_t taken = 0;
  for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header != NULL; header = CMSG_NXTHDR(message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; i++) {
      int fd;
      memcpy(&fd, CMSG_DATA(header) + i * sizeof fd, sizeof fd);
      if (taken < WEFT_DESCRIPTORS_MAX) out[taken++] = fd;
      else close(fd);
    }
  }
  return taken;
}

static napi_value received(napi_env env, ssize_t bytes, const struct msghdr *message, const int *descriptors, size_t count) {
  napi_value result, truncated, list, from = weft_bytes_copy(env, message->msg_name, message->msg_namelen);
  if (from == NULL || napi_create_object(env, &result) != napi_ok ||
      napi_get_boolean(env, (message->msg_flags & MSG_TRUNC) != 0, &truncated) != napi_ok ||
      napi_create_array_with_length(env, count, &list) != napi_ok)
    return NULL;
  for (size_t i = 0; i < count; i++) {
    if (napi_set_element(env, list, (uint32_t)i, weft_number(env, descriptors[i])) != napi_ok) return NULL;
  }
  if (napi_set_named_property(env, result, "bytes", weft_number(env, bytes)) != napi_ok ||
      napi_set_named_property(env, result, "truncated", truncated) != napi_ok ||
      napi_set_named_property(env, result, "descriptors", list) != napi_ok ||
      napi_set_named_property(env, result, "from", from) != napi_ok)
    return NULL;
  return result;
}

napi_value weft_receive(napi_env env, napi_callback_info info) {
  napi_value arguments[2];
  int fd, descriptors[WEFT_DESCRIPTORS_MAX];
  struct weft_bytes buffer;
  if (!weft_arguments(env, info, 2, arguments) || !weft_take_int(env, arguments[0], "fd", &fd) ||
      !weft_take_bytes(env, arguments[1], "buffer", &buffer))
    return NULL;

  struct sockaddr_storage from;
  union {
    struct cmsghdr header;
    char space[CONTROL_BYTES];
  } control;
  struct iovec iov = {.iov_base = buffer.data, .iov_len = buffer.length};
  struct msghdr message = {
      .msg_name = &from,
      .msg_namelen = sizeof from,
      .msg_iov = &iov,
      .msg_iovlen = 1,
      .msg_control = control.space,
      .msg_controllen = sizeof control.space,
  };
  ssize_t bytes;
  do {
    bytes = recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  } while (bytes < 0 && errno == EINTR);
  if (bytes < 0) return errno == EAGAIN ? weft_undefined(env) : weft_throw_errno(env, "recvmsg", errno);

  size_t count = collect_descriptors(&message, descriptors);
  napi_value result = received(env, bytes, &message, descriptors, count);
  if (result == NULL) {
    for (size_t i = 0; i < count; i++) close(descriptors[i]);
  }
  return result;
}
