/*
 * The least an echo server on io_uring costs: one thread, multishot accept and receive into
 * provided buffers, the sends of a batch in one io_uring_enter, no JavaScript. The benchmark shows
 * it beside the drivers as the floor. Prints one line when it listens, as server.ts does.
 *
 *   floor-uring [direct | fixed | zero-copy] [BYTES of a buffer, 2048]
 *
 * The first argument is for figures of what the drivers leave out (docs/design.md, D6): descriptors
 * of the ring, sends from a registered buffer, zero-copy sends.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <liburing.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BACKLOG = 4096, ENTRIES = 4096, BUFFERS = 4096, GROUP = 0 };

/* user_data: what completed, the buffer it sent from, its descriptor. */
enum { ACCEPT, RECEIVE, SEND, CLOSE };

static struct io_uring ring;
static struct io_uring_buf_ring* provided;
static char* memory;
static int listener;
static size_t buffer_bytes = 2048;
static enum { PLAIN, DIRECT, FIXED, ZERO_COPY } variant;

static void must(int ok, const char* what) {
  if (ok) return;
  perror(what);
  exit(1);
}

static __u64 named(unsigned kind, unsigned buffer, int fd) {
  return (__u64)kind << 56 | (__u64)buffer << 32 | (unsigned)fd;
}

static struct io_uring_sqe* submission(void) {
  struct io_uring_sqe* sqe = io_uring_get_sqe(&ring);
  if (!sqe) {
    io_uring_submit(&ring);
    sqe = io_uring_get_sqe(&ring);
  }
  must(sqe != NULL, "io_uring_get_sqe");
  return sqe;
}

static char* buffer_at(unsigned id) { return memory + (size_t)id * buffer_bytes; }

/* What an operation on a connection is given, besides its descriptor. */
static unsigned descriptor_flags(void) { return variant == DIRECT ? IOSQE_FIXED_FILE : 0; }

static void provide(unsigned id) {
  io_uring_buf_ring_add(provided, buffer_at(id), (unsigned)buffer_bytes, (unsigned short)id,
                        io_uring_buf_ring_mask(BUFFERS), 0);
  io_uring_buf_ring_advance(provided, 1);
}

static void set_up(void) {
  struct io_uring_params params = {
      .flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_CQSIZE,
      .cq_entries = 4 * ENTRIES};
  errno = -io_uring_queue_init_params(ENTRIES, &ring, &params);
  must(errno == 0, "io_uring_queue_init");
  must(posix_memalign((void**)&provided, 4096, BUFFERS * sizeof(struct io_uring_buf)) == 0 &&
           posix_memalign((void**)&memory, 4096, BUFFERS * buffer_bytes) == 0,
       "memory");
  memset(memory, 0, BUFFERS * buffer_bytes);
  io_uring_buf_ring_init(provided);
  struct io_uring_buf_reg registration = {
      .ring_addr = (unsigned long)provided, .ring_entries = BUFFERS, .bgid = GROUP};
  errno = -io_uring_register_buf_ring(&ring, &registration, 0);
  must(errno == 0, "io_uring_register_buf_ring");
  for (unsigned id = 0; id < BUFFERS; id++) provide(id);
  struct iovec all = {memory, BUFFERS * buffer_bytes};
  if (variant == FIXED) {
    errno = -io_uring_register_buffers(&ring, &all, 1);
    must(errno == 0, "io_uring_register_buffers");
  }
  if (variant == DIRECT) {
    errno = -io_uring_register_files_sparse(&ring, ENTRIES);
    must(errno == 0, "io_uring_register_files");
  }
}

static void listen_on_loopback(void) {
  listener = socket(AF_INET, SOCK_STREAM, 0);
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t length = sizeof at;
  /* Connections inherit it. */
  int one = 1;
  must(listener >= 0 && setsockopt(listener, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) == 0 &&
           bind(listener, (struct sockaddr*)&at, length) == 0 && listen(listener, BACKLOG) == 0 &&
           getsockname(listener, (struct sockaddr*)&at, &length) == 0,
       "listen");
  printf("{\"port\":%d,\"driver\":{\"name\":\"floor-uring\",\"reason\":\"\",\"features\":[]}}\n",
         ntohs(at.sin_port));
  fflush(stdout);
}

static void start_accepting(void) {
  struct io_uring_sqe* sqe = submission();
  if (variant == DIRECT)
    io_uring_prep_multishot_accept_direct(sqe, listener, NULL, NULL, 0);
  else
    io_uring_prep_multishot_accept(sqe, listener, NULL, NULL, 0);
  io_uring_sqe_set_data64(sqe, named(ACCEPT, 0, listener));
}

static void start_receiving(int fd) {
  struct io_uring_sqe* sqe = submission();
  io_uring_prep_recv_multishot(sqe, fd, NULL, 0, 0);
  sqe->flags |= IOSQE_BUFFER_SELECT | descriptor_flags();
  sqe->buf_group = GROUP;
  io_uring_sqe_set_data64(sqe, named(RECEIVE, 0, fd));
}

static void accepted(const struct io_uring_cqe* cqe) {
  if (cqe->res >= 0) start_receiving(cqe->res);
  if (!(cqe->flags & IORING_CQE_F_MORE)) start_accepting();
}

static void start_sending(struct io_uring_sqe* sqe, int fd, const char* bytes, size_t length) {
  switch (variant) {
    case FIXED:
      io_uring_prep_write_fixed(sqe, fd, bytes, (unsigned)length, 0, 0);
      break;
    case ZERO_COPY:
      io_uring_prep_send_zc(sqe, fd, bytes, length, MSG_NOSIGNAL | MSG_WAITALL, 0);
      break;
    default:
      io_uring_prep_send(sqe, fd, bytes, length, MSG_NOSIGNAL | MSG_WAITALL);
  }
  sqe->flags |= descriptor_flags();
}

/* The bytes are sent from the buffer into which they came; it is provided again when they are gone.
 */
static void received(const struct io_uring_cqe* cqe, int fd) {
  if (cqe->res > 0) {
    unsigned buffer = cqe->flags >> IORING_CQE_BUFFER_SHIFT;
    struct io_uring_sqe* sqe = submission();
    start_sending(sqe, fd, buffer_at(buffer), (size_t)cqe->res);
    io_uring_sqe_set_data64(sqe, named(SEND, buffer, fd));
  }
  if (cqe->flags & IORING_CQE_F_MORE) return;
  if (cqe->res > 0 || cqe->res == -ENOBUFS)
    start_receiving(fd);
  else if (variant != DIRECT)
    close(fd);
  else {
    struct io_uring_sqe* sqe = submission();
    io_uring_prep_close_direct(sqe, (unsigned)fd);
    io_uring_sqe_set_data64(sqe, named(CLOSE, 0, fd));
  }
}

static void handle(const struct io_uring_cqe* cqe) {
  int fd = (int)(cqe->user_data & 0x7fffffff);
  switch (cqe->user_data >> 56) {
    case ACCEPT:
      return accepted(cqe);
    case RECEIVE:
      return received(cqe, fd);
    case CLOSE:
      return;
    default:
      /* Of a zero-copy send the buffer is free with the second completion. */
      if (!(cqe->flags & IORING_CQE_F_MORE)) provide((unsigned)(cqe->user_data >> 32 & 0xffffff));
  }
}

static void read_arguments(int count, char** arguments) {
  static const char* const names[] = {"plain", "direct", "fixed", "zero-copy"};
  for (int i = 0; count > 1 && i < 4; i++)
    if (strcmp(arguments[1], names[i]) == 0) variant = i;
  if (count > 2) buffer_bytes = (size_t)atoi(arguments[2]);
}

int main(int count, char** arguments) {
  read_arguments(count, arguments);
  set_up();
  listen_on_loopback();
  start_accepting();
  for (;;) {
    int result = io_uring_submit_and_wait(&ring, 1);
    must(result >= 0 || result == -EINTR || result == -EBUSY, "io_uring_enter");
    unsigned head, seen = 0;
    struct io_uring_cqe* cqe;
    io_uring_for_each_cqe(&ring, head, cqe) {
      handle(cqe);
      seen++;
    }
    io_uring_cq_advance(&ring, seen);
  }
}
