/* What malloc keeps of memory that was freed. */
#include "weft.h"

#include <malloc.h>

napi_value weft_trim(napi_env env, napi_callback_info info) {
  (void)info;
#ifdef __GLIBC__
  malloc_trim(0);
#endif
  return weft_undefined(env);
}
