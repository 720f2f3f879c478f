/* What Node calls when it loads the module: the table of functions. */
#include "weft.h"

#include <errno.h>

static const struct {
  const char *name;
  napi_callback call;
} FUNCTIONS[] = {
    {"socket", weft_socket},   {"setsockopt", weft_setsockopt}, {"getsockopt", weft_getsockopt},
    {"bind", weft_bind},       {"connect", weft_connect},       {"listen", weft_listen},
    {"accept", weft_accept},   {"send", weft_send},             {"receive", weft_receive},
    {"close", weft_close},     {"watch", weft_watch},           {"unwatch", weft_unwatch},
    {"trim", weft_trim},
};

NAPI_MODULE_INIT() {
  if (!weft_watch_init(env)) return weft_throw_errno(env, "calloc", ENOMEM);
  for (size_t i = 0; i < sizeof FUNCTIONS / sizeof *FUNCTIONS; i++) {
    napi_value function;
    if (napi_create_function(env, FUNCTIONS[i].name, NAPI_AUTO_LENGTH, FUNCTIONS[i].call, NULL, &function) != napi_ok ||
        napi_set_named_property(env, exports, FUNCTIONS[i].name, function) != napi_ok)
      return NULL;
  }
  return exports;
}
