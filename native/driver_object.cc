// A driver as a JavaScript object; see driver_object.h.
#include "driver_object.h"

#include <cerrno>
#include <cstdint>
#include <iterator>
#include <utility>

namespace uring_net {

namespace {

// name(id, peer, out): also fills `out`.
napi_value Name(napi_env env, napi_callback_info info) {
  const Call<Driver, 3> call(env, info);
  Driver* driver = call.handle->target;
  int32_t id;
  bool peer;
  SocketName name;
  Napi::Value filled(env, call.arguments[2]);
  if (driver == nullptr) return Answer(env, -EBADF);
  if (!Read(env, call.arguments[0], &id) || !Read(env, call.arguments[1], &peer) ||
      !filled.IsObject()) {
    return Answer(env, -EINVAL);
  }
  const int error = driver->Name(id, peer, &name);
  if (error != 0) return Answer(env, error);
  Napi::Object out = filled.As<Napi::Object>();
  out.Set("address", name.address);
  if (name.family != AF_UNIX) out.Set("family", name.family == AF_INET ? "IPv4" : "IPv6");
  out.Set("port", name.port);
  return Answer(env, 0);
}

napi_value View(napi_env env, napi_callback_info info) {
  const Call<Driver, 2> call(env, info);
  Driver* driver = call.handle->target;
  int32_t offset, length;
  if (driver == nullptr) return Answer(env, -EBADF);
  if (!Read(env, call.arguments[0], &offset) || !Read(env, call.arguments[1], &length) ||
      !driver->IsInArena(offset, length)) {
    return Answer(env, -EINVAL);
  }
  napi_value view = driver->ArenaView(offset, length);
  return view == nullptr ? Answer(env, -ENOMEM) : view;
}

napi_value Detach(napi_env env, napi_callback_info info) {
  const Call<Driver, 1> call(env, info);
  Driver* driver = call.handle->target;
  void* bytes = nullptr;
  size_t length = 0;
  if (driver != nullptr &&
      napi_get_arraybuffer_info(env, call.arguments[0], &bytes, &length) == napi_ok && length > 0 &&
      driver->IsArena(bytes, length)) {
    napi_detach_arraybuffer(env, call.arguments[0]);
  }
  return nullptr;
}

napi_value Stats(napi_env env, napi_callback_info info) {
  Driver* driver = Call<Driver, 0>(env, info).handle->target;
  return MakeStats(env, driver == nullptr ? Counters() : driver->Stats());
}

}  // namespace

bool ReadOptions(const Napi::Object& from, Options* out) {
  constexpr double kBytesMax = 1 << 30;
  double value;
  const auto read = [&](const char* name, double low, double high, auto* field) {
    if (!ReadNumber(from.Env(), from.Get(name), low, high, &value)) return false;
    *field = static_cast<std::remove_pointer_t<decltype(field)>>(value);
    return true;
  };
  return read("arenaBytes", 1, kBytesMax, &out->arena_bytes) &&
         read("poolBytes", 1, kBytesMax, &out->pool_bytes) &&
         read("submissionEntries", 1, 1 << 15, &out->submission_entries) &&
         read("completionEntries", 1, 1 << 16, &out->completion_entries) &&
         read("commandCapacity", 1, 1 << 20, &out->command_capacity) &&
         read("batchSize", 1, 1 << 16, &out->batch_size) &&
         read("endpointsMax", 1, 1 << kSlotBits, &out->endpoints_max) &&
         read("gatherUs", 1, 1e6, &out->gather_us) &&
         read("heapBytesMax", 0, 9007199254740991.0, &out->heap_bytes_max) &&
         read("disable", 0, 4294967295.0, &out->disable);
}

Napi::Value MakeDriverObject(Napi::Env env, Handle<Driver>* handle) {
  Napi::Object object = Napi::Object::New(env);
  const std::pair<const char*, Driver::Buffer> buffers[] = {
      {"commands", Driver::kCommandsBuffer},
      {"completions", Driver::kCompletionsBuffer},
      {"arena", Driver::kArenaBuffer},
      {"pool", Driver::kPoolBuffer},
  };
  for (const auto& [name, which] : buffers) {
    napi_value made = handle->target->MakeBuffer(which);
    if (made == nullptr) return Napi::Value();
    Napi::ArrayBuffer view(env, made);
    if (which == Driver::kArenaBuffer || which == Driver::kPoolBuffer) {
      object.Set(name, Napi::Uint8Array::New(env, view.ByteLength(), view, 0));
    } else {
      object.Set(name, Napi::Int32Array::New(env, view.ByteLength() / sizeof(int32_t), view, 0));
    }
  }
  const bool made = AddFunctions(env, object, handle,
                                 {
                                     {"submit", kCall<&Driver::Submit>},
                                     {"take", kCall<&Driver::Take>},
                                     {"setRef", kCall<&Driver::SetRef>},
                                     {"open", kCall<&Driver::Open>},
                                     {"bind", kCall<&Driver::Bind>},
                                     {"connect", kCall<&Driver::Connect>},
                                     {"listen", kCall<&Driver::Listen>},
                                     {"name", Name},
                                     {"fd", kCall<&Driver::Descriptor>},
                                     {"sendNow", kCall<&Driver::SendNow>},
                                     {"sendBlock", kCall<&Driver::SendBlock>},
                                     {"unsent", kCall<&Driver::Unsent>},
                                     {"offer", kCall<&Driver::Offer>},
                                     {"view", View},
                                     {"detach", Detach},
                                     {"stats", Stats},
                                     {"close", Close<Driver>},
                                 });
  return made ? object : Napi::Value();
}

Napi::Object MakeStats(Napi::Env env, const Counters& counters) {
  const std::pair<const char*, uint64_t> fields[] = {
      {"endpoints", counters.endpoints},
      {"inFlight", counters.in_flight},
      {"submissions", counters.submissions},
      {"completions", counters.completions},
      {"batches", counters.batches},
      {"enters", counters.enters},
      {"bytesReceived", counters.bytes_received},
      {"bytesSent", counters.bytes_sent},
      {"poolExhausted", counters.pool_exhausted},
      {"overflows", counters.overflows},
      {"rests", counters.rests},
      {"heapBytes", counters.heap_bytes},
      {"submissionEntries", counters.submission_entries},
      {"completionEntries", counters.completion_entries},
  };
  Napi::Object out = Napi::Object::New(env);
  for (const auto& [name, value] : fields) out.Set(name, static_cast<double>(value));
  out.Set("features", FeatureNames(env, counters.features));
  return out;
}

Napi::Array FeatureNames(Napi::Env env, uint32_t features) {
  Napi::Array names = Napi::Array::New(env);
  uint32_t count = 0;
  for (uint32_t bit = 0; bit < std::size(kFeatureNames); ++bit) {
    if (features & 1u << bit) names.Set(count++, kFeatureNames[bit]);
  }
  return names;
}

}  // namespace uring_net
