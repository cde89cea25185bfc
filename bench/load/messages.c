/*
 * Messages that are answered: plain and WebSocket echo, broadcast, and the short lives of churn. A
 * message is the tag of its connection, a running number, then the pattern, so that an answer to
 * another one is noticed.
 *
 * It is closed-loop: a connection sends its next message when the last one has come back, so
 * latency is that of a saturated server. With --rate it is open-loop: messages are due at fixed
 * times, whatever the server does.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "load.h"

enum { TAG_BYTES = 8, SMALL_FRAME_MAX = 125, UPGRADE_BYTES_MAX = 2048 };

/* What stands around a message: nothing in plain echo, the head of a frame in WebSocket (RFC
 * 6455, 5.2). */
static struct {
  unsigned out_bytes, in_bytes;
  unsigned char in[2];
  uint32_t mask;
} frame;

static unsigned char* out; /* the message as it is sent: head, then the masked payload */

static void make_message(bool is_websocket) {
  if (is_websocket) {
    if (options.bytes > SMALL_FRAME_MAX) refuse("frames of more than 125 bytes are not spoken");
    frame.out_bytes = 6;
    frame.in_bytes = 2;
    /* Any mask but zero, which servers do not undo. */
    memcpy(&frame.mask, "\x3a\x5c\x91\xe7", 4);
  }
  out = malloc(frame.out_bytes + (size_t)options.bytes);
  if (is_websocket) {
    out[0] = frame.in[0] = 0x82; /* the last and only frame of a binary message */
    frame.in[1] = (unsigned char)options.bytes;
    out[1] = (unsigned char)(0x80 | options.bytes);
    memcpy(out + 2, &frame.mask, 4);
  }
  const unsigned char* mask = (const unsigned char*)&frame.mask;
  for (int i = 0; i < options.bytes; i++) out[frame.out_bytes + i] = pattern[i] ^ mask[i % 4];
}

void send_message(struct connection* c) {
  c->sequence++;
  c->got = 0;
  uint32_t head[2] = {c->tag ^ frame.mask, c->sequence ^ frame.mask};
  memcpy(out + frame.out_bytes, head, sizeof head);
  ssize_t bytes = (ssize_t)frame.out_bytes + options.bytes;
  if (send(c->fd, out, (size_t)bytes, MSG_NOSIGNAL) != bytes)
    die("send on connection %ld", (long)(c - connections));
}

/* True when the whole answer is there. Asks for one byte more than is due, to notice one too many.
 */
bool receive_message(struct connection* c, int flags) {
  uint32_t due = frame.in_bytes + (uint32_t)options.bytes;
  ssize_t n = recv(c->fd, c->in + c->got, due + 1 - c->got, flags);
  if (n < 0 && errno == EAGAIN) return false;
  if (n < 0) die("recv on connection %ld", (long)(c - connections));
  if (n == 0) refuse("the server ended a connection");
  c->got += (uint32_t)n;
  if (c->got < due) return false;
  bool whole = c->sequence % 16 == 0;
  const unsigned char* message = c->in + frame.in_bytes;
  if (c->got > due || memcmp(c->in, frame.in, frame.in_bytes) || memcmp(message, &c->tag, 4) ||
      memcmp(message + 4, &c->sequence, 4) ||
      (whole &&
       memcmp(message + TAG_BYTES, pattern + TAG_BYTES, (size_t)options.bytes - TAG_BYTES)))
    refuse("the echo differs from what was sent");
  return true;
}

/* The example of RFC 6455, 1.3. */
static void upgrade(int fd) {
  static const char request[] =
      "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
      "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
  if (send(fd, request, sizeof request - 1, MSG_NOSIGNAL) != sizeof request - 1) die("upgrade");
  char answer[UPGRADE_BYTES_MAX];
  size_t got = 0;
  do {
    ssize_t n = recv(fd, answer + got, sizeof answer - 1 - got, 0);
    if (n <= 0) die("upgrade");
    got += (size_t)n;
    answer[got] = 0;
  } while (!strstr(answer, "\r\n\r\n"));
  if (strncmp(answer, "HTTP/1.1 101", 12) || !strstr(answer, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="))
    refuse("the server did not accept a WebSocket");
}

/* Prepares what goes over connections, without opening one. */
void open_messages(bool is_websocket) {
  make_message(is_websocket);
  for (int i = 0; i < options.connections; i++)
    connections[i].in = malloc(frame.in_bytes + (size_t)options.bytes + 1);
}

/* Opens every connection, with one answer on each, so that the accept queue never overflows. */
void open_echoing(void) {
  for (int i = 0; i < options.connections; i++) {
    struct connection* c = &connections[i];
    c->fd = open_socket(0);
    if (frame.in_bytes) upgrade(c->fd);
    send_message(c);
    while (!receive_message(c, 0)) continue;
  }
}

/* ---- echo ---- */

/* Counts an answer. False once the window is over. */
static bool count_message(struct connection* c, uint64_t now) {
  record(now - c->since);
  operations++;
  bytes_moved += (uint64_t)options.bytes;
  return window_tick(now);
}

static void echo_closed_loop(void) {
  for (int i = 0; i < options.connections; i++) {
    connections[i].since = now_ns();
    send_message(&connections[i]);
  }
  for (;;) {
    int n = wait_events();
    for (int i = 0; i < n; i++) {
      struct connection* c = events[i].data.ptr;
      if (!receive_message(c, MSG_DONTWAIT)) continue;
      uint64_t now = now_ns();
      if (!count_message(c, now)) return;
      c->since = now;
      send_message(c);
    }
  }
}

/* Latency counts from when the message was due, not from when it could be sent. */
static void send_due(struct connection* c, uint64_t period_ns) {
  c->since = c->due;
  c->due += period_ns;
  c->is_busy = true;
  send_message(c);
}

/*
 * Message k is due at k / rate, on connection k modulo their number. While a connection still waits
 * for its last answer the next one waits too; its latency tells.
 */
static void echo_open_loop(void) {
  uint64_t interval_ns = 1000000000u / (uint64_t)options.rate;
  uint64_t period_ns = interval_ns * (uint64_t)options.connections;
  uint64_t next_due = now_ns(), now = next_due, answered_at = now;
  for (int i = 0; i < options.connections; i++)
    connections[i].due = next_due + interval_ns * (uint64_t)i;
  for (int next = 0;;) {
    uint64_t begin = now;
    bool has_sent = false;
    for (; next_due <= now; next_due += interval_ns, next = (next + 1) % options.connections) {
      if (connections[next].is_busy) continue;
      send_due(&connections[next], period_ns);
      has_sent = true;
    }
    int n = epoll_wait(epoll_fd, events, EVENTS, 0);
    if (n < 0 && errno != EINTR) die("epoll_wait");
    for (int i = 0; i < n; i++) {
      struct connection* c = events[i].data.ptr;
      if (!receive_message(c, MSG_DONTWAIT)) continue;
      answered_at = now = now_ns();
      c->is_busy = false;
      if (!count_message(c, now)) return;
      if (c->due < next_due) send_due(c, period_ns);
    }
    now = now_ns();
    if (n <= 0 && !has_sent) idle_ns += now - begin;
    if (now - answered_at > STALL_NS) refuse("the server has stopped answering");
  }
}

void run_echo(bool is_websocket) {
  open_messages(is_websocket);
  open_echoing();
  for (int i = 0; i < options.connections; i++) watch(&connections[i], EPOLLIN | EPOLLET);
  window_open();
  if (options.rate)
    echo_open_loop();
  else
    echo_closed_loop();
  print_window(true, true);
}

/* As echo, by datagrams. Loopback loses none of so few. */
void run_datagrams(void) {
  open_messages(false);
  for (int i = 0; i < options.connections; i++) {
    struct connection* c = &connections[i];
    c->fd = open_datagram_socket();
    send_message(c);
    while (!receive_message(c, 0)) continue;
    watch(c, EPOLLIN | EPOLLET);
  }
  window_open();
  echo_closed_loop();
  print_window(true, true);
}

/* ---- broadcast: what the first connection sends comes back on every one ---- */

static void begin_round(void) {
  send_message(&connections[0]);
  uint64_t now = now_ns();
  for (int i = 0; i < options.connections; i++) {
    connections[i].sequence = connections[0].sequence;
    connections[i].got = 0;
    connections[i].since = now;
  }
}

void run_broadcast(void) {
  open_messages(true);
  for (int i = 0; i < options.connections; i++) {
    struct connection* c = &connections[i];
    c->tag = 0;
    c->fd = open_socket(0);
    upgrade(c->fd);
    watch(c, EPOLLIN | EPOLLET);
  }
  window_open();
  for (;;) {
    begin_round();
    for (int missing = options.connections; missing > 0;) {
      int n = wait_events();
      for (int i = 0; i < n; i++) {
        struct connection* c = events[i].data.ptr;
        if (!receive_message(c, MSG_DONTWAIT)) continue;
        missing--;
        if (!count_message(c, now_ns())) return print_window(true, true);
      }
    }
  }
}

/* ---- churn ---- */

static void start_life(struct connection* c) {
  static unsigned source;
  c->since = now_ns();
  c->fd = open_socket(++source);
  send_message(c);
  watch(c, EPOLLIN | EPOLLET);
}

/* A life: connect, one echo, FIN from us, FIN from the server, close. No reset, since nothing is
 * left unread. */
void run_churn(void) {
  open_messages(false);
  window_open();
  for (int i = 0; i < options.connections; i++) start_life(&connections[i]);
  for (;;) {
    int n = wait_events();
    for (int i = 0; i < n; i++) {
      struct connection* c = events[i].data.ptr;
      if (c->got < (uint32_t)options.bytes) {
        if (receive_message(c, MSG_DONTWAIT) && shutdown(c->fd, SHUT_WR)) die("shutdown");
        continue;
      }
      ssize_t end = recv(c->fd, scratch, 1, MSG_DONTWAIT);
      if (end < 0 && errno == EAGAIN) continue;
      if (end != 0) die("the server did not end the connection cleanly");
      close(c->fd);
      uint64_t now = now_ns();
      record(now - c->since);
      operations++;
      if (!window_tick(now)) return print_window(true, true);
      start_life(c);
    }
  }
}
