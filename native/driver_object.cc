// A driver as a JavaScript object; see driver_object.h.
#include "driver_object.h"

#include <cerrno>
#include <cstdint>
#include <utility>

#include "address_object.h"
#include "datagrams.h"

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
  Fill(filled.As<Napi::Object>(), name);
  return Answer(env, 0);
}

// sendDatagramNow(id, buffer, offset, length, words)
napi_value SendDatagramNow(napi_env env, napi_callback_info info) {
  const Call<Driver, 5> call(env, info);
  Driver* driver = call.handle->target;
  int32_t numbers[4];
  int32_t* words = nullptr;
  if (driver == nullptr) return Answer(env, -EBADF);
  for (size_t i = 0; i < 4; ++i) {
    if (!Read(env, call.arguments[i], &numbers[i])) return Answer(env, -EINVAL);
  }
  if (!ReadWords(env, call.arguments[4], &words) && !Napi::Value(env, call.arguments[4]).IsNull()) {
    return Answer(env, -EINVAL);
  }
  return Answer(env,
                driver->SendDatagramNow(numbers[0], numbers[1], numbers[2], numbers[3], words));
}

// register(index, memory)
napi_value Register(napi_env env, napi_callback_info info) {
  const Call<Driver, 2> call(env, info);
  Driver* driver = call.handle->target;
  int32_t index;
  void* data = nullptr;
  size_t length = 0;
  if (driver == nullptr) return Answer(env, -EBADF);
  if (!Read(env, call.arguments[0], &index) ||
      napi_get_arraybuffer_info(env, call.arguments[1], &data, &length) != napi_ok) {
    return Answer(env, -EINVAL);
  }
  return Answer(env, driver->Register(index, static_cast<uint8_t*>(data), length));
}

napi_value Stats(napi_env env, napi_callback_info info) {
  const Driver* driver = Call<Driver, 0>(env, info).handle->target;
  return MakeStats(env, driver == nullptr ? Counters() : driver->Stats());
}

}  // namespace

Napi::Value MakeDriverObject(Napi::Env env, Handle<Driver>* handle) {
  Napi::Object object = Napi::Object::New(env);
  const std::pair<const char*, Driver::Buffer> buffers[] = {
      {"commands", Driver::kCommandsBuffer}, {"completions", Driver::kCompletionsBuffer}};
  for (const auto& [name, which] : buffers) {
    napi_value view = handle->target->MakeBuffer(which);
    if (view == nullptr) return Napi::Value();
    object.Set(name, Napi::Value(env, view));
  }
  const bool made = AddFunctions(env, object, handle,
                                 {
                                     {"submit", kCall<&Driver::Submit>},
                                     {"setRef", kCall<&Driver::KeepAlive>},
                                     {"open", kCall<&Driver::Open>},
                                     {"adopt", kCall<&Driver::Adopt>},
                                     {"openFile", kCall<&Driver::OpenFile>},
                                     {"receiveNow", kCall<&Driver::ReceiveNow>},
                                     {"openPipe", kCall<&Driver::OpenPipe>},
                                     {"fillPipe", kCall<&Driver::FillPipe>},
                                     {"drainPipe", kCall<&Driver::DrainPipe>},
                                     {"readPipe", kCall<&Driver::ReadPipe>},
                                     {"share", kCall<&Driver::Share>},
                                     {"bind", kCall<&Driver::Bind>},
                                     {"connect", kCall<&Driver::Connect>},
                                     {"listen", kCall<&Driver::Listen>},
                                     {"name", Name},
                                     {"fd", kCall<&Driver::Descriptor>},
                                     {"setOption", kCall<&Driver::SetOption>},
                                     {"openDatagram", kCall<&Driver::OpenDatagram>},
                                     {"bindDatagram", kCall<&Driver::BindDatagram>},
                                     {"connectDatagram", kCall<&Driver::ConnectDatagram>},
                                     {"membership", kCall<&Driver::Membership>},
                                     {"multicastInterface", kCall<&Driver::MulticastInterface>},
                                     {"sendDatagramNow", SendDatagramNow},
                                     {"parseAddress", ParseAddressWords},
                                     {"formatAddress", FormatAddressWords},
                                     {"register", Register},
                                     {"unsent", kCall<&Driver::Unsent>},
                                     {"offer", kCall<&Driver::Offer>},
                                     {"stats", Stats},
                                     {"close", Close<Driver>},
                                 });
  return made ? object : Napi::Value();
}

}  // namespace uring_net
