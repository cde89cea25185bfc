// What both backends do alike; see stream_backend.h.
#include "stream_backend.h"

#include "socket_calls.h"

namespace uring_net {

void SendPlainly(std::span<SendOp> ops) {
  for (SendOp& op : ops) {
    if (op.is_due()) op.result = SendIoVecs(op.stream->fd, IoVecs(op.pieces, op.count));
  }
}

}  // namespace uring_net
