// The stream engine as a JavaScript object; see stream_object.h.
#include "stream_object.h"

#include <cerrno>
#include <cmath>
#include <cstdint>
#include <string>
#include <utility>

#include "driver_object.h"

namespace uring_net {

namespace {

// Plain Node-API: some of these are on the path of every write.
struct Call {
  napi_env env;
  StreamEngine* engine = nullptr;
  EngineHandle* handle = nullptr;
  int32_t arguments[3] = {};
  bool valid = false;

  Call(napi_env env, napi_callback_info info, size_t wanted) : env(env) {
    napi_value values[3];
    size_t count = 3;
    void* data = nullptr;
    if (napi_get_cb_info(env, info, &count, values, nullptr, &data) != napi_ok) return;
    handle = static_cast<EngineHandle*>(data);
    engine = handle->engine;
    if (engine == nullptr) return;
    valid = true;
    for (size_t i = 0; i < wanted && valid; ++i) {
      double number = 0;
      valid = napi_get_value_double(env, values[i], &number) == napi_ok && number >= INT32_MIN &&
              number <= INT32_MAX && number == std::floor(number);
      arguments[i] = valid ? static_cast<int32_t>(number) : 0;
    }
  }

  napi_value Answer(int32_t result) const {
    napi_value answer = nullptr;
    napi_create_int32(env, result, &answer);
    return answer;
  }
  int32_t refusal() const { return engine == nullptr ? -EBADF : -EINVAL; }
};

template <int32_t (StreamEngine::*kMethod)(int32_t)>
napi_value OnStream(napi_env env, napi_callback_info info) {
  const Call call(env, info, 1);
  return call.Answer(call.valid ? (call.engine->*kMethod)(call.arguments[0]) : call.refusal());
}

napi_value Attach(napi_env env, napi_callback_info info) {
  const Call call(env, info, 2);
  return call.Answer(call.valid ? call.engine->Attach(call.arguments[0], call.arguments[1] != 0)
                                : call.refusal());
}

// Bytes as a Buffer, else how the stream has ended.
template <int32_t (StreamEngine::*kMethod)(int32_t, std::string*)>
napi_value TakeBack(napi_env env, napi_callback_info info) {
  const Call call(env, info, 1);
  if (!call.valid) return call.Answer(call.refusal());
  std::string bytes;
  const int32_t end = (call.engine->*kMethod)(call.arguments[0], &bytes);
  if (bytes.empty()) return call.Answer(end);
  napi_value buffer = nullptr;
  napi_create_buffer_copy(env, bytes.size(), bytes.data(), nullptr, &buffer);
  return buffer;
}

napi_value Send(napi_env env, napi_callback_info info) {
  const Call call(env, info, 3);
  return call.Answer(
      call.valid ? call.engine->Send(call.arguments[0], call.arguments[1], call.arguments[2])
                 : call.refusal());
}

napi_value Begin(napi_env env, napi_callback_info info) {
  const Call call(env, info, 0);
  return call.Answer(call.valid ? call.engine->Begin() : call.refusal());
}

napi_value Flush(napi_env env, napi_callback_info info) {
  const Call call(env, info, 0);
  if (call.valid) call.engine->Flush();
  return nullptr;
}

napi_value SetRef(napi_env env, napi_callback_info info) {
  const Call call(env, info, 1);
  if (call.valid) call.engine->SetRef(call.arguments[0] != 0);
  return nullptr;
}

napi_value Stats(napi_env env, napi_callback_info info) {
  const Call call(env, info, 0);
  const Counters counters = call.engine == nullptr ? Counters() : call.engine->Stats();
  return MakeStats(env, counters);
}

napi_value Close(napi_env env, napi_callback_info info) {
  const Call call(env, info, 0);
  if (call.handle == nullptr) return nullptr;
  if (StreamEngine* engine = std::exchange(call.handle->engine, nullptr)) {
    call.handle->closed_with = engine->Shutdown(true);
  }
  return call.Answer(call.handle->closed_with);
}

}  // namespace

Napi::Value MakeEngineObject(Napi::Env env, EngineHandle* handle) {
  Napi::Object object = Napi::Object::New(env);
  const std::pair<const char*, StreamEngine::Buffer> buffers[] = {
      {"pieces", StreamEngine::kPieces},
      {"pool", StreamEngine::kPool},
      {"entries", StreamEngine::kEntries},
      {"bytes", StreamEngine::kBytes},
  };
  for (const auto& [name, which] : buffers) {
    napi_value view = handle->engine->MakeBuffer(which);
    if (view == nullptr) return Napi::Value();
    object.Set(name, Napi::Value(env, view));
  }
  const std::pair<const char*, napi_callback> methods[] = {
      {"attach", Attach},
      {"detach", TakeBack<&StreamEngine::Detach>},
      {"arm", OnStream<&StreamEngine::Arm>},
      {"disarm", TakeBack<&StreamEngine::Disarm>},
      {"wake", OnStream<&StreamEngine::Wake>},
      {"resetOnClose", OnStream<&StreamEngine::ResetOnClose>},
      {"room", OnStream<&StreamEngine::Room>},
      {"begin", Begin},
      {"flush", Flush},
      {"send", Send},
      {"setRef", SetRef},
      {"stats", Stats},
      {"close", Close},
  };
  for (const auto& [name, callback] : methods) {
    napi_value function = nullptr;
    if (napi_create_function(env, name, NAPI_AUTO_LENGTH, callback, handle, &function) != napi_ok) {
      return Napi::Value();
    }
    object.Set(name, function);
  }
  return object;
}

}  // namespace uring_net
