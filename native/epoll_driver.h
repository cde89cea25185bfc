// The epoll driver: the same completions from non-blocking system calls, for kernels and containers
// that refuse io_uring. Owns an epoll descriptor and the list of endpoints that may make progress;
// the meaning of commands and completions is driver.h's.
#pragma once

#include <sys/epoll.h>

#include <vector>

#include "driver.h"

namespace uring_net {

class EpollDriver final : public Driver {
 public:
  using Driver::Driver;

 protected:
  int Setup() override;
  int poll_descriptor() const override { return epoll_; }
  bool nonblocking_sockets() const override { return true; }
  int Register(Slot& slot) override;
  bool Room(unsigned) override { return true; }
  void StartReceive(Slot& slot) override;
  void StartSend(Slot& slot) override;
  void StartAccept(Slot& slot) override;
  // It is registered: an edge tells.
  void StartConnect(Slot&) override {}
  void StartCancel(Slot& slot, int32_t op) override;
  void Flush() override {}
  void Gather() override;
  void Recycle() override { pool_used_ = 0; }
  bool HasUnannouncedWork() const override { return !ready_.empty(); }
  void OnReadable() override { harvest_ = true; }
  // The kernel holds no operation of ours.
  bool SendIsWhole(const Slot& slot) const override { return slot.send.sent == slot.send.length; }
  int Drain() override { return 0; }
  void Teardown(bool keep_mapped) override;

 private:
  void Harvest();
  void List(Slot& slot);
  void Progress(Slot& slot);
  // Advances the send; true when it is over, with its result and bytes sent.
  bool TrySend(Slot& slot, int32_t* result);
  void FinishConnect(Slot& slot);
  void AcceptSome(Slot& slot);
  void ReceiveSome(Slot& slot);

  int epoll_ = -1;
  // The epoll descriptor was reported readable.
  bool harvest_ = false;
  // Bytes of the pool filled in the batch under construction.
  uint32_t pool_used_ = 0;
  // Ids of endpoints that may make progress, each once (Slot::listed).
  std::vector<int32_t> ready_;
  std::vector<int32_t> visiting_;
  std::vector<epoll_event> events_;
};

}  // namespace uring_net
