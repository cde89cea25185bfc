// The calls of NativeDriver that JavaScript makes directly, with arguments of the right types:
// checks ids and states, and starts what they ask for. Never dispatches.
#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "driver.h"

namespace uring_net {

namespace {

// IOV_MAX, sendmsg(2).
constexpr size_t kPiecesAtOnce = 1024;

size_t TotalOf(Pieces pieces) {
  size_t total = 0;
  for (const iovec& piece : pieces) total += piece.iov_len;
  return total;
}

// All but the first `skipped` bytes.
void CopyFrom(Pieces pieces, size_t skipped, uint8_t* to) {
  for (const iovec& piece : pieces) {
    const size_t from = std::min(skipped, piece.iov_len);
    skipped -= from;
    std::memcpy(to, static_cast<const uint8_t*>(piece.iov_base) + from, piece.iov_len - from);
    to += piece.iov_len - from;
  }
}

}  // namespace

Slot* Driver::FindOpen(int32_t id) {
  Slot* slot = slots_.Find(id);
  return slot != nullptr && slot->life == Life::kOpen ? slot : nullptr;
}

void Driver::Submit() {
  if (CommandsQueued()) TakeCommands();
  FlushAll();
}

void Driver::Take() {
  if (CommandsQueued()) TakeCommands();
  EndStreams();
  if (began_closing_) AwaitClosingPhase();
}

void Driver::SetRef(bool on) {
  auto* handle = reinterpret_cast<uv_handle_t*>(&poll_);
  on ? uv_ref(handle) : uv_unref(handle);
}

int Driver::Open(int32_t family) {
  if (slots_.full()) return -ENFILE;
  int domain = 0;
  const int fd = OpenSocket(family, nonblocking_sockets(), &domain);
  if (fd < 0) return fd;
  return slots_.Acquire(fd, domain)->id;
}

int Driver::Bind(int32_t id, std::string_view text, int32_t port, int32_t flags) {
  Slot* slot = FindOpen(id);
  if (slot == nullptr) return -EBADF;
  if ((flags & ~(kBindV6Only | kBindReusePort)) != 0) return -EINVAL;
  Address address;
  int error = ParseAddress(slot->family, text, port, &address);
  if (error == 0) error = BindSocket(slot->fd, address, flags);
  if (error == 0 && slot->family == AF_UNIX && text[0] != '\0') slot->path = text;
  return error;
}

int Driver::Connect(int32_t id, std::string_view text, int32_t port) {
  // A listener's accept that waits here would otherwise tell of the connection after this end does.
  if (CommandsQueued()) TakeCommands();
  Slot* slot = FindOpen(id);
  if (slot == nullptr) return -EBADF;
  if (!slot->idle(kConnect)) return -EALREADY;
  Address address;
  int error = ParseAddress(slot->family, text, port, &address);
  if (error != 0) return error;
  // Not by the ring: what the kernel refuses at once (no route, no local port) is told at once.
  const int result = ConnectSocket(slot->fd, address);
  const bool waiting = result == -EINPROGRESS;
  // As in libuv the caller is told later of a refusal, and of everything on Unix sockets.
  const bool told_later = result == -ECONNREFUSED || slot->family == AF_UNIX;
  if (result != 0 && !waiting && !told_later) return result;
  // After the call: a socket that is not connecting yet would be reported as hung up. Whether it
  // can take bytes now depends on a connect in flight.
  if (result == 0 && !slot->registered) error = Register(*slot);
  slot->Begin(kConnect);
  if (waiting) error = Register(*slot);
  ++counters_.in_flight;
  ++counters_.submissions;
  if (waiting && error == 0) {
    Resume(*slot, kConnect);
  } else {
    Post(*slot, kConnect, error != 0 ? error : result);
  }
  return 0;
}

int Driver::Listen(int32_t id, int32_t backlog) {
  Slot* slot = FindOpen(id);
  if (slot == nullptr) return -EBADF;
  if (listen(slot->fd, backlog) == -1) return -errno;
  if (slot->listening) return 0;
  slot->listening = true;
  reserve_.Open();
  return Register(*slot);
}

int Driver::Name(int32_t id, bool peer, SocketName* out) {
  Slot* slot = FindOpen(id);
  return slot == nullptr ? -EBADF : GetName(slot->fd, peer, out);
}

int Driver::Descriptor(int32_t id) {
  const Slot* slot = FindOpen(id);
  return slot == nullptr ? -EBADF : slot->fd;
}

// Bytes sent here must not overtake a send that waits in the command buffer.
bool Driver::HasQueuedWrite(int32_t id) const {
  const auto writes = [id](int32_t opcode, int32_t command_id) {
    return command_id == id && (opcode == kSend || opcode == kShutdown || opcode == kClose);
  };
  const uint32_t count = CommandCount();
  for (uint32_t i = 0; i < count; ++i) {
    const int32_t* words = commands_ + kCommandHeaderWords + i * kCommandWords;
    if (writes(words[0], words[1])) return true;
  }
  return std::any_of(deferred_.begin(), deferred_.end(),
                     [&](const Command& c) { return writes(c.opcode, c.id); });
}

// How many bytes the kernel took, 0 also when it took none now, or -errno.
int32_t Driver::TrySendNow(Slot* slot, Pieces pieces) {
  if (slot == nullptr) return -EBADF;
  if (!slot->idle(kSend) || HasQueuedWrite(slot->id)) return -EALREADY;
  if (!slot->idle(kShutdown)) return -EBUSY;
  size_t taken = 0;
  for (size_t first = 0; first < pieces.size();) {
    const Pieces some = pieces.subspan(first, std::min(pieces.size() - first, kPiecesAtOnce));
    const ssize_t part = SendPieces(slot->fd, some);
    if (part < 0) {
      if (part == -ECONNRESET) slot->reset_taken = true;
      // What the kernel took before is told; the next send finds the error again.
      if (part != -EAGAIN && taken == 0) return static_cast<int32_t>(part);
      break;
    }
    taken += static_cast<size_t>(part);
    if (static_cast<size_t>(part) < TotalOf(some)) break;
    first += some.size();
  }
  counters_.bytes_sent += taken;
  return static_cast<int32_t>(taken);
}

// A send that the kernel has taken the beginning of goes on as an operation.
void Driver::BeginRest(Slot& slot, SendProgress rest) {
  slot.send = std::move(rest);
  slot.Begin(kSend);
  ++counters_.in_flight;
  ++counters_.submissions;
  Resume(slot, kSend);
}

int32_t Driver::SendNow(int32_t id, Pieces pieces) {
  const size_t length = TotalOf(pieces);
  // Refused before the first byte is sent: a refusal leaves the stream intact.
  if (length > INT32_MAX || counters_.heap_bytes + length > options_.heap_bytes_max)
    return -ENOBUFS;
  Slot* slot = FindOpen(id);
  const int32_t taken = TrySendNow(slot, pieces);
  if (taken < 0) return taken;
  const uint32_t rest = static_cast<uint32_t>(length) - static_cast<uint32_t>(taken);
  if (rest == 0) return taken;
  HeapBlock block;
  block.bytes.reset(static_cast<uint8_t*>(std::malloc(rest)));
  if (!block.bytes) return -ENOMEM;
  block.length = rest;
  CopyFrom(pieces, static_cast<size_t>(taken), block.bytes.get());
  counters_.heap_bytes += rest;
  const uint8_t* start = block.bytes.get();
  BeginRest(*slot, SendProgress{start, rest, 0, std::move(block)});
  return taken;
}

int32_t Driver::SendBlock(int32_t id, int32_t offset, int32_t length) {
  if (!IsInArena(offset, length)) return -EINVAL;
  Slot* slot = FindOpen(id);
  uint8_t* start = arena_->data() + offset;
  const iovec piece = {start, static_cast<size_t>(length)};
  const int32_t taken = TrySendNow(slot, Pieces(&piece, 1));
  if (taken < 0 || taken == length) return taken;
  BeginRest(*slot, SendProgress{start + taken, static_cast<uint32_t>(length - taken), 0, {}});
  return taken;
}

int32_t Driver::Unsent(int32_t id) {
  const Slot* slot = FindOpen(id);
  if (slot == nullptr) return -EBADF;
  return static_cast<int32_t>(slot->send.length - slot->send.sent);
}

// recv(2) then answers 0, as at an orderly end of the stream. After an orderly end the kernel tells
// a send of EPIPE instead, and the end is one. Only of a connection that we have not shut down
// ourselves does TCP_CLOSE say that it was reset.
bool Driver::EndIsReset(const Slot& slot) const {
  return slot.reset_taken && slot.family != AF_UNIX && IsTcpClosed(slot.fd);
}

int32_t Driver::Offer(int32_t id, Pieces pieces) {
  Slot* slot = FindOpen(id);
  if (slot == nullptr) return -EBADF;
  Submit();
  if (!slot->idle(kShutdown) || (!slot->idle(kSend) && !SendIsWhole(*slot))) return 0;
  const ssize_t taken = SendPieces(slot->fd, pieces);
  if (taken == -ECONNRESET) slot->reset_taken = true;
  if (taken < 0) return taken == -EAGAIN ? 0 : static_cast<int32_t>(taken);
  counters_.bytes_sent += static_cast<uint64_t>(taken);
  return static_cast<int32_t>(taken);
}

bool Driver::IsInArena(int32_t offset, int32_t length) const {
  return offset >= 0 && length > 0 &&
         static_cast<size_t>(offset) + static_cast<size_t>(length) <= arena_->size();
}

bool Driver::IsArena(const void* data, size_t length) const {
  const auto* start = static_cast<const uint8_t*>(data);
  return start >= arena_->data() && start <= arena_->data() + arena_->size() &&
         length <= static_cast<size_t>(arena_->data() + arena_->size() - start);
}

Counters Driver::Stats() {
  Counters counters = counters_;
  counters.endpoints = slots_.count();
  FillStats(&counters);
  return counters;
}

}  // namespace uring_net
