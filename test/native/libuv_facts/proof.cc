// ProveLibuv() as an addon, with nothing of the engine around it: libuv-facts.test.ts also builds
// it for other layouts than the one of the libuv that it runs on.
#include <node_api.h>

#include "libuv_stream.h"

namespace {

napi_value Prove(napi_env env, napi_callback_info) {
  const char* reason = uring_net::ProveLibuv();
  napi_value value;
  if (reason == nullptr) {
    napi_get_null(env, &value);
  } else {
    napi_create_string_utf8(env, reason, NAPI_AUTO_LENGTH, &value);
  }
  return value;
}

}  // namespace

NAPI_MODULE_INIT() {
  napi_value function;
  napi_create_function(env, "prove", NAPI_AUTO_LENGTH, Prove, nullptr, &function);
  napi_set_named_property(env, exports, "prove", function);
  return exports;
}
