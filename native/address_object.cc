// Socket addresses as JavaScript has them; see address_object.h.
#include "address_object.h"

#include <cerrno>
#include <string>

#include "datagrams.h"
#include "js_call.h"

namespace uring_net {

void Fill(Napi::Object out, const SocketName& name) {
  out.Set("address", name.address);
  if (name.family != AF_UNIX) out.Set("family", name.family == AF_INET ? "IPv4" : "IPv6");
  out.Set("port", name.port);
}

bool ReadWords(napi_env env, napi_value value, int32_t** words) {
  napi_typedarray_type type;
  size_t length = 0;
  void* data = nullptr;
  if (napi_get_typedarray_info(env, value, &type, &length, &data, nullptr, nullptr) != napi_ok ||
      type != napi_int32_array || length != kPeerWords) {
    return false;
  }
  *words = static_cast<int32_t*>(data);
  return true;
}

napi_value ParseAddressWords(napi_env env, napi_callback_info info) {
  const Call<void, 4> call(env, info);
  int32_t family;
  int32_t port;
  std::string text;
  int32_t* words;
  const bool valid = Read(env, call.arguments[0], &family) && Read(env, call.arguments[1], &text) &&
                     Read(env, call.arguments[2], &port) &&
                     ReadWords(env, call.arguments[3], &words);
  return Answer(env, valid ? ParsePeer(family, text, port, PeerWords(words, kPeerWords)) : -EINVAL);
}

napi_value FormatAddressWords(napi_env env, napi_callback_info info) {
  const Call<void, 2> call(env, info);
  int32_t* words;
  SocketName name;
  Napi::Value filled(env, call.arguments[1]);
  if (!ReadWords(env, call.arguments[0], &words) || !filled.IsObject()) return Answer(env, -EINVAL);
  const int error = FormatPeer(PeerWords(words, kPeerWords), &name);
  if (error == 0) Fill(filled.As<Napi::Object>(), name);
  return Answer(env, error);
}

}  // namespace uring_net
