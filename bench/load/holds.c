/*
 * Connections that are held and do nothing: how much memory they cost the server, and how long it
 * takes to destroy them all.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "load.h"

static void rest(double seconds) {
  usleep((useconds_t)(seconds * 1e6));
  idle_ns += (uint64_t)(seconds * 1e9);
}

/* Each has echoed once, so the server has accepted it and waits for more. */
void run_idle(void) {
  uint64_t before_kb = resident_kb(), highest_kb = 0;
  open_messages(false);
  open_echoing();
  window_open();
  do {
    rest(0.02);
    uint64_t now_kb = resident_kb();
    if (window_has_begun() && now_kb > highest_kb) highest_kb = now_kb;
  } while (window_tick(now_ns()));
  window_figure("rssKb", (double)highest_kb);
  window_figure("rssBeforeKb", (double)before_kb);
  print_window(false, false);
}

/*
 * The server writes more to each connection than the kernel takes, and nothing is read. A word on
 * the first connection makes it destroy all others in one tick; it answers with their number when
 * the last one has closed.
 */
void run_destroy(void) {
  int control = open_socket(0);
  greet(control, 'd');
  for (int i = 0; i < options.connections; i++) {
    connections[i].fd = open_narrow_socket();
    if (send(connections[i].fd, "w", 1, MSG_NOSIGNAL) != 1) die("greeting");
  }
  for (int i = 0; i < options.connections; i++)
    if (recv(connections[i].fd, scratch, 1, MSG_PEEK) != 1) die("nothing was written");
  rest(0.3);

  options.warmup = 0;
  options.seconds = 0;
  char answer[32] = "";
  window_open();
  uint64_t begin = now_ns();
  window_tick(begin);
  if (send(control, "!", 1, MSG_NOSIGNAL) != 1) die("the word to destroy");
  ssize_t n = recv(control, answer, sizeof answer - 1, 0);
  uint64_t end = now_ns();
  idle_ns += end - begin;
  if (n <= 0) die("no word of the destroyed");
  window_tick(end);
  if (atoi(answer) != options.connections) refuse("the server destroyed another number");
  window_figure("elapsedMs", (double)(end - begin) / 1e6);
  print_window(false, false);
}
