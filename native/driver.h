// The low-level API's engine: takes commands from JavaScript, starts operations on endpoints, and
// brings back completions in batches. How operations are carried out is the backend's.
#pragma once

#include <napi.h>
#include <uv.h>

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "contract.h"
#include "loop_engine.h"
#include "operation.h"
#include "operation_backend.h"
#include "options.h"
#include "socket_calls.h"

namespace uring_net {

// As in the contract: [opcode, token, id, a, b, c, d, e].
struct Command {
  int32_t opcode;
  int32_t token;
  int32_t id;
  int32_t a;
  int32_t b;
  int32_t c;
  int32_t d;
  int32_t e;
};

struct Completion {
  int32_t token;
  int32_t result;
  int32_t flags;
  int32_t extra;
};

class Driver final : public LoopEngine, public OperationHost {
 public:
  Driver(napi_env env, EngineOwner* owner, const Options& options,
         std::unique_ptr<OperationBackend> backend);

  // 0 or -errno; after an error it may be deleted at once.
  int Start(uv_loop_t* loop, napi_value dispatch);

  // --- the interface of binding.ts, argument types already checked ---

  // Takes the queued commands and hands over to the kernel what they start.
  void Submit();
  void KeepAlive(bool on) { SetRef(on); }
  int Open(int32_t family);
  int Adopt(int32_t fd);
  // An endpoint that reads from the same open file; the descriptor stays the caller's.
  int OpenFile(int32_t fd);
  int OpenPipe();
  int Share(int32_t fd);
  int Bind(int32_t id, std::string_view address, int32_t port, int32_t flags);
  int Connect(int32_t token, int32_t id, std::string_view address, int32_t port);
  int Listen(int32_t id, int32_t backlog);
  int Name(int32_t id, bool peer, SocketName* out);
  int Descriptor(int32_t id);
  int SetOption(int32_t id, int32_t option, int32_t value);
  int OpenDatagram(int32_t family);
  int BindDatagram(int32_t id, std::string_view address, int32_t port, int32_t flags);
  int ConnectDatagram(int32_t id, std::string_view address, int32_t port);
  int Membership(int32_t id, std::string_view group, std::string_view interface, bool join);
  int MulticastInterface(int32_t id, std::string_view interface);
  // A datagram that goes out within the call; `words` may be null. Its bytes or -errno.
  int SendDatagramNow(int32_t id, int32_t index, int32_t offset, int32_t length, int32_t* words);
  // Buffer `index` is that memory from now on. It is pinned by the caller while the kernel has it.
  int Register(int32_t index, uint8_t* data, size_t length);
  // Bytes of a send in flight that the kernel has not taken.
  int32_t Unsent(int32_t token);
  int32_t Offer(int32_t id, IoVecs pieces);
  // recv(2) from a socket into the beginning of buffer `index`: bytes, 0 at the end of the stream,
  // or -errno.
  int32_t ReceiveNow(int32_t id, int32_t index, int32_t length);
  // splice(2) into a pipe from a socket, and out of it: bytes, 0 at the end of the stream, or
  // -errno.
  int32_t FillPipe(int32_t pipe, int32_t from, int32_t length);
  int32_t DrainPipe(int32_t pipe, int32_t to, int32_t length);
  // What is in a pipe, into the beginning of buffer `index`. Bytes or -errno.
  int32_t ReadPipe(int32_t pipe, int32_t index, int32_t length);
  Counters Stats() const;

  enum Buffer { kCommandsBuffer, kCompletionsBuffer };
  napi_value MakeBuffer(Buffer which) {
    return View(which == kCommandsBuffer ? commands_region_ : completions_region_);
  }

  // LoopEngine
  void Flush() override { Submit(); }

  // OperationHost
  Operation* FindOperation(int32_t token) override { return operations_.Find(token); }
  Endpoint* FindEndpoint(int32_t id) override { return endpoints_.Find(id); }
  void Complete(Operation& operation, int32_t result, bool more, int32_t extra) override;
  int32_t Admit(int fd, const Endpoint& listener) override;
  bool IsAcceptErrorAbsorbed(Endpoint& listener, int error) override;
  iovec BufferAt(int32_t index) override { return buffers_[static_cast<size_t>(index)]; }

 private:
  bool OnPrepare() override;
  void OnPoll() override { Deliver(); }
  void OnCheck() override;
  int End() override;

  bool HasWork() const {
    return !completed_.empty() || !deferred_.empty() || backend_->HasUnannouncedWork();
  }
  uint32_t CommandCount() const;
  void TakeCommands();
  bool Run(const Command& command);
  bool RunStart(const Command& command);
  bool RunClose(const Command& command);
  int Prepare(Operation& operation, Endpoint& endpoint, const Command& command);
  int AddPiece(Operation& operation, const Command& command);
  void PostResult(int32_t token, int result) { completed_.push_back({token, result, 0, -1}); }
  void Begin(Operation& operation, Endpoint& endpoint, int32_t opcode, Kind kind);
  void FinishClose(Endpoint& endpoint);
  Endpoint* FindOpen(int32_t id);
  Endpoint* FindDatagram(int32_t id);
  Endpoint* FindPipe(int32_t id);
  // Where the first `length` bytes of a buffer are; nullptr when it has not so many.
  uint8_t* BeginningOf(int32_t index, int32_t length) const;
  // What a call that reads from a socket has come to.
  int32_t Received(Endpoint& from, ssize_t result);
  void CancelIfActive(Operation* operation);
  void Deliver();
  bool FillBatch();

  const Options options_;
  std::unique_ptr<OperationBackend> backend_;
  EndpointTable endpoints_;
  OperationTable operations_;
  std::vector<iovec> buffers_;
  SpareFd spare_fd_;
  Counters counters_;

  std::shared_ptr<Region> commands_region_;
  std::shared_ptr<Region> completions_region_;
  int32_t* commands_ = nullptr;
  int32_t* completions_ = nullptr;

  // Commands that found no room, in order; they go before any later one.
  std::deque<Command> deferred_;
  // What has completed and is not in a batch yet.
  std::deque<Completion> completed_;
};

}  // namespace uring_net
