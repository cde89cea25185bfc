// A driver as a plain JavaScript object: reads and checks arguments, turns results into numbers. No
// class, no errors of its own: whatever is wrong comes back as -errno.
#pragma once

#include <napi.h>

#include "driver.h"

namespace uring_net {

// What the object's functions hold. Outlives the driver, so that calls after close() find nobody
// instead of freed memory; a few bytes, kept until the environment ends.
struct DriverHandle {
  Driver* driver = nullptr;
  int closed_with = 0;
};

// False when one is missing, not an integer or out of range.
bool ReadOptions(const Napi::Object& from, Options* out);

// Null when the engine refuses external memory.
Napi::Value MakeDriverObject(Napi::Env env, DriverHandle* handle);

// Counters by name.
Napi::Object MakeStats(Napi::Env env, const Counters& counters);

Napi::Array FeatureNames(Napi::Env env, uint32_t features);

}  // namespace uring_net
