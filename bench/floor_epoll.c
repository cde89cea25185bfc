/*
 * The least an echo server on epoll costs: one thread, one recv and one send for each message, no
 * JavaScript. The benchmark shows it beside the drivers as the floor. Prints one line when it
 * listens, as server.ts does.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BACKLOG = 4096, EVENTS = 1024, BYTES = 65536 };

static void must(int ok, const char* what) {
  if (ok) return;
  perror(what);
  exit(1);
}

static int listening(void) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t length = sizeof at;
  must(fd >= 0 && bind(fd, (struct sockaddr*)&at, length) == 0 && listen(fd, BACKLOG) == 0,
       "listen");
  must(getsockname(fd, (struct sockaddr*)&at, &length) == 0, "getsockname");
  printf("{\"port\":%d,\"driver\":{\"name\":\"floor-epoll\",\"reason\":\"\",\"features\":[]}}\n",
         ntohs(at.sin_port));
  fflush(stdout);
  return fd;
}

static void accept_all(int epoll_fd, int listener) {
  for (int fd; (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0;) {
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    must(epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0, "epoll_ctl");
  }
  must(errno == EAGAIN, "accept");
}

/* Level-triggered, so one recv suffices. Echo messages are small and closed-loop: a send that does
 * not fit is a fault. */
static void echo(int fd) {
  static char bytes[BYTES];
  ssize_t n = recv(fd, bytes, sizeof bytes, 0);
  if (n > 0)
    must(send(fd, bytes, (size_t)n, MSG_NOSIGNAL) == n, "send");
  else
    close(fd);
}

int main(void) {
  int listener = listening(), epoll_fd = epoll_create1(0);
  static struct epoll_event events[EVENTS];
  struct epoll_event event = {.events = EPOLLIN, .data.fd = listener};
  must(epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &event) == 0, "epoll_ctl");
  for (;;) {
    int n = epoll_wait(epoll_fd, events, EVENTS, -1);
    must(n >= 0 || errno == EINTR, "epoll_wait");
    for (int i = 0; i < n; i++) {
      if (events[i].data.fd == listener)
        accept_all(epoll_fd, listener);
      else
        echo(events[i].data.fd);
    }
  }
}
