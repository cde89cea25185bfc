// The engine of UDP handles as a JavaScript object; see datagram_object.h.
#include "datagram_object.h"

#include "address_object.h"
#include "options.h"

namespace uring_net {

namespace {

napi_value Stats(napi_env env, napi_callback_info info) {
  const DatagramEngine* engine = Call<DatagramEngine, 0>(env, info).handle->target;
  return MakeStats(env, engine == nullptr ? Counters() : engine->Stats());
}

}  // namespace

Napi::Value MakeDatagramObject(Napi::Env env, Handle<DatagramEngine>* handle) {
  Napi::Object object = Napi::Object::New(env);
  napi_value pieces = handle->target->MakePieces();
  napi_value pool = handle->target->MakePool();
  if (pieces == nullptr || pool == nullptr) return Napi::Value();
  object.Set("pieces", Napi::Value(env, pieces));
  object.Set("pool", Napi::Value(env, pool));
  const bool made = AddFunctions(env, object, handle,
                                 {
                                     {"watch", kCall<&DatagramEngine::Watch>},
                                     {"unwatch", kCall<&DatagramEngine::Unwatch>},
                                     {"setRef", kCall<&DatagramEngine::KeepAlive>},
                                     {"parseAddress", ParseAddressWords},
                                     {"formatAddress", FormatAddressWords},
                                     {"stats", Stats},
                                     {"close", Close<DatagramEngine>},
                                 });
  return made ? object : Napi::Value();
}

}  // namespace uring_net
