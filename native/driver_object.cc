// A driver as a JavaScript object; see driver_object.h.
#include "driver_object.h"

#include <cerrno>
#include <cmath>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace uring_net {

namespace {

using Info = Napi::CallbackInfo;

DriverHandle* HandleOf(const Info& info) { return static_cast<DriverHandle*>(info.Data()); }
Driver* DriverOf(const Info& info) { return HandleOf(info)->driver; }

// Raw calls: every write comes through here. NaN is in no range.
bool ReadNumber(const Napi::Value& value, double low, double high, double* out) {
  return napi_get_value_double(value.Env(), value, out) == napi_ok && *out >= low && *out <= high &&
         *out == std::floor(*out);
}

bool ReadInt(const Napi::Value& value, int32_t* out) {
  double number;
  if (!ReadNumber(value, INT32_MIN, INT32_MAX, &number)) return false;
  *out = static_cast<int32_t>(number);
  return true;
}

// Whether a range that is not empty lies in `size` bytes.
bool IsRange(int32_t offset, int32_t length, size_t size) {
  return offset >= 0 && length > 0 && static_cast<size_t>(offset) <= size &&
         static_cast<size_t>(length) <= size - static_cast<size_t>(offset);
}

bool ReadBool(const Napi::Value& value, bool* out) {
  if (!value.IsBoolean()) return false;
  *out = value.As<Napi::Boolean>().Value();
  return true;
}

bool ReadString(const Napi::Value& value, std::string* out) {
  if (!value.IsString()) return false;
  *out = value.As<Napi::String>().Utf8Value();
  return true;
}

Napi::Value Number(const Info& info, double value) { return Napi::Number::New(info.Env(), value); }

Napi::Value Submit(const Info& info) {
  if (Driver* driver = DriverOf(info)) driver->Submit();
  return info.Env().Undefined();
}

Napi::Value Take(const Info& info) {
  if (Driver* driver = DriverOf(info)) driver->Take();
  return info.Env().Undefined();
}

Napi::Value SetRef(const Info& info) {
  bool on;
  Driver* driver = DriverOf(info);
  if (driver != nullptr && ReadBool(info[0], &on)) driver->SetRef(on);
  return info.Env().Undefined();
}

Napi::Value Open(const Info& info) {
  int32_t family;
  Driver* driver = DriverOf(info);
  if (driver == nullptr) return Number(info, -EBADF);
  return Number(info, ReadInt(info[0], &family) ? driver->Open(family) : -EINVAL);
}

Napi::Value Bind(const Info& info) {
  int32_t id, port, flags;
  std::string address;
  Driver* driver = DriverOf(info);
  if (driver == nullptr) return Number(info, -EBADF);
  const bool valid = ReadInt(info[0], &id) && ReadString(info[1], &address) &&
                     ReadInt(info[2], &port) && ReadInt(info[3], &flags);
  return Number(info, valid ? driver->Bind(id, address, port, flags) : -EINVAL);
}

Napi::Value Connect(const Info& info) {
  int32_t id, port;
  std::string address;
  Driver* driver = DriverOf(info);
  if (driver == nullptr) return Number(info, -EBADF);
  const bool valid =
      ReadInt(info[0], &id) && ReadString(info[1], &address) && ReadInt(info[2], &port);
  return Number(info, valid ? driver->Connect(id, address, port) : -EINVAL);
}

Napi::Value Listen(const Info& info) {
  int32_t id, backlog;
  Driver* driver = DriverOf(info);
  if (driver == nullptr) return Number(info, -EBADF);
  const bool valid = ReadInt(info[0], &id) && ReadInt(info[1], &backlog);
  return Number(info, valid ? driver->Listen(id, backlog) : -EINVAL);
}

Napi::Value Name(const Info& info) {
  int32_t id;
  bool peer;
  SocketName name;
  Driver* driver = DriverOf(info);
  if (driver == nullptr) return Number(info, -EBADF);
  if (!ReadInt(info[0], &id) || !ReadBool(info[1], &peer) || !info[2].IsObject()) {
    return Number(info, -EINVAL);
  }
  const int error = driver->Name(id, peer, &name);
  if (error != 0) return Number(info, error);
  Napi::Object out = info[2].As<Napi::Object>();
  out.Set("address", name.address);
  if (name.family != AF_UNIX) out.Set("family", name.family == AF_INET ? "IPv4" : "IPv6");
  out.Set("port", name.port);
  return Number(info, 0);
}

Napi::Value Descriptor(const Info& info) {
  int32_t id;
  Driver* driver = DriverOf(info);
  if (driver == nullptr) return Number(info, -EBADF);
  return Number(info, ReadInt(info[0], &id) ? driver->Descriptor(id) : -EINVAL);
}

// Plain Node-API, as SendBlock: every write comes through here.
template <int32_t (Driver::*kTake)(int32_t, Pieces)>
napi_value GiveBytes(napi_env env, napi_callback_info info) {
  napi_value arguments[4];
  size_t count = 4;
  void* data = nullptr;
  int32_t id, offset, length;
  napi_typedarray_type type;
  size_t size = 0;
  void* bytes = nullptr;
  int32_t result = -EINVAL;
  if (napi_get_cb_info(env, info, &count, arguments, nullptr, &data) == napi_ok &&
      ReadInt({env, arguments[0]}, &id) &&
      napi_get_typedarray_info(env, arguments[1], &type, &size, &bytes, nullptr, nullptr) ==
          napi_ok &&
      type == napi_uint8_array && ReadInt({env, arguments[2]}, &offset) &&
      ReadInt({env, arguments[3]}, &length) && IsRange(offset, length, size)) {
    Driver* driver = static_cast<DriverHandle*>(data)->driver;
    const iovec piece = {static_cast<uint8_t*>(bytes) + offset, static_cast<size_t>(length)};
    result = driver == nullptr ? -EBADF : (driver->*kTake)(id, Pieces(&piece, 1));
  }
  napi_value answer = nullptr;
  napi_create_int32(env, result, &answer);
  return answer;
}

// All elements are taken out before the first is looked at: an array may run code when it is read.
bool ReadPieces(napi_env env, napi_value array, std::vector<iovec>* pieces) {
  bool is_array = false;
  uint32_t count = 0;
  if (napi_is_array(env, array, &is_array) != napi_ok || !is_array ||
      napi_get_array_length(env, array, &count) != napi_ok || count > kChunksMax) {
    return false;
  }
  std::vector<napi_value> chunks(count);
  for (uint32_t i = 0; i < count; ++i) {
    if (napi_get_element(env, array, i, &chunks[i]) != napi_ok) return false;
  }
  for (const napi_value chunk : chunks) {
    napi_typedarray_type type;
    iovec piece;
    if (napi_get_typedarray_info(env, chunk, &type, &piece.iov_len, &piece.iov_base, nullptr,
                                 nullptr) != napi_ok ||
        type != napi_uint8_array) {
      return false;
    }
    if (piece.iov_len > 0) pieces->push_back(piece);
  }
  return !pieces->empty();
}

napi_value SendMany(napi_env env, napi_callback_info info) {
  napi_value arguments[2];
  size_t count = 2;
  void* data = nullptr;
  int32_t id;
  std::vector<iovec> pieces;
  int32_t result = -EINVAL;
  if (napi_get_cb_info(env, info, &count, arguments, nullptr, &data) == napi_ok &&
      ReadInt({env, arguments[0]}, &id) && ReadPieces(env, arguments[1], &pieces)) {
    Driver* driver = static_cast<DriverHandle*>(data)->driver;
    result = driver == nullptr ? -EBADF : driver->SendNow(id, pieces);
  }
  napi_value answer = nullptr;
  napi_create_int32(env, result, &answer);
  return answer;
}

napi_value SendBlock(napi_env env, napi_callback_info info) {
  napi_value arguments[3];
  size_t count = 3;
  void* data = nullptr;
  int32_t id, offset, length;
  int32_t result = -EINVAL;
  if (napi_get_cb_info(env, info, &count, arguments, nullptr, &data) == napi_ok &&
      ReadInt({env, arguments[0]}, &id) && ReadInt({env, arguments[1]}, &offset) &&
      ReadInt({env, arguments[2]}, &length)) {
    Driver* driver = static_cast<DriverHandle*>(data)->driver;
    result = driver == nullptr ? -EBADF : driver->SendBlock(id, offset, length);
  }
  napi_value answer = nullptr;
  napi_create_int32(env, result, &answer);
  return answer;
}

Napi::Value Unsent(const Info& info) {
  int32_t id;
  Driver* driver = DriverOf(info);
  if (driver == nullptr) return Number(info, -EBADF);
  return Number(info, ReadInt(info[0], &id) ? driver->Unsent(id) : -EINVAL);
}

Napi::Value View(const Info& info) {
  int32_t offset, length;
  Driver* driver = DriverOf(info);
  if (driver == nullptr) return Number(info, -EBADF);
  if (!ReadInt(info[0], &offset) || !ReadInt(info[1], &length) || offset < 0 || length <= 0 ||
      static_cast<size_t>(offset) + static_cast<size_t>(length) > driver->arena_bytes()) {
    return Number(info, -EINVAL);
  }
  napi_value view =
      driver->arena_view(info.Env(), static_cast<uint32_t>(offset), static_cast<uint32_t>(length));
  return view == nullptr ? Number(info, -ENOMEM) : Napi::Value(info.Env(), view);
}

Napi::Value Detach(const Info& info) {
  Driver* driver = DriverOf(info);
  if (driver == nullptr || !info[0].IsArrayBuffer()) return info.Env().Undefined();
  void* bytes = nullptr;
  size_t length = 0;
  if (napi_get_arraybuffer_info(info.Env(), info[0], &bytes, &length) == napi_ok && length > 0 &&
      driver->InArena(bytes, length)) {
    napi_detach_arraybuffer(info.Env(), info[0]);
  }
  return info.Env().Undefined();
}

Napi::Value Stats(const Info& info) {
  Driver* driver = DriverOf(info);
  return MakeStats(info.Env(), driver == nullptr ? Counters() : driver->Stats());
}

Napi::Value Close(const Info& info) {
  DriverHandle* handle = HandleOf(info);
  if (Driver* driver = handle->driver) {
    handle->driver = nullptr;
    handle->closed_with = driver->Shutdown(true);
  }
  return Number(info, handle->closed_with);
}

}  // namespace

bool ReadOptions(const Napi::Object& from, Options* out) {
  constexpr double kBytesMax = 1 << 30;
  double value;
  const auto read = [&](const char* name, double low, double high, auto* field) {
    if (!ReadNumber(from.Get(name), low, high, &value)) return false;
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

Napi::Value MakeDriverObject(Napi::Env env, DriverHandle* handle) {
  Napi::Object object = Napi::Object::New(env);
  const auto buffer = [&](const char* name, Driver::Buffer which, auto make) {
    napi_value view = handle->driver->MakeBuffer(which);
    if (view != nullptr) object.Set(name, make(Napi::ArrayBuffer(env, view)));
    return view != nullptr;
  };
  const auto words = [&](Napi::ArrayBuffer view) {
    return Napi::Int32Array::New(env, view.ByteLength() / sizeof(int32_t), view, 0);
  };
  const auto bytes = [&](Napi::ArrayBuffer view) {
    return Napi::Uint8Array::New(env, view.ByteLength(), view, 0);
  };
  if (!buffer("commands", Driver::kCommandsBuffer, words) ||
      !buffer("completions", Driver::kCompletionsBuffer, words) ||
      !buffer("arena", Driver::kArenaBuffer, bytes) ||
      !buffer("pool", Driver::kPoolBuffer, bytes)) {
    return Napi::Value();
  }
  object.Set("submit", Napi::Function::New<Submit>(env, "submit", handle));
  object.Set("take", Napi::Function::New<Take>(env, "take", handle));
  object.Set("setRef", Napi::Function::New<SetRef>(env, "setRef", handle));
  object.Set("open", Napi::Function::New<Open>(env, "open", handle));
  object.Set("bind", Napi::Function::New<Bind>(env, "bind", handle));
  object.Set("connect", Napi::Function::New<Connect>(env, "connect", handle));
  object.Set("listen", Napi::Function::New<Listen>(env, "listen", handle));
  object.Set("name", Napi::Function::New<Name>(env, "name", handle));
  object.Set("fd", Napi::Function::New<Descriptor>(env, "fd", handle));
  object.Set("unsent", Napi::Function::New<Unsent>(env, "unsent", handle));
  const std::pair<const char*, napi_callback> plain[] = {
      {"sendNow", GiveBytes<&Driver::SendNow>},
      {"sendMany", SendMany},
      {"sendBlock", SendBlock},
      {"offer", GiveBytes<&Driver::Offer>},
  };
  for (const auto& [name, callback] : plain) {
    napi_value function = nullptr;
    napi_create_function(env, name, NAPI_AUTO_LENGTH, callback, handle, &function);
    object.Set(name, function);
  }
  object.Set("view", Napi::Function::New<View>(env, "view", handle));
  object.Set("detach", Napi::Function::New<Detach>(env, "detach", handle));
  object.Set("stats", Napi::Function::New<Stats>(env, "stats", handle));
  object.Set("close", Napi::Function::New<Close>(env, "close", handle));
  return object;
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
