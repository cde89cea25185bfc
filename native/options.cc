// Options and counters; see options.h.
#include "options.h"

#include <iterator>
#include <type_traits>
#include <utility>

#include "contract.h"
#include "js_call.h"

namespace uring_net {

bool ReadOptions(const Napi::Object& from, Options* out) {
  double value;
  const auto read = [&](const char* name, double low, double high, auto* field) {
    if (!ReadNumber(from.Env(), from.Get(name), low, high, &value)) return false;
    *field = static_cast<std::remove_pointer_t<decltype(field)>>(value);
    return true;
  };
  return read("poolBytes", 1, 1 << 30, &out->pool_bytes) &&
         read("submissionEntries", 1, 1 << 15, &out->submission_entries) &&
         read("completionEntries", 1, 1 << 16, &out->completion_entries) &&
         read("commandCapacity", 1, 1 << 20, &out->command_capacity) &&
         read("batchSize", 1, 1 << 16, &out->batch_size) &&
         read("endpointsMax", 1, 1 << kSlotBits, &out->endpoints_max) &&
         read("receiveBuffers", 1, 1 << 15, &out->receive_buffers) &&
         read("gatherUs", 1, 1e6, &out->gather_us) &&
         read("disable", 0, 4294967295.0, &out->disable);
}

Napi::Object MakeStats(Napi::Env env, const Counters& counters) {
  const std::pair<const char*, uint64_t> fields[] = {
      {"endpoints", counters.endpoints},
      {"opened", counters.opened},
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
      {"unexpectedCompletions", counters.unexpected_completions},
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
