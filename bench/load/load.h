/*
 * What the parts of the load generator share: options, the timed window, connections. Each part
 * says in its own file what it owns.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/types.h>

enum { EVENTS = 512, CHUNK = 65536, READ_MAX = 1 << 20, MESSAGE_MAX = 16384 };

/* A server that answers nothing for so long has stopped; a machine may stand still for less. */
#define STALL_NS 20000000000u

struct options {
  int port, connections, bytes, cpu, pid, rate;
  double warmup, seconds;
};

/* A point in time, with the CPU time spent until then. The last two are in clock ticks. */
struct sample {
  uint64_t wall_ns, busy_ns, server_ns, server_user, server_system;
};

struct connection {
  int fd;
  uint32_t tag, sequence, got; /* the first two open every message */
  uint64_t since, due;         /* when the message in flight was sent, and the next one is due */
  uint64_t position;           /* offset in the stream */
  bool is_busy;
  unsigned char* in;
};

/* main.c */
extern struct options options;
void die(const char* format, ...) __attribute__((noreturn, format(printf, 1, 2)));
void refuse(const char* message) __attribute__((noreturn));

/* window.c */
extern uint64_t idle_ns, operations, bytes_moved;
uint64_t now_ns(void);
struct sample take_sample(void);
void print_cpu(const struct sample* from, const struct sample* until);
uint64_t resident_kb(void);
void record(uint64_t ns);
void window_open(void);
bool window_has_begun(void);
bool window_tick(uint64_t now);
void window_figure(const char* name, double value);
void print_window(bool has_operations, bool has_latency);

/* connections.c */
extern int epoll_fd;
extern struct epoll_event events[EVENTS];
extern struct connection* connections;
extern unsigned char *scratch, *pattern;
void prepare(void);
int open_socket(unsigned source);
int open_narrow_socket(void);
int open_datagram_socket(void);
int listen_anywhere(int* port);
void greet(int fd, char role);
void watch(struct connection* c, uint32_t mask);
void rewatch(struct connection* c, uint32_t mask);
int wait_events(void);

/* messages.c */
void open_messages(bool is_websocket);
void open_echoing(void);
void run_echo(bool is_websocket);
void run_datagrams(void);
void run_broadcast(void);
void run_churn(void);
void send_message(struct connection* c);
bool receive_message(struct connection* c, int flags);

/* streams.c */
void run_stream(bool reading);
void run_uploads(void);
void run_proxy(void);
void run_slow_readers(void);
void run_fairness(void);

/* holds.c */
void run_idle(void);
void run_destroy(void);
