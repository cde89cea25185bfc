// Sockets of Node's, received for and sent from by us; see stream_engine.h.
#include "stream_engine.h"

#include <linux/sock_diag.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "libuv_stream.h"
#include "socket_calls.h"

namespace uring_net {

namespace {

constexpr int kBatchesPerPoll = 4;
// A completion that says that a send failed has this for its offset.
constexpr uint32_t kSendFailed = 0xffffffff;
// What a small segment costs the kernel beyond its bytes (SKB_TRUESIZE), generously.
constexpr int64_t kSegmentCost = 2304;

Stream* FindForBatch(void* host, int32_t id) {
  return static_cast<StreamEngine*>(host)->FindStreamById(id);
}

}  // namespace

StreamEngine::StreamEngine(napi_env env, EngineOwner* owner, const Options& options,
                           std::unique_ptr<StreamBackend> backend)
    : LoopEngine(env, owner),
      options_(options),
      backend_(std::move(backend)),
      batch_(this, FindForBatch, options.gather_us) {}

int StreamEngine::Start(uv_loop_t* loop, napi_value dispatch) {
  pieces_region_ =
      Region::Map((kHeaderWords + kPieceWords * options_.batch_size) * sizeof(int32_t));
  if (!pieces_region_ || !batch_.Map()) return -ENOMEM;
  pieces_ = reinterpret_cast<int32_t*>(pieces_region_->data());
  int error = backend_->Setup(this, options_);
  if (error != 0) return error;
  error = StartTurns(loop, dispatch, backend_->poll_descriptor());
  if (error != 0) backend_->Teardown(false);
  return error;
}

napi_value StreamEngine::MakeBuffer(Buffer which) {
  const std::shared_ptr<Region>* regions[] = {&pieces_region_, &backend_->pool(), &batch_.entries(),
                                              &batch_.bytes()};
  return View(*regions[which]);
}

Counters StreamEngine::Stats() const {
  Counters counters = counters_;
  counters.endpoints = live_;
  backend_->FillStats(&counters);
  return counters;
}

// --- the table ---

Stream* StreamEngine::FindStreamById(int32_t id) {
  const uint32_t index = static_cast<uint32_t>(id) & kIndexMask;
  if (id <= 0 || index >= streams_.size()) return nullptr;
  Stream* stream = streams_[index].get();
  return stream->id == id ? stream : nullptr;
}

int32_t StreamEngine::Attach(int32_t fd, bool is_unix) {
  if (closed()) return -EBADF;
  // Lifetime: the handle of a stream that is not detached is open.
  uv_stream_t* handle = FindStream(loop(), fd, latest_ == nullptr ? nullptr : latest_->handle);
  if (handle == nullptr) return -ENOENT;
  const std::lock_guard<std::mutex> lock(batch_.mutex());
  uint32_t index;
  if (!free_.empty()) {
    index = free_.front();
    free_.pop_front();
  } else if (streams_.size() < options_.endpoints_max) {
    index = static_cast<uint32_t>(streams_.size());
    streams_.push_back(std::make_unique<Stream>());
    generations_.push_back(0);
  } else {
    return -ENFILE;
  }
  const uint32_t generation = generations_[index] = generations_[index] % kGenerationMax + 1;
  Stream& stream = *streams_[index];
  stream = Stream();
  stream.id = static_cast<int32_t>(generation << kSlotBits | index);
  stream.fd = fd;
  stream.handle = handle;
  stream.is_unix = is_unix;
  latest_ = &stream;
  ++live_;
  ++counters_.opened;
  return stream.id;
}

int32_t StreamEngine::Detach(int32_t id, std::string* bytes) {
  Flush();
  const int32_t status = Disarm(id, bytes);
  Stream* stream = FindStreamById(id);
  if (stream == nullptr) return status;
  // A receive that could not be cancelled ends here; it would keep the socket open.
  if (stream->in_kernel) shutdown(stream->fd, SHUT_RD);
  const std::lock_guard<std::mutex> lock(batch_.mutex());
  free_.push_back(static_cast<uint32_t>(id) & kIndexMask);
  *stream = Stream();
  --live_;
  return status;
}

// --- receiving ---

int32_t StreamEngine::Arm(int32_t id) {
  Stream* stream = FindStreamById(id);
  if (stream == nullptr || closed()) return -EBADF;
  if (stream->wanted) return -EALREADY;
  const int error = backend_->Arm(*stream);
  if (error != 0) return error;
  stream->wanted = true;
  ++counters_.submissions;
  return 0;
}

int32_t StreamEngine::Disarm(int32_t id, std::string* bytes) {
  pieces_[3] = 0;
  Stream* stream = FindStreamById(id);
  if (stream == nullptr) return -EBADF;
  stream->wanted = false;
  if (!closed() && stream->armed) backend_->Disarm(*stream);
  // The kernel tells of an error once: what is not said here is lost.
  pieces_[3] = TakeWaiting(*stream, bytes);
  return 0;
}

int32_t StreamEngine::Wake(int32_t id) {
  Stream* stream = FindStreamById(id);
  if (stream == nullptr || closed()) return -EBADF;
  wakes_.push_back(id);
  return 0;
}

int32_t StreamEngine::ResetOnClose(int32_t id) {
  const Stream* stream = FindStreamById(id);
  return stream == nullptr ? -EBADF : SetResetOnClose(stream->fd);
}

// How the stream ends behind what was taken: 0 when it goes on, 1 at its end, or -errno.
int32_t StreamEngine::TakeWaiting(Stream& stream, std::string* bytes) {
  const auto answer = [](int32_t result) { return result == 0 ? 1 : result; };
  int32_t end = stream.late_end == 0 ? 0 : answer(1 - stream.late_end);
  for (uint64_t number = stream.first_waiting; number != 0;) {
    Piece& piece = Waiting(number);
    if (piece.result > 0) {
      bytes->append(reinterpret_cast<const char*>(backend_->pool()->data()) + piece.offset,
                    static_cast<size_t>(piece.result));
    } else {
      end = answer(piece.result);
    }
    // Stays in its place: what is given back to the kernel is counted by places.
    piece.id = 0;
    number = piece.next;
  }
  stream.first_waiting = stream.last_waiting = 0;
  stream.late_end = 0;
  return end;
}

void StreamEngine::OnArrived(Stream& stream, int32_t result, uint32_t offset) {
  ++arrived_;
  if (result > 0) counters_.bytes_received += static_cast<uint32_t>(result);
  waiting_.push_back({stream.id, result, offset});
  if (stream.last_waiting == 0) {
    stream.first_waiting = arrived_;
  } else {
    Waiting(stream.last_waiting).next = arrived_;
  }
  stream.last_waiting = arrived_;
}

// --- a batch ---

void StreamEngine::Emit(Stream& stream, int32_t result, uint32_t offset) {
  const uint32_t place = static_cast<uint32_t>(pieces_[0]++);
  int32_t* words = PieceWords(place);
  words[0] = stream.id;
  words[1] = result;
  words[2] = static_cast<int32_t>(offset);
  words[3] = 0;
  if (result <= 0) return;
  if (stream.batch == batch_number_) PieceWords(stream.place)[3] = static_cast<int32_t>(place);
  stream.batch = batch_number_;
  stream.place = place;
  stream.turn = turn_;
}

// False: nothing is to be told.
bool StreamEngine::FillBatch() {
  ++batch_number_;
  pieces_[0] = pieces_[1] = 0;
  const auto is_full = [this] { return static_cast<uint32_t>(pieces_[0]) == options_.batch_size; };
  for (size_t left = late_ends_.size(); left > 0 && !is_full(); --left) {
    const int32_t id = late_ends_.front();
    late_ends_.pop_front();
    Stream* stream = FindStreamById(id);
    if (stream == nullptr || stream->late_end == 0) continue;
    if (stream->turn == turn_) {
      late_ends_.push_back(id);
    } else {
      Emit(*stream, 1 - std::exchange(stream->late_end, 0), 0);
    }
  }
  for (size_t left = wakes_.size(); left > 0 && !is_full(); --left) {
    Stream* stream = FindStreamById(wakes_.front());
    wakes_.pop_front();
    if (stream != nullptr) Emit(*stream, -EAGAIN, 0);
  }
  while (!waiting_.empty() && !is_full()) {
    const Piece piece = waiting_.front();
    waiting_.pop_front();
    ++taken_;
    Stream* stream = FindStreamById(piece.id);
    if (stream == nullptr) continue;
    stream->first_waiting = piece.next;
    if (piece.next == 0) stream->last_waiting = 0;
    // A pool that has run dry ends the receive and not the stream.
    const bool is_end = piece.result <= 0 && piece.result != -ENOBUFS;
    if (is_end && stream->batch == batch_number_) {
      PieceWords(stream->place)[3] |= (1 - piece.result) * kEnds;
    }
    if (is_end && stream->turn == turn_) {
      stream->late_end = 1 - piece.result;
      late_ends_.push_back(piece.id);
    } else {
      Emit(*stream, piece.result, piece.offset);
    }
  }
  // A reset ends sends and receives alike: as with libuv, the receive is what tells of it.
  while (!failed_.empty() && !is_full()) {
    const Piece piece = failed_.back();
    failed_.pop_back();
    if (Stream* stream = FindStreamById(piece.id)) Emit(*stream, piece.result, piece.offset);
  }
  return pieces_[0] > 0;
}

// Streams that nobody receives for any more end as if there had been no memory: libuv goes on.
void StreamEngine::LetGo() {
  if (backend_->failure() == 0 || pieces_[2] != 0) return;
  pieces_[2] = backend_->failure();
  backend_->Reap();
  for (const auto& stream : streams_) {
    if (!stream->armed) continue;
    stream->armed = false;
    OnArrived(*stream, -ENOBUFS, 0);
  }
}

void StreamEngine::Deliver() {
  if (dispatching() || closed()) return;
  for (int i = 0; i < kBatchesPerPoll && !closed(); ++i) {
    backend_->Reap();
    if (!FillBatch()) break;
    ++counters_.batches;
    const int32_t count = pieces_[0];
    counters_.completions += static_cast<uint64_t>(count);
    batch_.MarkTurn(count);
    // The batch array is not touched while JavaScript is in here, whatever it calls.
    Dispatch(&pieces_[1], count);
    if (closed()) return;
    pieces_[0] = pieces_[1] = 0;
    Flush();
    backend_->Recycle(taken_);
    if (static_cast<uint32_t>(count) < options_.batch_size) break;
  }
  if (!closed()) backend_->Submit();
}

// --- sending ---

int32_t StreamEngine::Room(int32_t id) {
  Stream* stream = FindStreamById(id);
  if (stream == nullptr) return -EBADF;
  if (stream->has_rest) {
    if (HasQueuedWrites(stream->handle)) return 0;
    const std::lock_guard<std::mutex> lock(batch_.mutex());
    stream->has_rest = false;
  }
  // Of a peer that is gone a write has to tell.
  pollfd peer = {stream->fd, POLLRDHUP, 0};
  if (poll(&peer, 1, 0) != 0) return 0;
  uint32_t info[SK_MEMINFO_VARS] = {};
  socklen_t length = sizeof info;
  // Linux 4.12; what the kernel itself asks for room (sk_stream_memory_free, sock_alloc_send_pskb).
  if (getsockopt(stream->fd, SOL_SOCKET, SO_MEMINFO, info, &length) == -1) return -errno;
  const int64_t used = info[stream->is_unix ? SK_MEMINFO_WMEM_ALLOC : SK_MEMINFO_WMEM_QUEUED];
  const int64_t room = (static_cast<int64_t>(info[SK_MEMINFO_SNDBUF]) - used) / 2 - kSegmentCost;
  return static_cast<int32_t>(std::clamp<int64_t>(room, 0, INT32_MAX));
}

void StreamEngine::Flush() {
  if (closed() || batch_.count() == 0) return;
  ++counters_.enters;
  for (const SendOp& op : batch_.Flush(*backend_)) Finish(op);
}

void StreamEngine::Finish(const SendOp& op) {
  Stream& stream = *op.stream;
  const size_t now = op.result > 0 ? static_cast<size_t>(op.result) : 0;
  counters_.bytes_sent += now + op.sent_before;
  if (op.result < 0 && op.result != -EAGAIN) {
    return FailSend(stream, static_cast<int32_t>(op.result));
  }
  if (now == op.length) return;
  // Rare: room was certain. Before anything else is written to the handle, libuv takes what is
  // left.
  std::string rest;
  size_t skipped = now;
  for (uint32_t i = 0; i < op.count; ++i) {
    const size_t from = std::min(skipped, op.pieces[i].iov_len);
    skipped -= from;
    rest.append(static_cast<const char*>(op.pieces[i].iov_base) + from,
                op.pieces[i].iov_len - from);
  }
  ++counters_.rests;
  // Asked again, the kernel says why, if it is because of an error.
  const iovec left = {rest.data(), rest.size()};
  const ssize_t more =
      HasQueuedWrites(stream.handle) ? -EAGAIN : SendIoVecs(stream.fd, IoVecs(&left, 1));
  if (more < 0 && more != -EAGAIN) return FailSend(stream, static_cast<int32_t>(more));
  if (more > 0) {
    counters_.bytes_sent += static_cast<size_t>(more);
    rest.erase(0, static_cast<size_t>(more));
  }
  if (rest.empty()) return;
  {
    const std::lock_guard<std::mutex> lock(batch_.mutex());
    stream.has_rest = true;
  }
  const int error =
      QueueRest(stream.handle, reinterpret_cast<const uint8_t*>(rest.data()), rest.size());
  if (error != 0) FailSend(stream, error);
}

void StreamEngine::FailSend(Stream& stream, int32_t error) {
  if (stream.failed == 0) stream.failed = error == -EPIPE ? WhyBroken(stream) : error;
  failed_.push_back({stream.id, stream.failed, kSendFailed});
}

// The kernel tells of a reset once, whoever asks first, and says EPIPE from then on. Where that was
// a receive or a send of ours, the program has not heard of it yet.
int32_t StreamEngine::WhyBroken(const Stream& stream) {
  if (stream.failed != 0) return stream.failed;
  backend_->Reap();
  if (stream.late_end > 1) return 1 - stream.late_end;
  // The error is behind all that came before it.
  const int32_t last = stream.last_waiting == 0 ? 0 : Waiting(stream.last_waiting).result;
  return last < 0 && last != -ENOBUFS ? last : -EPIPE;
}

int32_t StreamEngine::Send(int32_t id, int32_t offset, int32_t length) {
  const Stream* stream = FindStreamById(id);
  if (stream == nullptr || closed()) return -EBADF;
  if (offset < 0 || length <= 0 ||
      static_cast<size_t>(offset) + static_cast<size_t>(length) > SendBatch::kBytes) {
    return -EINVAL;
  }
  if (HasQueuedWrites(stream->handle)) return -EAGAIN;
  const iovec piece = {batch_.bytes()->data() + offset, static_cast<size_t>(length)};
  const ssize_t taken = SendIoVecs(stream->fd, IoVecs(&piece, 1));
  if (taken == -EPIPE) return WhyBroken(*stream);
  if (taken > 0) counters_.bytes_sent += static_cast<size_t>(taken);
  return static_cast<int32_t>(taken);
}

// --- one turn of the loop ---

bool StreamEngine::HasWork() const {
  return !waiting_.empty() || !wakes_.empty() || !late_ends_.empty() || !failed_.empty() ||
         backend_->HasUnannouncedWork();
}

bool StreamEngine::OnPrepare() {
  Flush();
  // An end left for this turn is told in its poll phase, where libuv would read it. What follows
  // from it in libuv, a shutdown, is carried out right behind that phase and no later.
  if (!late_ends_.empty()) backend_->Announce();
  backend_->Submit();
  LetGo();
  batch_.Rest();
  batch_.MarkTurn(0);
  ++turn_;
  return HasWork();
}

void StreamEngine::OnCheck() {
  Flush();
  if (HasWork()) Deliver();
  // What is written outside of the poll phase is not gathered: the loop may end before it comes
  // here again.
  if (!closed()) batch_.MarkTurn(-1);
}

int StreamEngine::End() {
  const int left = backend_->Drain();
  backend_->Teardown(left > 0);
  return left;
}

}  // namespace uring_net
