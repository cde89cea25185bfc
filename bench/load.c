// clang-format off
/*
 * The load generator. It owns the client side of a trial: connections, the timed window, latency and the server's CPU
 * time over exactly that window, printed as one JSON object. It never decides what is fast or slow. One file, over
 * the usual length, so that one call of the compiler builds it.
 *
 *   load echo|stream-out|stream-in|churn --port P [--connections N] [--bytes B] [--warmup S] [--seconds S] [--pid P]
 *   load exec -- program ...             become that program; it dies with its parent
 *   load measure --pid P -- program ...  run it, then print the CPU time that process P used meanwhile
 *   each with --cpu C: on that core
 *
 * It is closed-loop: a connection sends its next message when the last one has come back, so latency is that of a
 * saturated server and not of a given arrival rate. One thread, edge-triggered epoll, one recv and one send per echo.
 * It polls without sleeping, for two reasons: a server would pay for waking it (an interrupt to another core, dear in
 * a virtual machine), which a client on another machine never costs; and wake-ups are what makes trials differ.
 */
// clang-format on
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { EVENTS = 512, CHUNK = 65536, READ_MAX = 1 << 20, SOURCES = 16 };

static struct {
  int port, connections, bytes, cpu, pid;
  double warmup, seconds;
} options = {.connections = 1, .bytes = 64, .cpu = -1, .warmup = 0.5, .seconds = 3};

static void die(const char* format, ...) {
  int error = errno;
  va_list arguments;
  va_start(arguments, format);
  fputs("load: ", stderr);
  vfprintf(stderr, format, arguments);
  va_end(arguments);
  if (error) fprintf(stderr, " (errno: %s)", strerror(error));
  fputc('\n', stderr);
  exit(1);
}

static void refuse(const char* message) {
  errno = 0;
  die("%s", message);
}

/* ---- clocks ---- */

static const uint64_t STALL_NS = 5000000000u;
static uint64_t idle_ns; /* spent polling in vain: what the load generator could still do */

struct sample {
  uint64_t wall_ns, busy_ns, server_ns, server_user,
      server_system; /* the last two in clock ticks */
};

static uint64_t clock_ns(clockid_t clock) {
  struct timespec t;
  if (clock_gettime(clock, &t)) die("clock_gettime: is process %d gone?", options.pid);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t now_ns(void) { return clock_ns(CLOCK_MONOTONIC); }

/*
 * The process clock counts nanoseconds over all threads, io_uring's worker threads included.
 * /proc/PID/stat counts ticks of 10 ms and serves only to split that total into user and system
 * (proc(5): fields 14 and 15).
 */
static struct sample take_sample(void) {
  struct sample s = {0};
  if (options.pid) {
    char path[64], text[1024];
    snprintf(path, sizeof path, "/proc/%d/stat", options.pid);
    FILE* file = fopen(path, "r");
    if (!file) die("%s: the server is gone", path);
    size_t length = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[length] = 0;
    char* after_name = strrchr(text, ')');
    unsigned long user, system;
    if (!after_name ||
        sscanf(after_name + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user,
               &system) != 2)
      refuse("cannot read the server's /proc/PID/stat");
    s.server_user = user;
    s.server_system = system;
    clockid_t clock;
    if (clock_getcpuclockid(options.pid, &clock)) refuse("the server has no CPU clock");
    s.server_ns = clock_ns(clock);
  }
  s.wall_ns = now_ns();
  s.busy_ns = s.wall_ns - idle_ns;
  return s;
}

static void print_cpu(const struct sample* a, const struct sample* b) {
  double total = (double)(b->server_ns - a->server_ns) / 1e3;
  double user = (double)(b->server_user - a->server_user),
         system = (double)(b->server_system - a->server_system);
  double user_us = user + system > 0 ? total * user / (user + system) : total;
  printf("\"seconds\":%.6f,\"serverUserUs\":%.1f,\"serverSystemUs\":%.1f,\"loadBusyUs\":%.1f",
         (double)(b->wall_ns - a->wall_ns) / 1e9, user_us, total - user_us,
         (double)(b->busy_ns - a->busy_ns) / 1e3);
}

/* ---- latency: log-linear histogram of nanoseconds, 128 steps per power of two, so below 1 % wide
 * ---- */

enum { STEP_BITS = 7, STEPS = 1 << STEP_BITS, BUCKETS = STEPS * 48 };
static uint32_t histogram[BUCKETS];

static inline void record(uint64_t ns) {
  unsigned shift = ns < STEPS ? 0 : 63u - (unsigned)__builtin_clzll(ns) - STEP_BITS;
  unsigned bucket = shift * STEPS + (unsigned)(ns >> shift);
  histogram[bucket < BUCKETS ? bucket : BUCKETS - 1]++;
}

static double quantile_us(double q) {
  uint64_t total = 0, seen = 0;
  for (int i = 0; i < BUCKETS; i++) total += histogram[i];
  for (int i = 0; i < BUCKETS; i++) {
    seen += histogram[i];
    if (seen == 0 || (double)seen < q * (double)total) continue;
    unsigned shift = i < 2 * STEPS ? 0 : (unsigned)i / STEPS - 1;
    double low = (double)((uint64_t)((unsigned)i - shift * STEPS) << shift);
    return (low + (double)(1u << shift) / 2) / 1e3;
  }
  return 0;
}

/* ---- the timed window ---- */

static uint64_t operations, bytes_moved, warm_until, measure_until;
static struct sample window_begin, window_end;

static void window_open(void) {
  warm_until = now_ns() + (uint64_t)(options.warmup * 1e9);
  measure_until = 0;
}

/* False once the window is over. Everything counted before it began is forgotten when it begins. */
static inline bool window_tick(uint64_t now) {
  if (__builtin_expect(measure_until == 0, 0)) {
    if (now < warm_until) return true;
    memset(histogram, 0, sizeof histogram);
    operations = bytes_moved = 0;
    window_begin = take_sample();
    measure_until = window_begin.wall_ns + (uint64_t)(options.seconds * 1e9);
    return true;
  }
  if (__builtin_expect(now < measure_until, 1)) return true;
  window_end = take_sample();
  return false;
}

static void print_window(bool has_latency) {
  if (operations == 0) refuse("nothing was completed in the window");
  printf("{\"ops\":%llu,\"bytes\":%llu,", (unsigned long long)operations,
         (unsigned long long)bytes_moved);
  print_cpu(&window_begin, &window_end);
  if (has_latency) printf(",\"p50Us\":%.2f,\"p99Us\":%.2f", quantile_us(0.5), quantile_us(0.99));
  puts("}");
}

/* ---- connections ---- */

struct connection {
  int fd;
  uint32_t index, sequence, got;
  uint64_t since, position; /* when the message in flight was sent; offset in the stream */
  unsigned char* in;
};

static int epoll_fd;
static struct epoll_event events[EVENTS];
static struct connection* connections;
static unsigned char *out, *scratch, *pattern;

/* The content of a stream repeats every 64 KB; the table is long enough to compare any read against
 * any offset. */
static void make_pattern(void) {
  pattern = malloc(CHUNK + READ_MAX);
  for (int i = 0; i < CHUNK + READ_MAX; i++)
    pattern[i] = (unsigned char)((i % CHUNK) * 31 + ((i % CHUNK) >> 8));
}

/*
 * Descriptors stay blocking and single calls pass MSG_DONTWAIT: on loopback a blocking connect()
 * ends without a sleep and saves a round through epoll. Churn leaves a TIME_WAIT per connection
 * here; several source addresses (all of 127.0.0.0/8 is ours) keep it from running out of ports.
 */
static int open_socket(unsigned source) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) die("socket: raise the limit of open files (ulimit -n)?");
  int one = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  /* The cheapest one and always there; the server keeps the system's (BBR would set a timer per
   * message here). */
  setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "reno", 4);
  if (source) {
    struct sockaddr_in from = {.sin_family = AF_INET,
                               .sin_addr.s_addr = htonl(INADDR_LOOPBACK + source % SOURCES)};
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    if (bind(fd, (struct sockaddr*)&from, sizeof from)) die("bind to a second loopback address");
  }
  struct sockaddr_in to = {.sin_family = AF_INET,
                           .sin_port = htons((uint16_t)options.port),
                           .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  if (connect(fd, (struct sockaddr*)&to, sizeof to)) die("connect to port %d", options.port);
  return fd;
}

static void watch(struct connection* c, uint32_t mask) {
  struct epoll_event event = {.events = mask, .data.ptr = c};
  if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, c->fd, &event)) die("epoll_ctl");
}

static int wait_events(void) {
  int n = epoll_wait(epoll_fd, events, EVENTS, 0);
  if (n == 0) {
    uint64_t begin = now_ns(), now;
    do {
      n = epoll_wait(epoll_fd, events, EVENTS, 0);
      now = now_ns();
      if (now - begin > STALL_NS) refuse("the server has stopped answering");
    } while (n == 0);
    idle_ns += now - begin;
  }
  if (n < 0 && errno != EINTR) die("epoll_wait");
  return n < 0 ? 0 : n;
}

static void prepare(void) {
  epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  connections = calloc((size_t)options.connections, sizeof *connections);
  scratch = malloc(READ_MAX);
  make_pattern();
  out = malloc((size_t)options.bytes);
  memcpy(out, pattern, (size_t)options.bytes);
  for (int i = 0; i < options.connections; i++) {
    connections[i].fd = -1;
    connections[i].index = (uint32_t)i;
    connections[i].in = malloc((size_t)options.bytes + 1);
  }
}

/* ---- echo and churn ---- */

/* A message is the connection's index, a running number, then the pattern: an answer to another one
 * is noticed. */
static void send_message(struct connection* c) {
  c->sequence++;
  c->got = 0;
  memcpy(out, &c->index, 4);
  memcpy(out + 4, &c->sequence, 4);
  if (send(c->fd, out, (size_t)options.bytes, MSG_NOSIGNAL) != options.bytes)
    die("send on connection %u", c->index);
}

/* True when the whole answer is there. Asks for one byte more than is due, to notice one too many.
 */
static bool receive_message(struct connection* c, int flags) {
  ssize_t n = recv(c->fd, c->in + c->got, (size_t)options.bytes + 1 - c->got, flags);
  if (n < 0 && errno == EAGAIN) return false;
  if (n < 0) die("recv on connection %u", c->index);
  if (n == 0) refuse("the server ended a connection");
  c->got += (uint32_t)n;
  if (c->got < (uint32_t)options.bytes) return false;
  bool whole = c->sequence % 16 == 0;
  if (c->got > (uint32_t)options.bytes || memcmp(c->in, &c->index, 4) ||
      memcmp(c->in + 4, &c->sequence, 4) ||
      (whole && memcmp(c->in + 8, out + 8, (size_t)options.bytes - 8)))
    refuse("the echo differs from what was sent");
  return true;
}

static void run_echo(void) {
  for (int i = 0; i < options.connections; i++) {
    struct connection* c = &connections[i];
    c->fd = open_socket(0);
    send_message(
        c); /* one echo each before the load starts, so that the accept queue never overflows */
    while (!receive_message(c, 0)) continue;
    watch(c, EPOLLIN | EPOLLET);
  }
  window_open();
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
      record(now - c->since);
      operations++;
      bytes_moved += (uint64_t)options.bytes;
      if (!window_tick(now)) return print_window(true);
      c->since = now;
      send_message(c);
    }
  }
}

static void start_life(struct connection* c) {
  static unsigned source;
  c->since = now_ns();
  c->fd = open_socket(++source);
  send_message(c);
  watch(c, EPOLLIN | EPOLLET);
}

/* A life: connect, one echo, FIN from us, FIN from the server, close. No reset, since nothing is
 * left unread. */
static void run_churn(void) {
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
      if (!window_tick(now)) return print_window(true);
      start_life(c);
    }
  }
}

/* ---- streams ---- */

/*
 * MSG_TRUNC makes TCP discard instead of copy (tcp(7)), which keeps this side cheap; one read in 32
 * copies and is compared with what must stand at that offset.
 */
static ssize_t read_stream(struct connection* c) {
  static unsigned reads;
  bool compare = ++reads % 32 == 0;
  ssize_t n = recv(c->fd, scratch, READ_MAX, compare ? MSG_DONTWAIT : MSG_DONTWAIT | MSG_TRUNC);
  if (n == 0) refuse("the server ended the stream");
  if (n > 0 && compare && memcmp(scratch, pattern + c->position % CHUNK, (size_t)n))
    refuse("the stream differs from what was written");
  return n;
}

static ssize_t write_stream(struct connection* c) {
  return send(c->fd, pattern + c->position % CHUNK, CHUNK, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void run_stream(bool reading) {
  for (int i = 0; i < options.connections; i++) {
    connections[i].fd = open_socket(0);
    watch(&connections[i], reading ? EPOLLIN : EPOLLOUT);
  }
  window_open();
  for (;;) {
    int count = wait_events();
    for (int i = 0; i < count; i++) {
      struct connection* c = events[i].data.ptr;
      ssize_t n = reading ? read_stream(c) : write_stream(c);
      if (n < 0 && errno != EAGAIN) die("stream");
      if (n < 0) continue;
      c->position += (uint64_t)n;
      bytes_moved += (uint64_t)n;
      operations = bytes_moved / CHUNK;
      if (!window_tick(now_ns())) return print_window(false);
    }
  }
}

/* ---- program ---- */

static void pin(void) {
  if (options.cpu < 0) return;
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(options.cpu, &set);
  if (sched_setaffinity(0, sizeof set, &set)) die("cannot run on core %d", options.cpu);
}

static void raise_open_files(void) {
  struct rlimit limit;
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

static uint64_t time_ns(struct timeval t) {
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_usec * 1000u;
}

static void measure(char** command) {
  struct sample begin = take_sample();
  pid_t child = fork();
  if (child < 0) die("fork");
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    execvp(command[0], command);
    die("cannot start %s", command[0]);
  }
  int status;
  if (waitpid(child, &status, 0) < 0) die("waitpid");
  if (!WIFEXITED(status) || WEXITSTATUS(status)) refuse("the measured program failed");
  struct rusage usage;
  getrusage(RUSAGE_CHILDREN, &usage);
  struct sample end = take_sample();
  end.busy_ns = begin.busy_ns + time_ns(usage.ru_utime) + time_ns(usage.ru_stime);
  printf("{");
  print_cpu(&begin, &end);
  puts("}");
}

static void set_option(const char* name, const char* value) {
  if (!strcmp(name, "--port"))
    options.port = atoi(value);
  else if (!strcmp(name, "--connections"))
    options.connections = atoi(value);
  else if (!strcmp(name, "--bytes"))
    options.bytes = atoi(value);
  else if (!strcmp(name, "--warmup"))
    options.warmup = atof(value);
  else if (!strcmp(name, "--seconds"))
    options.seconds = atof(value);
  else if (!strcmp(name, "--cpu"))
    options.cpu = atoi(value);
  else if (!strcmp(name, "--pid"))
    options.pid = atoi(value);
  else
    refuse("unknown option");
}

int main(int count, char** arguments) {
  const char* mode = count > 1 ? arguments[1] : "";
  int i = 2;
  for (; i + 1 < count && strcmp(arguments[i], "--"); i += 2)
    set_option(arguments[i], arguments[i + 1]);
  char** command = i + 1 < count ? arguments + i + 1 : NULL;
  if (options.connections < 1 || options.bytes < 16 || options.bytes > 16384)
    refuse("needs at least 1 connection and 16 to 16384 bytes"); /* more could block both sides in
                                                                    send() */
  pin();
  raise_open_files();
  if (!strcmp(mode, "exec") && command) {
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* no server outlives a benchmark that was killed */
    execvp(command[0], command);
    die("cannot start %s", command[0]);
  }
  if (!strcmp(mode, "measure") && command) return measure(command), 0;
  prepare();
  if (!strcmp(mode, "echo"))
    run_echo();
  else if (!strcmp(mode, "churn"))
    run_churn();
  else if (!strcmp(mode, "stream-out"))
    run_stream(true);
  else if (!strcmp(mode, "stream-in"))
    run_stream(false);
  else
    refuse("usage: load echo|stream-out|stream-in|churn|exec|measure --port P ...");
  return 0;
}
