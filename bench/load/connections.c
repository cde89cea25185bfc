/*
 * The client side of connections, and waiting for them without sleeping. It knows nothing of what
 * is sent on them.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "load.h"

enum { SOURCES = 16 };

int epoll_fd;
struct epoll_event events[EVENTS];
struct connection* connections;
unsigned char *scratch, *pattern;

/* The content of a stream repeats every 64 KB; the table is long enough to compare any read against
 * any offset. */
static void make_pattern(void) {
  pattern = malloc(CHUNK + READ_MAX);
  for (int i = 0; i < CHUNK + READ_MAX; i++)
    pattern[i] = (unsigned char)((i % CHUNK) * 31 + ((i % CHUNK) >> 8));
}

void prepare(void) {
  epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  connections = calloc((size_t)options.connections, sizeof *connections);
  scratch = malloc(READ_MAX);
  make_pattern();
  for (int i = 0; i < options.connections; i++) {
    connections[i].fd = -1;
    connections[i].tag = (uint32_t)i;
  }
}

static int make_socket(void) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) die("socket: raise the limit of open files (ulimit -n)?");
  int one = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  /* The cheapest one and always there; the server keeps the system's (BBR would set a timer per
   * message here). */
  setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "reno", 4);
  return fd;
}

static int connected(int fd) {
  struct sockaddr_in to = {.sin_family = AF_INET,
                           .sin_port = htons((uint16_t)options.port),
                           .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  if (connect(fd, (struct sockaddr*)&to, sizeof to)) die("connect to port %d", options.port);
  return fd;
}

/*
 * Descriptors stay blocking and single calls pass MSG_DONTWAIT: on loopback a blocking connect()
 * ends without a sleep and saves a round through epoll. Churn leaves a TIME_WAIT per connection
 * here; several source addresses (all of 127.0.0.0/8 is ours) keep it from running out of ports.
 */
int open_socket(unsigned source) {
  int fd = make_socket();
  if (source) {
    int one = 1;
    struct sockaddr_in from = {.sin_family = AF_INET,
                               .sin_addr.s_addr = htonl(INADDR_LOOPBACK + source % SOURCES)};
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    if (bind(fd, (struct sockaddr*)&from, sizeof from)) die("bind to a second loopback address");
  }
  return connected(fd);
}

/*
 * A connection on which the kernel holds little: the server's send buffer grows with the segment
 * size, and with loopback's 64 KB thousands of blocked ones would take gigabytes.
 */
int open_narrow_socket(void) {
  int fd = make_socket();
  int segment = 536, buffer = 4096;
  if (setsockopt(fd, IPPROTO_TCP, TCP_MAXSEG, &segment, sizeof segment)) die("TCP_MAXSEG");
  if (setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer)) die("SO_RCVBUF");
  return connected(fd);
}

int open_datagram_socket(void) {
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) die("socket");
  return connected(fd);
}

/* A listener on a port that is free. */
int listen_anywhere(int* port) {
  int fd = make_socket();
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t length = sizeof at;
  if (bind(fd, (struct sockaddr*)&at, length) || listen(fd, options.connections) ||
      getsockname(fd, (struct sockaddr*)&at, &length))
    die("listen");
  *port = ntohs(at.sin_port);
  return fd;
}

/* Says what this connection is for, and waits until the server has understood. */
void greet(int fd, char role) {
  char answer;
  if (send(fd, &role, 1, MSG_NOSIGNAL) != 1 || recv(fd, &answer, 1, 0) != 1) die("greeting");
  if (answer != role) refuse("the server did not understand what a connection is for");
}

static void control(int operation, struct connection* c, uint32_t mask) {
  struct epoll_event event = {.events = mask, .data.ptr = c};
  if (epoll_ctl(epoll_fd, operation, c->fd, &event)) die("epoll_ctl");
}

void watch(struct connection* c, uint32_t mask) { control(EPOLL_CTL_ADD, c, mask); }

void rewatch(struct connection* c, uint32_t mask) { control(EPOLL_CTL_MOD, c, mask); }

int wait_events(void) {
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
