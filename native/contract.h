// The numbers of src/core/binding.ts, mirrored. Owns no state and decides nothing; a test compares
// these with the TypeScript side, so that neither can change alone.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>

namespace uring_net {

inline constexpr int32_t kContractVersion = 4;

// Chunks that one sendNow takes.
inline constexpr uint32_t kChunksMax = 65536;

inline constexpr uint32_t kCommandHeaderWords = 4;
inline constexpr uint32_t kCommandWords = 4;
inline constexpr uint32_t kCompletionHeaderWords = 4;
inline constexpr uint32_t kCompletionWords = 4;

inline constexpr uint32_t kSlotBits = 20;
inline constexpr uint32_t kGenerationMax = (1u << (31 - kSlotBits)) - 1;

enum Op : int32_t {
  kReceive = 1,
  kSend = 2,
  kShutdown = 3,
  kAccept = 4,
  kConnect = 5,
  kCancel = 6,
  kClose = 7,
  kWake = 8,
};
// Operations that can be in flight: kReceive .. kConnect.
inline constexpr int32_t kOperationMax = kConnect;

inline constexpr int32_t kCloseReset = 1;
inline constexpr int32_t kCloseUnread = 2;

inline constexpr int32_t kFlagMore = 1;

// What dispatch answers.
enum Dispatched : int32_t {
  kDispatched = 0,  // the batch is delivered
  kSubmit = 1,      // what was commanded by then goes first; then dispatch is called again
};

inline constexpr int32_t kFamilyUnix = 1;
inline constexpr int32_t kFamilyInet = 4;
inline constexpr int32_t kFamilyInet6 = 6;

inline constexpr int32_t kBindV6Only = 1;
inline constexpr int32_t kBindReusePort = 2;

// Bits of NativeOptions.disable, in the order of Probe.features.
enum Feature : uint32_t {
  kCoopTaskrun = 1u << 0,
  kSingleIssuer = 1u << 1,
  kDeferTaskrun = 1u << 2,
  kMultishotAccept = 1u << 3,
  kMultishotReceive = 1u << 4,
  kBufferRing = 1u << 5,
  kIncrementalBuffers = 1u << 6,
  kSyncCancel = 1u << 7,
  kSendZeroCopy = 1u << 8,
};
inline constexpr const char* kFeatureNames[] = {
    "coopTaskrun", "singleIssuer",       "deferTaskrun", "multishotAccept", "multishotReceive",
    "bufferRing",  "incrementalBuffers", "syncCancel",   "sendZeroCopy",
};

// A broken invariant of ours. Going on could let the kernel write into memory that is no longer
// ours.
#define URING_CHECK(condition)                                                               \
  do {                                                                                       \
    if (!(condition)) [[unlikely]] {                                                         \
      std::fprintf(stderr, "uring-net: broken invariant at %s:%d: %s\n", __FILE__, __LINE__, \
                   #condition);                                                              \
      std::abort();                                                                          \
    }                                                                                        \
  } while (0)

}  // namespace uring_net
