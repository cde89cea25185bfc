/*
 * Streams of many bytes, both ways: at full speed, as HTTP uploads, to readers that are slow, and
 * as a flood beside a quiet client. They are counted in pieces of 64 KB.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "load.h"

/*
 * MSG_TRUNC makes TCP discard instead of copy (tcp(7)), which keeps this side cheap; one read in 32
 * copies and is compared with what must stand at that offset.
 */
static ssize_t read_stream(struct connection* c, size_t bytes) {
  static unsigned reads;
  bool compare = ++reads % 32 == 0;
  ssize_t n = recv(c->fd, scratch, bytes, compare ? MSG_DONTWAIT : MSG_DONTWAIT | MSG_TRUNC);
  if (n == 0) refuse("the server ended the stream");
  if (n > 0 && compare && memcmp(scratch, pattern + c->position % CHUNK, (size_t)n))
    refuse("the stream differs from what was written");
  return n;
}

static ssize_t write_stream(struct connection* c, size_t bytes) {
  return send(c->fd, pattern + c->position % CHUNK, bytes, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* Adds what a call moved; a call that had to wait moved nothing. */
static void count_bytes(struct connection* c, ssize_t n) {
  if (n < 0 && errno != EAGAIN) die("stream");
  if (n < 0) return;
  c->position += (uint64_t)n;
  bytes_moved += (uint64_t)n;
}

void run_stream(bool reading) {
  for (int i = 0; i < options.connections; i++) {
    connections[i].fd = open_socket(0);
    watch(&connections[i], reading ? EPOLLIN : EPOLLOUT);
  }
  window_open();
  for (;;) {
    int count = wait_events();
    for (int i = 0; i < count; i++) {
      struct connection* c = events[i].data.ptr;
      count_bytes(c, reading ? read_stream(c, READ_MAX) : write_stream(c, CHUNK));
      operations = bytes_moved / CHUNK;
      if (!window_tick(now_ns())) return print_window(true, false);
    }
  }
}

/* ---- uploads: each connection posts a body again and again ---- */

enum { ANSWER_BYTES_MAX = 1024 };

static void begin_upload(struct connection* c) {
  char head[128];
  int bytes =
      snprintf(head, sizeof head,
               "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n", options.bytes);
  /* There is room: the server has read all of the last one. */
  if (send(c->fd, head, (size_t)bytes, MSG_NOSIGNAL) != bytes) die("head of an upload");
  c->position = c->got = 0;
}

/* True when the answer is there: the server says how many bytes it has got. */
static bool receive_answer(struct connection* c) {
  ssize_t n = recv(c->fd, c->in + c->got, ANSWER_BYTES_MAX - c->got, MSG_DONTWAIT);
  if (n < 0 && errno == EAGAIN) return false;
  if (n <= 0) die("answer to an upload");
  c->got += (uint32_t)n;
  c->in[c->got] = 0;
  char due[16];
  int bytes = snprintf(due, sizeof due, "%d", options.bytes);
  char* body = strstr((char*)c->in, "\r\n\r\n");
  if (!body || strlen(body + 4) < (size_t)bytes) {
    if (c->got == ANSWER_BYTES_MAX) refuse("the answer to an upload is too long");
    return false;
  }
  if (strncmp((char*)c->in, "HTTP/1.1 200", 12) || strcmp(body + 4, due))
    refuse("the server did not get the upload");
  return true;
}

static void go_on_uploading(struct connection* c) {
  uint64_t left = (uint64_t)options.bytes - c->position;
  if (left > 0) {
    count_bytes(c, write_stream(c, left < CHUNK ? left : CHUNK));
    if (c->position == (uint64_t)options.bytes) rewatch(c, EPOLLIN);
  } else if (receive_answer(c)) {
    begin_upload(c);
    rewatch(c, EPOLLOUT);
  }
}

void run_uploads(void) {
  for (int i = 0; i < options.connections; i++) {
    struct connection* c = &connections[i];
    c->in = malloc(ANSWER_BYTES_MAX + 1);
    c->fd = open_socket(0);
    begin_upload(c);
    watch(c, EPOLLOUT);
  }
  window_open();
  for (;;) {
    int count = wait_events();
    for (int i = 0; i < count; i++) {
      go_on_uploading(events[i].data.ptr);
      operations = bytes_moved / CHUNK;
      if (!window_tick(now_ns())) return print_window(true, false);
    }
  }
}

/* ---- proxy: what goes into the server comes out at a listener of ours ---- */

void run_proxy(void) {
  int count = options.connections, port;
  int listener = listen_anywhere(&port);
  struct connection* far = calloc((size_t)count, sizeof *far);
  unsigned char head[2] = {(unsigned char)(port >> 8), (unsigned char)port};
  for (int i = 0; i < count; i++) {
    connections[i].fd = open_socket(0);
    if (send(connections[i].fd, head, sizeof head, MSG_NOSIGNAL) != sizeof head) die("head");
    far[i].fd = accept(listener, NULL, NULL);
    if (far[i].fd < 0) die("accept from the proxy");
    watch(&connections[i], EPOLLOUT);
    watch(&far[i], EPOLLIN);
  }
  window_open();
  for (;;) {
    int ready = wait_events();
    for (int i = 0; i < ready; i++) {
      struct connection* c = events[i].data.ptr;
      if (c >= far && c < far + count) {
        count_bytes(c, read_stream(c, READ_MAX));
      } else {
        ssize_t n = write_stream(c, CHUNK);
        if (n < 0 && errno != EAGAIN) die("stream");
        if (n > 0) c->position += (uint64_t)n;
      }
      operations = bytes_moved / CHUNK;
      if (!window_tick(now_ns())) return print_window(true, false);
    }
  }
}

/* ---- slow readers: 16 KB each, every 10 ms, while the server's memory is looked at ---- */

void run_slow_readers(void) {
  for (int i = 0; i < options.connections; i++) connections[i].fd = open_socket(0);
  /* The server has begun on all. */
  for (int i = 0; i < options.connections; i++)
    if (recv(connections[i].fd, scratch, 1, MSG_PEEK) != 1) die("nothing was written");
  uint64_t highest_kb = 0;
  window_open();
  do {
    for (int i = 0; i < options.connections; i++)
      count_bytes(&connections[i], read_stream(&connections[i], 16384));
    uint64_t now_kb = resident_kb();
    if (now_kb > highest_kb) highest_kb = now_kb;
    usleep(10000);
    idle_ns += 10000000u;
  } while (window_tick(now_ns()));
  window_figure("rssKb", (double)highest_kb);
  print_window(false, false);
}

/* ---- fairness: all flood, one echoes now and then ---- */

static const uint64_t QUIET_PAUSE_NS = 2000000u;

/* False once the window is over. */
static bool serve_quiet(struct connection* quiet) {
  uint64_t now = now_ns();
  if (quiet->is_busy && receive_message(quiet, MSG_DONTWAIT)) {
    record(now - quiet->since);
    operations++;
    quiet->is_busy = false;
    quiet->due = now + QUIET_PAUSE_NS;
  } else if (!quiet->is_busy && now >= quiet->due) {
    quiet->since = now;
    quiet->is_busy = true;
    send_message(quiet);
  } else if (quiet->is_busy && now - quiet->since > STALL_NS) {
    refuse("the server has stopped answering the quiet client");
  }
  return window_tick(now);
}

static double share_of_slowest(const uint64_t* from) {
  uint64_t slowest = UINT64_MAX, fastest = 1;
  for (int i = 1; i < options.connections; i++) {
    uint64_t moved = connections[i].position - from[i];
    if (moved < slowest) slowest = moved;
    if (moved > fastest) fastest = moved;
  }
  return (double)slowest / (double)fastest;
}

/* The first connection is the quiet one. It is looked at after every send of the others, so that
 * what is measured is the server's time and not ours. */
void run_fairness(void) {
  if (options.connections < 3) refuse("needs a quiet connection and two that flood");
  open_messages(false);
  uint64_t* from = calloc((size_t)options.connections, sizeof *from);
  struct connection* quiet = &connections[0];
  for (int i = 0; i < options.connections; i++) {
    connections[i].fd = open_socket(0);
    greet(connections[i].fd, i == 0 ? 'e' : 'r');
    if (i > 0) watch(&connections[i], EPOLLOUT);
  }
  window_open();
  for (bool had_begun = false;;) {
    int count = epoll_wait(epoll_fd, events, EVENTS, 0);
    if (!serve_quiet(quiet)) break;
    if (!had_begun && window_has_begun()) {
      had_begun = true;
      for (int i = 0; i < options.connections; i++) from[i] = connections[i].position;
    }
    for (int i = 0; i < count; i++) {
      struct connection* c = events[i].data.ptr;
      count_bytes(c, write_stream(c, CHUNK));
      if (i + 1 < count && !serve_quiet(quiet)) goto over;
    }
  }
over:
  /* Not one came back: the first says for how long it has waited. */
  if (operations == 0 && quiet->is_busy) {
    record(now_ns() - quiet->since);
    operations = 1;
  }
  window_figure("share", share_of_slowest(from));
  print_window(true, true);
}
