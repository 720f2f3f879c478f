/*
 * The native module: one C function per system call, and a thread that waits for readiness.
 * Nothing is decided here; `router/kernel/native.ts` says what each function promises.
 *
 * Every function follows one pattern: take the arguments (a wrong one throws a TypeError), make the
 * call, give back its value or throw its error.
 */
#ifndef WEFT_H
#define WEFT_H

#include <node_api.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The most descriptors that one message carries, in either direction. */
#define WEFT_DESCRIPTORS_MAX 8

/* A view of a Uint8Array: valid until the function that took it returns. */
struct weft_bytes {
  void *data;
  size_t length;
};

/* --- value.c: arguments and results ---------------------------------------------------------- */

/* Reads exactly `count` arguments into `out`; false (and a TypeError is pending) when there are fewer. */
bool weft_arguments(napi_env env, napi_callback_info info, size_t count, napi_value *out);

/* Each reads one argument; false means that a TypeError naming it is pending. */
bool weft_take_int(napi_env env, napi_value value, const char *what, int *out);
bool weft_take_bool(napi_env env, napi_value value, const char *what, bool *out);
bool weft_take_bytes(napi_env env, napi_value value, const char *what, struct weft_bytes *out);
/* At most WEFT_DESCRIPTORS_MAX numbers of an array. */
bool weft_take_descriptors(napi_env env, napi_value value, int *out, size_t *count);

napi_value weft_undefined(napi_env env);
napi_value weft_number(napi_env env, int64_t number);
/* A new Uint8Array with a copy of `data`; NULL with an exception pending when there is no memory. */
napi_value weft_bytes_copy(napi_env env, const void *data, size_t length);

/* Throws the error that a system call left: `code`, `errno` and `syscall` are properties of it. Returns NULL. */
napi_value weft_throw_errno(napi_env env, const char *syscall, int error);
napi_value weft_throw_type(napi_env env, const char *message);

/* --- the functions of the module ------------------------------------------------------------- */

/* socket.c */
napi_value weft_socket(napi_env env, napi_callback_info info);
napi_value weft_setsockopt(napi_env env, napi_callback_info info);
napi_value weft_getsockopt(napi_env env, napi_callback_info info);
napi_value weft_bind(napi_env env, napi_callback_info info);
napi_value weft_connect(napi_env env, napi_callback_info info);
napi_value weft_listen(napi_env env, napi_callback_info info);
napi_value weft_accept(napi_env env, napi_callback_info info);
napi_value weft_close(napi_env env, napi_callback_info info);

/* message.c */
napi_value weft_send(napi_env env, napi_callback_info info);
napi_value weft_receive(napi_env env, napi_callback_info info);

/* memory.c */
napi_value weft_trim(napi_env env, napi_callback_info info);

/* watch.c */
napi_value weft_watch(napi_env env, napi_callback_info info);
napi_value weft_unwatch(napi_env env, napi_callback_info info);
/* Prepares this environment's table of watches; false when there is no memory. */
bool weft_watch_init(napi_env env);

#endif
