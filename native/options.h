// What an engine is made with and what it counts, as plain JavaScript objects.
#pragma once

#include <napi.h>

#include <cstdint>

namespace uring_net {

struct Options {
  uint32_t pool_bytes = 0;
  uint32_t submission_entries = 0;
  uint32_t completion_entries = 0;
  uint32_t command_capacity = 0;
  uint32_t batch_size = 0;
  uint32_t endpoints_max = 0;
  uint32_t receive_buffers = 0;
  uint32_t gather_us = 0;
  uint32_t disable = 0;
};

struct Counters {
  // Endpoints made.
  uint64_t opened = 0;
  uint64_t in_flight = 0;
  uint64_t submissions = 0;
  uint64_t completions = 0;
  uint64_t batches = 0;
  uint64_t enters = 0;
  uint64_t bytes_received = 0;
  uint64_t bytes_sent = 0;
  uint64_t pool_exhausted = 0;
  uint64_t overflows = 0;
  // Sends gathered for which the kernel had no room after all.
  uint64_t rests = 0;
  // Completions of the kernel that name no operation.
  uint64_t unexpected_completions = 0;
  uint32_t submission_entries = 0;
  uint32_t completion_entries = 0;
  uint32_t endpoints = 0;
  uint32_t features = 0;
};

// False when one is missing, not an integer or out of range.
bool ReadOptions(const Napi::Object& from, Options* out);

// Counters by name.
Napi::Object MakeStats(Napi::Env env, const Counters& counters);

// The names of a set of features.
Napi::Array FeatureNames(Napi::Env env, uint32_t features);

}  // namespace uring_net
