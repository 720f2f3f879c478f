/*
 * weft-cni: what a container runtime runs. It hands its environment, its stdin and the pod's network namespace to the
 * router of this node over a unix socket, prints the router's answer and returns its exit code. It decides nothing:
 * the CNI plugin is in plugin/, run by the router. What is said over the socket is described in plugin/relay.ts.
 *
 * The router holds no right to enter namespaces. This process, which the runtime starts as root on the host, has it:
 * so the descriptors of the namespace and of a netlink socket inside it are opened here and passed on.
 *
 * Without a router, VERSION still answers, DEL is queued on disk, and all else is CNI error 11, "try again later".
 * One thread; no dependence on PATH, HOME or the current directory.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#include "queue.h"
#include "text.h"

#define SOCKET_PATH "/run/weft/cni.sock"
#define PENDING_PATH "/var/lib/weft/pending"

/* Longer than the router gives itself, shorter than kubelet gives the runtime. */
#define DEADLINE_MS 60000

/* No network configuration comes near it; the router's limits are the other two. */
#define CONFIG_BYTES_MAX (1024 * 1024)
#define REQUEST_BYTES_MAX (2 * 1024 * 1024)
#define REPLY_BYTES_MAX (4 * 1024 * 1024)

/* "EXIT-CODE LENGTH\n" */
#define REPLY_HEADER_BYTES_MAX 16

/* When the router's backlog is full, connect(2) does not wait: we do. */
#define CONNECT_RETRY_MS 20

/* linux/netlink.h, which musl does not bring. */
#define NETLINK_ROUTE 0

#define CODE_IO 5
#define CODE_TRY_AGAIN 11

#define ROUTER_HINT "is the Weft router of this node running? The runtime tries again by itself"

static const char *const versions[] = {"0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"};
#define VERSION_COUNT (sizeof versions / sizeof versions[0])

static const char *const variables[] = {
    "CNI_COMMAND", "CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_ARGS", "CNI_PATH", "CNI_NETNS_OVERRIDE"};
#define VARIABLE_COUNT (sizeof variables / sizeof variables[0])

/* One more than may be used tells that there was more. */
static char config[CONFIG_BYTES_MAX + 1];
static size_t config_length;
static char request[REQUEST_BYTES_MAX];
static size_t request_length;
static char reply[REPLY_HEADER_BYTES_MAX + REPLY_BYTES_MAX];

static int64_t deadline_ms;
static int64_t ends_at;

/* The pod's namespace as it is passed on: both descriptors, or none and perhaps the reason. */
static struct {
  int descriptors[2];
  bool opened;
  bool is_own;
  const char *error;
} pod;

/* ROUTER_GONE: there is none, or it died before it answered. ROUTER_FAILED: it is there, but this cannot work. */
enum outcome { ANSWERED, ROUTER_GONE, ROUTER_FAILED };
static char reason[160];

static const char *variable(const char *name, const char *otherwise) {
  const char *value = getenv(name);
  return value == NULL || *value == 0 ? otherwise : value;
}

static bool command_is(const char *command) {
  return strcmp(variable("CNI_COMMAND", ""), command) == 0;
}

static int64_t now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Waits for `events` until the deadline; false when that has passed. */
static bool wait_for(int descriptor, short events) {
  for (;;) {
    int64_t left = ends_at - now_ms();
    struct pollfd watched = {.fd = descriptor, .events = events};
    int ready = left <= 0 ? 0 : poll(&watched, 1, (int)left);
    if (ready > 0) return true;
    if (ready == 0) return false;
    if (errno != EINTR) return true; /* the call that follows will tell */
  }
}

static bool print(int descriptor, const char *bytes, size_t length) {
  while (length > 0) {
    ssize_t written = write(descriptor, bytes, length);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return false;
    bytes += written;
    length -= (size_t)written;
  }
  return true;
}

/* The version to answer errors in: the configuration's first "cniVersion", as far as it can be seen without a parser. */
static const char *config_version(void) {
  const char *key = memmem(config, config_length, "\"cniVersion\"", 12);
  const char *last = config + config_length;
  for (size_t i = 0; key != NULL && i < VERSION_COUNT; i++) {
    const char *at = key + 12;
    while (at < last && strchr(" \t\r\n:\"", *at) != NULL && *at != 0) at++;
    size_t length = strlen(versions[i]);
    if ((size_t)(last - at) > length && memcmp(at, versions[i], length) == 0 && at[length] == '"') return versions[i];
  }
  return versions[VERSION_COUNT - 1];
}

/* Prints a CNI error and ends. */
static _Noreturn void fail(int code, const char *message, const char *details) {
  char bytes[4096], number[16];
  struct text text = {.bytes = bytes, .size = sizeof bytes};
  snprintf(number, sizeof number, "%d", code);
  text_string(&text, "{\"cniVersion\":");
  text_json_string(&text, config_version());
  text_string(&text, ",\"code\":");
  text_string(&text, number);
  text_string(&text, ",\"msg\":");
  text_json_string(&text, message);
  text_string(&text, ",\"details\":");
  text_json_string(&text, details);
  text_string(&text, "}\n");
  print(STDOUT_FILENO, bytes, text.length);
  exit(1);
}

static void add_versions(struct text *text, const char *separator, bool quoted) {
  for (size_t i = 0; i < VERSION_COUNT; i++) {
    if (i > 0) text_string(text, separator);
    if (quoted) text_json_string(text, versions[i]);
    else text_string(text, versions[i]);
  }
}

static int print_about(void) {
  char bytes[512];
  struct text text = {.bytes = bytes, .size = sizeof bytes};
  text_string(&text, "weft-cni: the CNI plugin of Weft. A container runtime runs it; see CNI_COMMAND.\nCNI protocol versions supported: ");
  add_versions(&text, ", ", false);
  text_string(&text, "\n");
  return print(STDERR_FILENO, bytes, text.length) ? 0 : 1;
}

static int print_versions(void) {
  char bytes[512];
  struct text text = {.bytes = bytes, .size = sizeof bytes};
  text_string(&text, "{\"cniVersion\":");
  text_json_string(&text, versions[VERSION_COUNT - 1]);
  text_string(&text, ",\"supportedVersions\":[");
  add_versions(&text, ",", true);
  text_string(&text, "]}\n");
  return print(STDOUT_FILENO, bytes, text.length) ? 0 : 1;
}

static void read_config(void) {
  for (;;) {
    if (!wait_for(STDIN_FILENO, POLLIN)) fail(CODE_IO, "error reading from stdin: it was not closed in time", "");
    ssize_t got = read(STDIN_FILENO, config + config_length, sizeof config - config_length);
    if (got == 0) return;
    if (got < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (got < 0) {
      snprintf(reason, sizeof reason, "error reading from stdin: %s", strerror(errno));
      fail(CODE_IO, reason, "");
    }
    config_length += (size_t)got;
    if (config_length > CONFIG_BYTES_MAX) fail(CODE_IO, "error reading from stdin: the network configuration is longer than 1 MiB", "");
  }
}

/* A runtime that closed stdout or stderr must not find our socket there. */
static void fill_standard_descriptors(void) {
  int descriptor;
  do descriptor = open("/dev/null", O_RDWR | O_CLOEXEC);
  while (descriptor >= 0 && descriptor <= STDERR_FILENO);
  if (descriptor >= 0) close(descriptor);
}

static bool is_own_namespace(int namespace) {
  struct stat its, ours;
  if (fstat(namespace, &its) != 0 || stat("/proc/self/ns/net", &ours) != 0) return false;
  return its.st_dev == ours.st_dev && its.st_ino == ours.st_ino;
}

/*
 * Returns why the pod's namespace cannot be passed on, or NULL. This process then stays in the namespace until it ends:
 * it has no other thread, and the router's socket is found by path, which is the same from everywhere.
 */
static const char *enter_pod(void) {
  /* O_NONBLOCK: it may be a pipe. */
  int namespace = open(variable("CNI_NETNS", ""), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (namespace < 0) return strerror(errno);
  pod.is_own = is_own_namespace(namespace);
  if (setns(namespace, CLONE_NEWNET) != 0) return errno == EINVAL ? "not a network namespace" : strerror(errno);
  int route = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
  if (route < 0) return strerror(errno);
  pod.descriptors[0] = namespace;
  pod.descriptors[1] = route;
  pod.opened = true;
  return NULL;
}

static void build_request(void) {
  struct text text = {.bytes = request, .size = sizeof request};
  const char *separator = "{\"env\":{";
  for (size_t i = 0; i < VARIABLE_COUNT; i++) {
    const char *value = getenv(variables[i]);
    if (value == NULL) continue;
    text_string(&text, separator);
    text_json_string(&text, variables[i]);
    text_string(&text, ":");
    text_json_string(&text, value);
    separator = ",";
  }
  text_string(&text, "},\"stdin\":");
  text_json(&text, config, config_length);
  if (pod.error != NULL) {
    text_string(&text, ",\"netnsError\":");
    text_json_string(&text, pod.error);
  }
  if (pod.is_own) text_string(&text, ",\"netnsIsOwn\":true");
  text_string(&text, "}\n");
  if (text.overflow) fail(CODE_IO, "the network configuration and the environment are longer than 2 MiB once escaped", "");
  request_length = text.length;
}

static enum outcome outcome_of_errno(const char *call) {
  snprintf(reason, sizeof reason, "%s: %s", call, strerror(errno));
  bool gone = errno == ENOENT || errno == ECONNREFUSED || errno == EPIPE || errno == ECONNRESET;
  return gone ? ROUTER_GONE : ROUTER_FAILED;
}

static enum outcome too_late(void) {
  snprintf(reason, sizeof reason, "it did not answer within %lld ms", (long long)deadline_ms);
  return ROUTER_FAILED;
}

static enum outcome connect_router(int router) {
  const char *path = variable("WEFT_CNI_SOCKET", SOCKET_PATH);
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  errno = ENAMETOOLONG;
  if (strlen(path) >= sizeof address.sun_path) return outcome_of_errno("connect");
  strcpy(address.sun_path, path);
  while (connect(router, (struct sockaddr *)&address, sizeof address) != 0) {
    if (errno != EAGAIN && errno != EINTR) return outcome_of_errno("connect");
    if (now_ms() >= ends_at) return too_late();
    poll(NULL, 0, CONNECT_RETRY_MS);
  }
  return ANSWERED;
}

/* One sendmsg(2), with the descriptors when these are the first bytes. */
static ssize_t send_some(int router, size_t sent) {
  union {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(sizeof pod.descriptors)];
  } control = {.bytes = {0}};
  struct iovec rest = {.iov_base = request + sent, .iov_len = request_length - sent};
  struct msghdr message = {.msg_iov = &rest, .msg_iovlen = 1};
  if (sent == 0 && pod.opened) {
    message.msg_control = control.bytes;
    message.msg_controllen = sizeof control.bytes;
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof pod.descriptors);
    memcpy(CMSG_DATA(header), pod.descriptors, sizeof pod.descriptors);
  }
  return sendmsg(router, &message, MSG_NOSIGNAL);
}

static enum outcome send_request(int router) {
  for (size_t sent = 0; sent < request_length;) {
    if (!wait_for(router, POLLOUT)) return too_late();
    ssize_t took = send_some(router, sent);
    if (took < 0 && errno != EAGAIN && errno != EINTR) return outcome_of_errno("send");
    if (took > 0) sent += (size_t)took;
  }
  return ANSWERED;
}

/* A decimal number and then `end`: what follows, or NULL when it is something else. */
static const char *take_number(const char *at, char end, long *number) {
  const char *first = at;
  for (*number = 0; *at >= '0' && *at <= '9' && at - first < 8; at++) *number = *number * 10 + (*at - '0');
  return at > first && *at == end ? at + 1 : NULL;
}

/* Where the answer's bytes for stdout begin, or NULL when this is no answer. The header must be whole. */
static const char *parse_header(long *code, long *length) {
  const char *at = take_number(reply, ' ', code);
  if (at != NULL) at = take_number(at, '\n', length);
  return at != NULL && *code <= 255 && *length <= REPLY_BYTES_MAX ? at : NULL;
}

static enum outcome nonsense(void) {
  snprintf(reason, sizeof reason, "its answer makes no sense; are router and plugin of the same version?");
  return ROUTER_FAILED;
}

/* Prints nothing before the answer is whole. */
static enum outcome receive_reply(int router, int *exit_code) {
  for (size_t got = 0;;) {
    long code = 0, length = 0;
    bool whole = memchr(reply, '\n', got < REPLY_HEADER_BYTES_MAX ? got : REPLY_HEADER_BYTES_MAX) != NULL;
    const char *body = whole ? parse_header(&code, &length) : NULL;
    if (body == NULL && (whole || got >= REPLY_HEADER_BYTES_MAX)) return nonsense();
    if (body != NULL && got >= (size_t)(body - reply) + (size_t)length) {
      *exit_code = print(STDOUT_FILENO, body, (size_t)length) ? (int)code : 1;
      return ANSWERED;
    }
    if (!wait_for(router, POLLIN)) return too_late();
    ssize_t more = recv(router, reply + got, sizeof reply - got, 0);
    if (more == 0) errno = ECONNRESET;
    if (more == 0 || (more < 0 && errno != EAGAIN && errno != EINTR)) return outcome_of_errno("no answer");
    if (more > 0) got += (size_t)more;
  }
}

static enum outcome ask_router(int *exit_code) {
  int router = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (router < 0) return outcome_of_errno("socket");
  enum outcome outcome = connect_router(router);
  if (outcome == ANSWERED) outcome = send_request(router);
  if (outcome == ANSWERED) outcome = receive_reply(router, exit_code);
  close(router);
  return outcome;
}

/*
 * A router that comes up now has either read the queue after this DEL was in it, or is there to be asked: so it is
 * asked once more, and only if that fails too is the DEL left to the queue.
 */
static enum outcome delete_later(int *exit_code) {
  const char *directory = variable("WEFT_CNI_PENDING", PENDING_PATH);
  const char *container = variable("CNI_CONTAINERID", ""), *ifname = variable("CNI_IFNAME", "");
  if (*container == 0 || *ifname == 0) return ROUTER_GONE;
  if (!queue_delete(directory, container, ifname)) {
    snprintf(reason, sizeof reason, "and the DEL cannot be queued in %.80s: %s", directory, strerror(errno));
    return ROUTER_FAILED;
  }
  enum outcome outcome = ask_router(exit_code);
  if (outcome != ROUTER_GONE) return outcome;
  *exit_code = 0;
  return ANSWERED;
}

int main(void) {
  signal(SIGPIPE, SIG_IGN);
  if (command_is("")) return print_about();
  if (command_is("VERSION")) return print_versions();
  long long chosen = strtoll(variable("WEFT_CNI_DEADLINE_MS", ""), NULL, 10);
  deadline_ms = chosen > 0 && chosen < INT32_MAX ? chosen : DEADLINE_MS;
  ends_at = now_ms() + deadline_ms;
  read_config();
  fill_standard_descriptors();
  if ((command_is("ADD") || command_is("CHECK")) && *variable("CNI_NETNS", "") != 0) pod.error = enter_pod();
  build_request();

  int exit_code = 1;
  enum outcome outcome = ask_router(&exit_code);
  if (outcome == ROUTER_GONE && command_is("DEL")) outcome = delete_later(&exit_code);
  if (outcome == ANSWERED) return exit_code;
  char message[320];
  snprintf(message, sizeof message, "cannot use the Weft router at %.108s: %s", variable("WEFT_CNI_SOCKET", SOCKET_PATH), reason);
  fail(CODE_TRY_AGAIN, message, ROUTER_HINT);
}
