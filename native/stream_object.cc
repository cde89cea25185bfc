// The stream engine as a JavaScript object; see stream_object.h.
#include "stream_object.h"

#include <cerrno>
#include <cstdint>
#include <string>
#include <utility>

#include "options.h"

namespace uring_net {

namespace {

// Bytes as a Buffer, else 0 or -EBADF.
template <int32_t (StreamEngine::*kMethod)(int32_t, std::string*)>
napi_value TakeBack(napi_env env, napi_callback_info info) {
  const Call<StreamEngine, 1> call(env, info);
  StreamEngine* engine = call.handle->target;
  int32_t id;
  if (engine == nullptr) return Answer(env, -EBADF);
  if (!Read(env, call.arguments[0], &id)) return Answer(env, -EINVAL);
  std::string bytes;
  const int32_t status = (engine->*kMethod)(id, &bytes);
  if (bytes.empty()) return Answer(env, status);
  napi_value buffer = nullptr;
  napi_create_buffer_copy(env, bytes.size(), bytes.data(), nullptr, &buffer);
  return buffer;
}

napi_value Stats(napi_env env, napi_callback_info info) {
  const StreamEngine* engine = Call<StreamEngine, 0>(env, info).handle->target;
  return MakeStats(env, engine == nullptr ? Counters() : engine->Stats());
}

}  // namespace

Napi::Value MakeEngineObject(Napi::Env env, Handle<StreamEngine>* handle) {
  Napi::Object object = Napi::Object::New(env);
  const std::pair<const char*, StreamEngine::Buffer> buffers[] = {
      {"pieces", StreamEngine::kPieces},
      {"pool", StreamEngine::kPool},
      {"entries", StreamEngine::kEntries},
      {"bytes", StreamEngine::kBytes},
  };
  for (const auto& [name, which] : buffers) {
    napi_value view = handle->target->MakeBuffer(which);
    if (view == nullptr) return Napi::Value();
    object.Set(name, Napi::Value(env, view));
  }
  const bool made = AddFunctions(env, object, handle,
                                 {
                                     {"attach", kCall<&StreamEngine::Attach>},
                                     {"detach", TakeBack<&StreamEngine::Detach>},
                                     {"arm", kCall<&StreamEngine::Arm>},
                                     {"disarm", TakeBack<&StreamEngine::Disarm>},
                                     {"wake", kCall<&StreamEngine::Wake>},
                                     {"resetOnClose", kCall<&StreamEngine::ResetOnClose>},
                                     {"room", kCall<&StreamEngine::Room>},
                                     {"begin", kCall<&StreamEngine::Begin>},
                                     {"flush", kCall<&StreamEngine::Flush>},
                                     {"send", kCall<&StreamEngine::Send>},
                                     {"setRef", kCall<&StreamEngine::KeepAlive>},
                                     {"stats", Stats},
                                     {"close", Close<StreamEngine>},
                                 });
  return made ? object : Napi::Value();
}

}  // namespace uring_net
