// The io_uring driver. Owns the ring, the provided buffers and what the kernel was asked to do; the
// meaning of commands and completions is driver.h's.
#pragma once

#include <liburing.h>

#include "driver.h"
#include "provided_ring.h"

namespace uring_net {

class UringDriver final : public Driver {
 public:
  using Driver::Driver;

 protected:
  int Setup() override;
  int poll_descriptor() const override { return ring_.ring_fd; }
  // The kernel waits for readiness by itself; with O_NONBLOCK, before 6.0, it would answer -EAGAIN
  // instead.
  bool nonblocking_sockets() const override { return false; }
  int Register(Slot&) override { return 0; }
  bool Room(unsigned count) override;
  void StartReceive(Slot& slot) override;
  void StartSend(Slot& slot) override;
  void StartAccept(Slot& slot) override;
  void StartConnect(Slot& slot) override;
  void StartCancel(Slot& slot, int32_t op) override;
  bool RunOwn(const Command& command) override;
  void Flush() override;
  void Gather() override;
  void Recycle() override {
    provided_.Recycle();
    reserve_.Recycle();
  }
  bool HasUnannouncedWork() const override { return io_uring_sq_ready(&ring_) > 0; }
  bool HasReceived(const Slot& slot) const override;
  bool SendIsWhole(const Slot& slot) const override;
  int Drain() override;
  void Teardown(bool keep_mapped) override;
  void FillStats(Counters* counters) override;

 private:
  // [kRepeatCancel, id, op]
  static constexpr int32_t kRepeatCancel = kOwnCommand;

  // A receive whose bytes reach to the end of their buffer: its slot, how many they are, where they
  // end in the pool.
  struct Cut {
    int32_t id = 0;
    uint32_t bytes = 0;
    uint32_t end = 0;
  };

  int SetupPool();
  io_uring_sqe* NextEntry();
  void Track(io_uring_sqe* sqe, const Slot& slot, int32_t op);
  void RunKernelWork();
  void Complete(const io_uring_cqe& cqe);
  void CompleteReceive(Slot& slot, const io_uring_cqe& cqe);
  bool JoinReceive(Slot& slot, uint32_t offset, uint32_t bytes, bool more, Cut* cut);
  void CompleteSend(Slot& slot, int32_t result);
  void CompleteAccept(Slot& slot, const io_uring_cqe& cqe);
  void CompleteCancel(Slot* slot, int32_t target, int32_t result);
  bool Uses(uint32_t feature) const { return (features_ & feature) != 0; }

  io_uring ring_ = {};
  ProvidedRing provided_;
  ProvidedRing reserve_;
  // What the last completion left open.
  Cut cut_;
  uint32_t features_ = 0;
  bool overflowing_ = false;
  // Operations the kernel knows of; memory and descriptors may go when it is zero.
  uint32_t in_kernel_ = 0;
};

}  // namespace uring_net
