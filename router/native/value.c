/* Arguments from JavaScript, results to it. A wrong argument throws; it never reaches a system call. */
#include "weft.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define MESSAGE_BYTES 160

napi_value weft_throw_type(napi_env env, const char *message) {
  napi_throw_type_error(env, "ERR_INVALID_ARG_TYPE", message);
  return NULL;
}

static bool refuse(napi_env env, const char *what, const char *wanted) {
  char message[MESSAGE_BYTES];
  snprintf(message, sizeof message, "%s is not %s", what, wanted);
  weft_throw_type(env, message);
  return false;
}

bool weft_arguments(napi_env env, napi_callback_info info, size_t count, napi_value *out) {
  size_t given = count;
  if (napi_get_cb_info(env, info, &given, out, NULL, NULL) != napi_ok || given < count) {
    weft_throw_type(env, "too few arguments");
    return false;
  }
  return true;
}

/* By way of a double: napi_get_value_int32 would make 0, which is a descriptor, of NaN. */
bool weft_take_int(napi_env env, napi_value value, const char *what, int *out) {
  double number;
  if (napi_get_value_double(env, value, &number) != napi_ok) return refuse(env, what, "a number");
  if (!(number >= INT_MIN && number <= INT_MAX) || number != floor(number)) return refuse(env, what, "a 32-bit whole number");
  *out = (int)number;
  return true;
}

bool weft_take_bool(napi_env env, napi_value value, const char *what, bool *out) {
  if (napi_get_value_bool(env, value, out) != napi_ok) return refuse(env, what, "a boolean");
  return true;
}

bool weft_take_bytes(napi_env env, napi_value value, const char *what, struct weft_bytes *out) {
  bool is_array = false;
  napi_typedarray_type type;
  if (napi_is_typedarray(env, value, &is_array) != napi_ok || !is_array) return refuse(env, what, "a Uint8Array");
  if (napi_get_typedarray_info(env, value, &type, &out->length, &out->data, NULL, NULL) != napi_ok || type != napi_uint8_array)
    return refuse(env, what, "a Uint8Array");
  return true;
}

bool weft_take_descriptors(napi_env env, napi_value value, int *out, size_t *count) {
  uint32_t length;
  if (napi_get_array_length(env, value, &length) != napi_ok) return refuse(env, "descriptors", "an array");
  if (length > WEFT_DESCRIPTORS_MAX) return refuse(env, "descriptors", "an array of at most 8");
  for (uint32_t i = 0; i < length; i++) {
    napi_value item;
    if (napi_get_element(env, value, i, &item) != napi_ok) return false;
    if (!weft_take_int(env, item, "a descriptor", &out[i])) return false;
  }
  *count = length;
  return true;
}

napi_value weft_undefined(napi_env env) {
  napi_value value = NULL;
  napi_get_undefined(env, &value);
  return value;
}

napi_value weft_number(napi_env env, int64_t number) {
  napi_value value = NULL;
  napi_create_int64(env, number, &value);
  return value;
}

napi_value weft_bytes_copy(napi_env env, const void *data, size_t length) {
  void *memory = NULL;
  napi_value buffer, array;
  if (napi_create_arraybuffer(env, length, &memory, &buffer) != napi_ok) return NULL;
  if (length > 0) memcpy(memory, data, length);
  if (napi_create_typedarray(env, napi_uint8_array, length, buffer, 0, &array) != napi_ok) return NULL;
  return array;
}

napi_value weft_throw_errno(napi_env env, const char *syscall, int error) {
  char message[MESSAGE_BYTES];
  const char *name = strerrorname_np(error);
  napi_value code, text, thrown, name_of_call;
  if (name == NULL) name = "EUNKNOWN";
  snprintf(message, sizeof message, "%s: %s (%s)", syscall, strerrordesc_np(error) ? strerrordesc_np(error) : "unknown error", name);
  if (napi_create_string_utf8(env, name, NAPI_AUTO_LENGTH, &code) != napi_ok ||
      napi_create_string_utf8(env, message, NAPI_AUTO_LENGTH, &text) != napi_ok ||
      napi_create_string_utf8(env, syscall, NAPI_AUTO_LENGTH, &name_of_call) != napi_ok ||
      napi_create_error(env, code, text, &thrown) != napi_ok ||
      napi_set_named_property(env, thrown, "errno", weft_number(env, error)) != napi_ok ||
      napi_set_named_property(env, thrown, "syscall", name_of_call) != napi_ok) {
    napi_throw_error(env, name, message);
    return NULL;
  }
  napi_throw(env, thrown);
  return NULL;
}
