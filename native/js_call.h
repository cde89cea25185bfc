// JavaScript's calls of methods of native objects: reads arguments by the types of the parameters,
// answers numbers. No class and no error on the JavaScript side: whatever is wrong comes back as
// -errno. Plain Node-API, because every write comes through here.
#pragma once

#include <node_api.h>

#include <cerrno>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "contract.h"
#include "socket_calls.h"

namespace uring_net {

// What the functions of an object hold. Outlives the target, so that calls after close() find
// nobody instead of freed memory; a few bytes, kept until the environment ends.
template <typename Target>
struct Handle {
  // Null when it is closed.
  Target* target = nullptr;
  int closed_with = 0;
};

// An integer in the range. NaN is in no range.
inline bool ReadNumber(napi_env env, napi_value value, double low, double high, double* out) {
  return napi_get_value_double(env, value, out) == napi_ok && *out >= low && *out <= high &&
         *out == static_cast<double>(static_cast<int64_t>(*out));
}

inline bool Read(napi_env env, napi_value value, int32_t* out) {
  double number;
  if (!ReadNumber(env, value, INT32_MIN, INT32_MAX, &number)) return false;
  *out = static_cast<int32_t>(number);
  return true;
}

// true and false, or 1 and 0.
inline bool Read(napi_env env, napi_value value, bool* out) {
  double number;
  if (napi_get_value_bool(env, value, out) == napi_ok) return true;
  if (!ReadNumber(env, value, 0, 1, &number)) return false;
  *out = number != 0;
  return true;
}

inline bool Read(napi_env env, napi_value value, std::string* out) {
  size_t length = 0;
  if (napi_get_value_string_utf8(env, value, nullptr, 0, &length) != napi_ok) return false;
  out->resize(length);
  return napi_get_value_string_utf8(env, value, out->data(), length + 1, &length) == napi_ok;
}

// A Uint8Array with at least one byte.
struct Chunk {
  iovec bytes = {};
  operator IoVecs() const { return IoVecs(&bytes, 1); }
};

inline bool Read(napi_env env, napi_value value, Chunk* out) {
  napi_typedarray_type type;
  return napi_get_typedarray_info(env, value, &type, &out->bytes.iov_len, &out->bytes.iov_base,
                                  nullptr, nullptr) == napi_ok &&
         type == napi_uint8_array && out->bytes.iov_len > 0;
}

template <typename Parameter>
struct Stored {
  using Type = std::remove_cvref_t<Parameter>;
};
template <>
struct Stored<std::string_view> {
  using Type = std::string;
};
template <>
struct Stored<IoVecs> {
  using Type = Chunk;
};

inline napi_value Answer(napi_env env, int32_t result) {
  napi_value answer = nullptr;
  napi_create_int32(env, result, &answer);
  return answer;
}

// A call's handle and its arguments, of which the missing are undefined.
template <typename Target, size_t kCount>
struct Call {
  napi_value arguments[kCount == 0 ? 1 : kCount];
  Handle<Target>* handle;

  Call(napi_env env, napi_callback_info info) {
    size_t count = kCount;
    void* data = nullptr;
    napi_get_cb_info(env, info, &count, arguments, nullptr, &data);
    handle = static_cast<Handle<Target>*>(data);
  }
};

template <auto kMethod>
struct Method;

template <typename Target, typename Result, typename... Parameters,
          Result (Target::*kMethod)(Parameters...)>
struct Method<kMethod> {
  static napi_value Run(napi_env env, napi_callback_info info) {
    const Call<Target, sizeof...(Parameters)> call(env, info);
    return Run(env, call, std::index_sequence_for<Parameters...>());
  }

 private:
  template <typename Arguments, size_t... kAt>
  static napi_value Run(napi_env env, const Arguments& call, std::index_sequence<kAt...>) {
    Target* target = call.handle->target;
    std::tuple<typename Stored<Parameters>::Type...> parts;
    const bool valid = (Read(env, call.arguments[kAt], &std::get<kAt>(parts)) && ...);
    if constexpr (std::is_void_v<Result>) {
      if (target != nullptr && valid) (target->*kMethod)(std::get<kAt>(parts)...);
      return nullptr;
    } else {
      if (target == nullptr) return Answer(env, -EBADF);
      return Answer(env, valid ? (target->*kMethod)(std::get<kAt>(parts)...) : -EINVAL);
    }
  }
};

// A function of JavaScript for a method.
template <auto kMethod>
inline constexpr napi_callback kCall = Method<kMethod>::Run;

// close(): the answer is that of the first call.
template <typename Target>
napi_value Close(napi_env env, napi_callback_info info) {
  Handle<Target>* handle = Call<Target, 0>(env, info).handle;
  if (Target* target = std::exchange(handle->target, nullptr)) {
    handle->closed_with = target->Shutdown(true);
  }
  return Answer(env, handle->closed_with);
}

// False when the engine refuses.
inline bool AddFunctions(napi_env env, napi_value object, void* handle,
                         std::initializer_list<std::pair<const char*, napi_callback>> functions) {
  for (const auto& [name, callback] : functions) {
    napi_value function = nullptr;
    if (napi_create_function(env, name, NAPI_AUTO_LENGTH, callback, handle, &function) != napi_ok ||
        napi_set_named_property(env, object, name, function) != napi_ok) {
      return false;
    }
  }
  return true;
}

}  // namespace uring_net
