// Socket addresses as JavaScript has them: objects for people, words for the kernel. The functions
// belong to no engine.
#pragma once

#include <napi.h>

#include <cstdint>

#include "socket_calls.h"

namespace uring_net {

void Fill(Napi::Object out, const SocketName& name);

// False when it is no Int32Array of kPeerWords.
bool ReadWords(napi_env env, napi_value value, int32_t** words);

// parseAddress(family, address, port, words): fills the words.
napi_value ParseAddressWords(napi_env env, napi_callback_info info);

// formatAddress(words, out): fills `out`.
napi_value FormatAddressWords(napi_env env, napi_callback_info info);

}  // namespace uring_net
