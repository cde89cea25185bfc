// The shared half of a driver; see driver.h.
#include "driver.h"

#include <sys/ioctl.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iterator>
#include <utility>

namespace uring_net {

namespace {

// Bounded, so that timers and other handles get their share: rounds of DeliverPosted(), and batches
// that one poll delivers.
constexpr int kRoundsPerTurn = 8;
constexpr int kBatchesPerPoll = 4;

// Times that a batch is put off for what its first completions led to.
constexpr int kRoundsBetween = 8;

void OnIdle(uv_idle_t*) {}

void WriteWords(int32_t* words, const Completion& completion) {
  words[0] = completion.opcode | completion.flags << 8;
  words[1] = completion.id;
  words[2] = completion.result;
  words[3] = completion.extra;
}

size_t WordsToBytes(size_t words) { return words * sizeof(int32_t); }

}  // namespace

Driver::Driver(napi_env env, DriverOwner* owner, const Options& options)
    : options_(options), slots_(options.endpoints_max), env_(env), owner_(owner), js_(env) {}

Driver::~Driver() { URING_CHECK(handles_open_ == 0 && !stuck()); }

int Driver::Start(uv_loop_t* loop, napi_value dispatch) {
  commands_region_ =
      Region::Map(WordsToBytes(kCommandHeaderWords + kCommandWords * options_.command_capacity));
  completions_region_ =
      Region::Map(WordsToBytes(kCompletionHeaderWords + kCompletionWords * options_.batch_size));
  arena_ = Region::Map(options_.arena_bytes);
  if (!commands_region_ || !completions_region_ || !arena_) return -ENOMEM;
  commands_ = reinterpret_cast<int32_t*>(commands_region_->data());
  completions_ = reinterpret_cast<int32_t*>(completions_region_->data());
  others_.reserve(options_.batch_size);

  int error = Setup();
  if (error != 0) return error;
  URING_CHECK(pool_ != nullptr);
  if (!js_.Init(dispatch)) error = -ENOMEM;
  if (error == 0) error = uv_poll_init(loop, &poll_, poll_descriptor());
  if (error != 0) {
    Teardown(false);
    js_.Drop();
    return error;
  }
  loop_ = loop;
  uv_prepare_init(loop, &prepare_);
  uv_idle_init(loop, &idle_);
  handles_open_ = 3;
  poll_.data = prepare_.data = idle_.data = this;
  uv_unref(reinterpret_cast<uv_handle_t*>(&poll_));
  uv_unref(reinterpret_cast<uv_handle_t*>(&prepare_));
  uv_unref(reinterpret_cast<uv_handle_t*>(&idle_));
  uv_poll_start(&poll_, UV_READABLE, OnPoll);
  uv_prepare_start(&prepare_, OnPrepare);
  return 0;
}

napi_value Driver::MakeBuffer(Buffer which) {
  const std::shared_ptr<Region>* regions[] = {&commands_region_, &completions_region_, &arena_,
                                              &pool_};
  const size_t lengths[] = {
      WordsToBytes(kCommandHeaderWords + kCommandWords * options_.command_capacity),
      WordsToBytes(kCompletionHeaderWords + kCompletionWords * options_.batch_size), arena_->size(),
      pool_->size()};
  napi_value view = MakeView(env_, *regions[which], 0, lengths[which]);
  if (view == nullptr) return nullptr;
  if (napi_create_reference(env_, view, 1, &buffers_[which]) != napi_ok) return nullptr;
  return view;
}

// --- commands ---

uint32_t Driver::CommandCount() const {
  return static_cast<uint32_t>(
      std::clamp<int64_t>(commands_[0], 0, static_cast<int64_t>(options_.command_capacity)));
}

void Driver::TakeCommands() {
  for (size_t left = deferred_.size(); left > 0; --left) {
    const Command command = deferred_.front();
    deferred_.pop_front();
    if (!Run(command)) {
      deferred_.push_front(command);
      break;
    }
  }
  const uint32_t count = CommandCount();
  for (uint32_t i = 0; i < count; ++i) {
    const int32_t* words = commands_ + kCommandHeaderWords + i * kCommandWords;
    // Only JavaScript writes here; internal opcodes cannot come from it.
    const Command command = {words[0], words[1], words[2], words[3]};
    if (command.opcode < kReceive || command.opcode > kWake || command.opcode == kConnect) {
      Refuse(command, -EINVAL);
    } else if (!deferred_.empty() || !Run(command)) {
      Defer(command);
    }
  }
  commands_[0] = 0;
}

void Driver::Refuse(const Command& command, int error) {
  posted_.push_back({command.opcode & 0xff, 0, command.id, error, 0, Effect::kNone});
}

// Returns false when there is no room for the command now; nothing has changed then.
bool Driver::Run(const Command& command) {
  if (command.opcode >= kOwnCommand) return RunOwn(command);
  if (command.opcode == kWake) {
    Refuse(command, command.id == 0 ? 0 : -EINVAL);
    return true;
  }
  if (command.opcode == kResume) return RunResume(slots_.Find(command.id), command.a);
  Slot* slot = FindOpen(command.id);
  if (slot == nullptr && command.opcode == kClose) {
    // Its one completion is still to come, or on its way.
    Slot* closing = slots_.Find(command.id);
    if (closing != nullptr) {
      if (closing->life == Life::kClosing) MarkReset(*closing, command.a);
      return true;
    }
  }
  if (slot == nullptr) {
    Refuse(command, -EBADF);
    return true;
  }
  int error = 0;
  switch (command.opcode) {
    case kReceive:
      error = command.a != 0 && command.a != 1 ? -EINVAL : !slot->idle(kReceive) ? -EALREADY : 0;
      break;
    case kAccept:
      error = !slot->listening ? -EINVAL : !slot->idle(kAccept) ? -EALREADY : 0;
      break;
    case kShutdown:
      error = !slot->idle(kSend) ? -EBUSY : !slot->idle(kShutdown) ? -EALREADY : 0;
      break;
    case kSend:
      error = !IsInArena(command.a, command.b) ? -EINVAL : !slot->idle(kSend) ? -EALREADY : 0;
      break;
    case kCancel:
      if (command.a < kReceive || command.a > kOperationMax) error = -EINVAL;
      break;
    case kClose:
      if (command.a < 0 || command.a > kCloseUnread) error = -EINVAL;
      break;
  }
  if (error != 0) {
    Refuse(command, error);
    return true;
  }
  switch (command.opcode) {
    case kCancel:
      // Already asked for, over, or never there: nothing to do.
      if (!slot->active(command.a)) return true;
      if (!Room(1)) return false;
      slot->MarkCancelling(command.a);
      StartCancel(*slot, command.a);
      return true;
    case kClose:
      return RunClose(*slot, command.a);
    case kShutdown:
      // IORING_OP_SHUTDOWN always goes through a kernel worker thread; the call itself does not
      // wait.
      slot->Begin(kShutdown);
      ++counters_.in_flight;
      ++counters_.submissions;
      Post(*slot, kShutdown, shutdown(slot->fd, SHUT_WR) == -1 ? -errno : 0);
      return true;
  }
  if (!Room(1)) return false;
  slot->Begin(command.opcode);
  ++counters_.in_flight;
  ++counters_.submissions;
  if (command.opcode == kReceive) {
    slot->from_reserve = command.a == 1;
    StartReceive(*slot);
  } else if (command.opcode == kAccept) {
    StartAccept(*slot);
  } else {
    slot->send = SendProgress{arena_->data() + command.a, static_cast<uint32_t>(command.b), 0, {}};
    StartSend(*slot);
  }
  return true;
}

void Driver::Resume(Slot& slot, int32_t op) {
  const Command command = {kResume, slot.id, op, 0};
  // Not before what waits already: a close or cancel among it must find the operation where it
  // expects it.
  if (!deferred_.empty() || !Run(command)) Defer(command);
}

bool Driver::RunResume(Slot* slot, int32_t op) {
  if (slot == nullptr) return true;
  // The kernel knows nothing of the operation now, so a cancel asked for meanwhile ends it here.
  if (slot->state(op) == OpState::kCancelling) {
    Post(*slot, op, -ECANCELED, op == kSend ? static_cast<int32_t>(slot->send.sent) : 0);
    return true;
  }
  if (!slot->active(op)) return true;
  if (!Room(1)) return false;
  switch (op) {
    case kSend:
      StartSend(*slot);
      break;
    case kAccept:
      StartAccept(*slot);
      break;
    case kConnect:
      StartConnect(*slot);
      break;
    default:
      URING_CHECK(!"an operation that is never resumed");
  }
  return true;
}

void Driver::MarkReset(Slot& slot, int32_t how) {
  if (how == kCloseReset || how == kCloseUnread) slot.reset = true;
}

bool Driver::RunClose(Slot& slot, int32_t how) {
  constexpr int32_t cancellable[] = {kReceive, kSend, kAccept, kConnect};
  if (!Room(std::size(cancellable))) return false;
  slot.life = Life::kClosing;
  MarkReset(slot, how);
  // While an accept is in flight the kernel keeps the listening socket alive beyond close(2), and
  // it would go on taking connections.
  if (slot.listening) shutdown(slot.fd, SHUT_RDWR);
  if (!slot.path.empty()) {
    // Before the descriptor is closed, so that a successor's new socket of that name is not
    // removed.
    unlink(slot.path.c_str());
    slot.path.clear();
  }
  for (const int32_t op : cancellable) {
    if (!slot.active(op)) continue;
    slot.MarkCancelling(op);
    StartCancel(slot, op);
  }
  FinishClose(slot);
  if (slot.in_flight > 0) began_closing_ = true;
  if (slot.in_flight > 0 && !slot.listening) closing_.push_back(slot.id);
  return true;
}

void Driver::FlushAll() {
  Flush();
  EndStreams();
  closing_.clear();
}

void Driver::EndStreams() {
  const auto ended = [this](int32_t id) {
    Slot* slot = slots_.Find(id);
    return slot == nullptr || EndStream(*slot);
  };
  closing_.erase(std::remove_if(closing_.begin(), closing_.end(), ended), closing_.end());
}

// The descriptor of a closing connection stays open until its operations have ended. What arrives
// meanwhile would make close(2) reset the connection, though nothing was unread when the close was
// asked for. So the FIN goes out now, as with a descriptor that is closed at once.
// False: bytes are on their way into the socket, and have to be there first.
bool Driver::EndStream(Slot& slot) {
  if (slot.life != Life::kClosing || slot.reset) return true;
  if (!slot.idle(kSend) && !SendIsWhole(slot)) return false;
  int unread = 0;
  if (IsUnread(slot)) {
    MarkReset(slot, kCloseUnread);
  } else if (ioctl(slot.fd, FIONREAD, &unread) == 0 && unread == 0) {
    shutdown(slot.fd, SHUT_WR);
  }
  return true;
}

// Whether bytes were received that JavaScript has not seen.
bool Driver::IsUnread(const Slot& slot) const {
  const int32_t count = std::min<int32_t>(completions_[0], options_.batch_size);
  for (int32_t i = std::max(completions_[1], 0); dispatching_ && i < count; ++i) {
    const int32_t* words = completions_ + kCompletionHeaderWords + i * kCompletionWords;
    if (words[1] == slot.id && (words[0] & 0xff) == kReceive && words[2] > 0) return true;
  }
  const bool keeps = !dispatching_ || !is_whole_;
  const auto is_unread = [&slot](const Completion& completion) {
    return completion.id == slot.id && completion.opcode == kReceive && completion.result > 0;
  };
  if (keeps && std::any_of(others_.begin(), others_.end(), is_unread)) return true;
  return HasReceived(slot);
}

// C1, C4: the descriptor goes only after the last completion of every operation on it.
void Driver::FinishClose(Slot& slot) {
  if (slot.life != Life::kClosing || slot.in_flight > 0) return;
  if (slot.reset) SetResetOnClose(slot.fd);
  CloseDescriptor(slot);
  slot.life = Life::kClosed;
  AnnounceClosed(slot);
}

// As libuv tells of what uv_close has closed: in the loop's closing phase, after immediates.
void Driver::AnnounceClosed(const Slot& slot) {
  closed_ids_.push_back(slot.id);
  AwaitClosingPhase();
}

void Driver::AwaitClosingPhase() {
  if (awaits_closing_phase_ || closed_) return;
  awaits_closing_phase_ = true;
  ++handles_open_;
  uv_idle_init(loop_, &closing_phase_);
  closing_phase_.data = this;
  uv_close(reinterpret_cast<uv_handle_t*>(&closing_phase_), OnClosingPhase);
}

void Driver::OnClosingPhase(uv_handle_t* handle) {
  auto* driver = static_cast<Driver*>(handle->data);
  // What an immediate has closed is still to be submitted.
  if (driver->began_closing_ && !driver->closed_) {
    driver->Submit();
    driver->DeliverFirst();
  }
  driver->awaits_closing_phase_ = false;
  if (!driver->closed_) driver->DeliverClosed();
  OnHandleClosed(handle);
}

void Driver::DeliverClosed() {
  // What is closed by these callbacks is told in the next turn. What is kept goes on waiting for
  // the poll phase, except what has to precede the end of its endpoint.
  size_t left = closed_ids_.size();
  first_ = 0;
  AdvanceKeptOfClosed(&others_);
  AdvanceKeptOfClosed(&failed_);
  if (first_ > 0) {
    SealBatch(false);
    Dispatch();
  }
  // What the last completions of an endpoint have led to is about one that is still known.
  if (!closed_ && CommandsQueued()) TakeCommands();
  while (left > 0 && !closed_) {
    for (first_ = 0; left > 0 && first_ < options_.batch_size; --left, ++first_) {
      const int32_t id = closed_ids_.front();
      closed_ids_.pop_front();
      WriteWords(completions_ + kCompletionHeaderWords + first_ * kCompletionWords,
                 {kClose, 0, id, 0, 0, Effect::kNone});
      slots_.Release(*slots_.Find(id));
    }
    SealBatch(false);
    Dispatch();
  }
  if (!closed_) Submit();
}

void Driver::AdvanceKeptOfClosed(std::vector<Completion>* kept) {
  const auto advanced = [this](const Completion& completion) {
    const Slot* slot = slots_.Find(completion.id);
    if (slot == nullptr || slot->life != Life::kClosed) return false;
    WriteWords(completions_ + kCompletionHeaderWords + first_++ * kCompletionWords, completion);
    return true;
  };
  kept->erase(std::remove_if(kept->begin(), kept->end(), advanced), kept->end());
}

void Driver::CloseDescriptor(Slot& slot) {
  close(slot.fd);
  slot.fd = -1;
}

// --- completions ---

void Driver::EndOperation(Slot& slot, int32_t op) {
  slot.End(op);
  --counters_.in_flight;
  if (op == kSend) {
    counters_.heap_bytes -= slot.send.heap.length;
    slot.send = SendProgress();
  }
  FinishClose(slot);
}

void Driver::Emit(const Completion& completion) {
  URING_CHECK(!BatchFull());
  Slot* slot = completion.effect != Effect::kNone || completion.opcode == kReceive
                   ? slots_.Find(completion.id)
                   : nullptr;
  if (ComesFirst(completion, slot)) {
    WriteWords(completions_ + kCompletionHeaderWords + first_++ * kCompletionWords, completion);
  } else if (completion.opcode == kSend) {
    failed_.push_back(completion);
  } else {
    others_.push_back(completion);
  }
  if (slot != nullptr && slot->life == Life::kClosing && completion.opcode == kReceive &&
      completion.result > 0) {
    MarkReset(*slot, kCloseUnread);
  }
  if (completion.effect == Effect::kNone) return;
  URING_CHECK(slot != nullptr);
  EndOperation(*slot, completion.opcode);
}

// What a write or a close led to is told before anything else is read.
bool Driver::ComesFirst(const Completion& completion, const Slot* slot) {
  switch (completion.opcode) {
    case kShutdown:
    case kWake:
      return true;
    case kSend:
      return completion.result >= 0 || completion.result == -ECANCELED ||
             completion.effect != Effect::kEndsOp;
    case kClose:
      return false;
    default:
      return slot != nullptr && slot->life == Life::kClosing;
  }
}

void Driver::Emit(Slot& slot, int32_t op, bool more, int32_t result, int32_t extra) {
  Emit({op, more ? kFlagMore : 0, slot.id, result, extra, more ? Effect::kNone : Effect::kEndsOp});
}

void Driver::ExtendReceive(Slot& slot, bool more, int32_t bytes) {
  URING_CHECK(!others_.empty());
  Completion& last = others_.back();
  URING_CHECK(last.opcode == kReceive && last.id == slot.id && last.effect == Effect::kNone);
  last.result += bytes;
  if (more) return;
  last.flags = 0;
  last.effect = Effect::kEndsOp;
  EndOperation(slot, kReceive);
}

void Driver::Post(Slot& slot, int32_t op, int32_t result, int32_t extra) {
  slot.MarkEnding(op);
  posted_.push_back({op, 0, slot.id, result, extra, Effect::kEndsOp});
}

void Driver::EmitPosted() {
  while (!posted_.empty() && !BatchFull()) {
    const Completion completion = posted_.front();
    posted_.pop_front();
    Emit(completion);
  }
}

int32_t Driver::Admit(int fd, const Slot& listener) {
  Slot* slot = slots_.Acquire(fd, listener.family);
  if (slot == nullptr) {
    close(fd);
    return -ENFILE;
  }
  const int error = Register(*slot);
  if (error == 0) return slot->id;
  CloseDescriptor(*slot);
  slot->life = Life::kClosed;
  slots_.Release(*slot);
  return error;
}

bool Driver::AcceptErrorAbsorbed(Slot& listener, int error) {
  if (!listener.active(kAccept)) return false;
  switch (error) {
    case -ECONNABORTED:
    case -EPROTO:
    case -EINTR:
    case -EAGAIN:
      return true;
    case -EMFILE:
    case -ENFILE:
      return reserve_.RefuseWaiting(listener.fd);
    default:
      return false;
  }
}

// --- one turn of the loop ---

void Driver::OnPrepare(uv_prepare_t* handle) { static_cast<Driver*>(handle->data)->Turn(); }

void Driver::OnPoll(uv_poll_t* handle, int, int) {
  auto* driver = static_cast<Driver*>(handle->data);
  if (driver->dispatching_) return;
  driver->OnReadable();
  for (int i = 0; i < kBatchesPerPoll && !driver->closed_; ++i) {
    if (driver->Deliver() < static_cast<int>(driver->options_.batch_size)) break;
  }
  if (driver->closed_) return;
  // What the batch commanded goes out now, not after the rest of the loop's turn: no other callback
  // adds to it.
  driver->Submit();
  driver->DeliverPosted();
}

// What must not wait for the loop's next turn, and nothing else: what a peer answers meanwhile
// comes after this turn's immediates, as with libuv, which polls once in a turn. Wakes come before
// them: a TLSWrap is told that its write is done before it goes on by an immediate of its own. What
// was closed is told of in this turn's closing phase, if its operations end now.
void Driver::DeliverPosted() {
  for (int i = 0; i < kRoundsPerTurn && !closed_ && (began_closing_ || has_posted()); ++i) {
    if (DeliverFirst() > 0 && !closed_) Submit();
  }
}

void Driver::Turn() {
  if (dispatching_ || closed_) return;
  uv_idle_stop(&idle_);
  ++turn_;
  Submit();
  // What is received is delivered in the poll phase, once in a turn, as by libuv; here only what no
  // readiness would announce.
  if (has_kept() || has_deferred() || HasUnannouncedWork()) {
    if (Deliver() > 0 && !closed_) Submit();
  }
  DeliverPosted();
  if (closed_) return;
  if (has_posted() || has_kept() || has_deferred() || HasUnannouncedWork())
    uv_idle_start(&idle_, OnIdle);
}

// Gathers one batch and gives it to JavaScript. Returns its size.
int Driver::Deliver() {
  began_closing_ = false;
  first_ = 0;
  Gather();
  return DeliverGathered();
}

int Driver::DeliverGathered() {
  URING_CHECK(!dispatching_ && !closed_);
  const uint64_t before = counters_.completions;
  SealBatch(true);
  if (completions_[0] > 0) Dispatch();
  others_.clear();
  failed_.clear();
  if (!closed_) Recycle();
  return static_cast<int>(counters_.completions - before);
}

// Gives JavaScript what comes first, and keeps what else there is for the next Deliver().
int Driver::DeliverFirst() {
  URING_CHECK(!dispatching_ && !closed_);
  const uint64_t before = counters_.completions;
  first_ = 0;
  // The operations of what is closed may have ended already.
  if (std::exchange(began_closing_, false)) {
    Gather();
  } else {
    EmitPosted();
  }
  SealBatch(false);
  if (completions_[0] > 0) Dispatch();
  return static_cast<int>(counters_.completions - before);
}

void Driver::SealBatch(bool whole) {
  is_whole_ = whole;
  int32_t* words = completions_ + kCompletionHeaderWords + first_ * kCompletionWords;
  // A reset ends sends and receives alike: as with libuv, the receive is what tells of it.
  for (const auto* part : {&others_, &failed_}) {
    for (const Completion& completion : *part) {
      if (!whole) break;
      WriteWords(words, completion);
      words += kCompletionWords;
    }
  }
  completions_[0] = static_cast<int32_t>(whole ? BatchSize() : first_);
  completions_[1] = 0;
  completions_[2] = static_cast<int32_t>(first_);
  completions_[3] = static_cast<int32_t>(turn_);
}

// The completions that come first are delivered: submits what they led to, and seals the rest of
// the batch anew behind what that has completed.
void Driver::SubmitBetween(bool last) {
  counters_.completions += first_;
  first_ = 0;
  Submit();
  EmitPosted();
  SealBatch(true);
  if (last) completions_[2] = 0;
}

// The batch array is not touched while JavaScript is in here: it may call back into submit(),
// connect() or close().
void Driver::Dispatch() {
  ++counters_.batches;
  dispatching_ = true;
  for (int rounds = kRoundsBetween;;) {
    js_.Run(&completions_[1], completions_[0]);
    if (closed_ || js_.answer() != kSubmit) break;
    SubmitBetween(--rounds == 0);
  }
  if (!closed_) counters_.completions += static_cast<uint64_t>(completions_[0]);
  dispatching_ = false;
}

// --- teardown ---

int Driver::Shutdown(bool detach) {
  if (closed_) return stuck_;
  // W6: what was accepted gets its first attempt; nobody waits for it.
  Submit();
  closed_ = true;
  StopHandles();
  stuck_ = Drain();
  slots_.ForEach([this](Slot& slot) {
    if (!slot.path.empty()) unlink(slot.path.c_str());
    if (slot.fd != -1) {
      if (slot.reset) SetResetOnClose(slot.fd);
      CloseDescriptor(slot);
    }
  });
  reserve_.Close();
  Teardown(stuck());
  DropReferences(detach);
  return stuck_;
}

void Driver::StopHandles() {
  // uv_close stops watching at once, so that the descriptor may be closed after it; the memory of
  // the handles stays libuv's until the callbacks.
  uv_close(reinterpret_cast<uv_handle_t*>(&poll_), OnHandleClosed);
  uv_close(reinterpret_cast<uv_handle_t*>(&prepare_), OnHandleClosed);
  uv_close(reinterpret_cast<uv_handle_t*>(&idle_), OnHandleClosed);
}

void Driver::OnHandleClosed(uv_handle_t* handle) {
  auto* driver = static_cast<Driver*>(handle->data);
  if (--driver->handles_open_ == 0) driver->owner_->OnDriverGone(driver);
}

void Driver::DropReferences(bool detach) {
  napi_handle_scope scope;
  if (napi_open_handle_scope(env_, &scope) != napi_ok) return;
  for (napi_ref& reference : buffers_) {
    napi_value buffer = nullptr;
    if (reference == nullptr) continue;
    if (detach && napi_get_reference_value(env_, reference, &buffer) == napi_ok &&
        buffer != nullptr) {
      napi_detach_arraybuffer(env_, buffer);
    }
    napi_delete_reference(env_, reference);
    reference = nullptr;
  }
  js_.Drop();
  napi_close_handle_scope(env_, scope);
}

}  // namespace uring_net
