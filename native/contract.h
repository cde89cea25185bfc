// The numbers of src/core/binding.ts, mirrored. Owns no state and decides nothing; a test compares
// these with the TypeScript side, so that neither can change alone.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>

namespace uring_net {

inline constexpr int32_t kContractVersion = 11;

inline constexpr uint32_t kCommandHeaderWords = 4;
inline constexpr uint32_t kCommandWords = 8;
inline constexpr uint32_t kCompletionHeaderWords = 4;
inline constexpr uint32_t kCompletionWords = 4;

inline constexpr uint32_t kSlotBits = 20;
inline constexpr uint32_t kGenerationMax = (1u << (31 - kSlotBits)) - 1;

enum Opcode : int32_t {
  kReceive = 1,
  kReceiveInto = 2,
  kPiece = 3,
  kSend = 4,
  kAccept = 5,
  kConnect = 6,
  kShutdown = 7,
  kCancel = 8,
  kClose = 9,
  kProvide = 10,
  kWake = 11,
  kReadFile = 12,
  kPoll = 13,
  kReceiveDatagrams = 20,
  kTo = 21,
  kSendDatagram = 22,
};

inline constexpr int32_t kFlagMore = 1;

inline constexpr int32_t kFamilyUnix = 1;
inline constexpr int32_t kFamilyInet = 4;
inline constexpr int32_t kFamilyInet6 = 6;

// What SetOption sets.
enum SocketOption : int32_t {
  kNoDelay = 1,
  kKeepAliveSeconds = 2,
  kSendBufferBytes = 3,
  kReceiveBufferBytes = 4,
  kTimeToLive = 20,
  kMulticastTimeToLive = 21,
  kMulticastLoopback = 22,
  kBroadcast = 23,
  kCoalesce = 24,
};

inline constexpr int32_t kBindV6Only = 1;
inline constexpr int32_t kBindReusePort = 2;
inline constexpr int32_t kBindReuseAddress = 4;

// Bits of NativeOptions.disable, in the order of Probe.features.
enum Feature : uint32_t {
  kCoopTaskrun = 1u << 0,
  kSingleIssuer = 1u << 1,
  kDeferTaskrun = 1u << 2,
  kMultishotAccept = 1u << 3,
  kMultishotReceive = 1u << 4,
  kBufferRing = 1u << 5,
  kSyncCancel = 1u << 6,
  kSendZeroCopy = 1u << 7,
  kSplice = 1u << 8,
};
inline constexpr const char* kFeatureNames[] = {
    "coopTaskrun", "singleIssuer", "deferTaskrun", "multishotAccept", "multishotReceive",
    "bufferRing",  "syncCancel",   "sendZeroCopy", "splice",
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
