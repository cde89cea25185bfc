/*
 * Clocks and figures: CPU time of the server over exactly the timed window, its resident memory,
 * latency, and the one JSON object in which they are printed. It knows nothing of connections.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "load.h"

uint64_t idle_ns; /* spent polling in vain: what the load generator could still do */
uint64_t operations, bytes_moved;

static uint64_t clock_ns(clockid_t clock) {
  struct timespec t;
  if (clock_gettime(clock, &t)) die("clock_gettime: is process %d gone?", options.pid);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t now_ns(void) { return clock_ns(CLOCK_MONOTONIC); }

/* Reads a file of the server in /proc into `text`. */
static void read_proc(const char* name, char* text, size_t bytes) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/%s", options.pid, name);
  FILE* file = fopen(path, "r");
  if (!file) die("%s: the server is gone", path);
  text[fread(text, 1, bytes - 1, file)] = 0;
  fclose(file);
}

/*
 * The process clock counts nanoseconds over all threads, io_uring's worker threads included.
 * /proc/PID/stat counts ticks of 10 ms and serves only to split that total into user and system
 * (proc(5): fields 14 and 15).
 */
struct sample take_sample(void) {
  struct sample s = {0};
  if (options.pid) {
    char text[1024];
    read_proc("stat", text, sizeof text);
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

void print_cpu(const struct sample* from, const struct sample* until) {
  double total = (double)(until->server_ns - from->server_ns) / 1e3;
  double user = (double)(until->server_user - from->server_user),
         system = (double)(until->server_system - from->server_system);
  double user_us = user + system > 0 ? total * user / (user + system) : total;
  printf("\"seconds\":%.6f,\"serverUserUs\":%.1f,\"serverSystemUs\":%.1f,\"loadBusyUs\":%.1f",
         (double)(until->wall_ns - from->wall_ns) / 1e9, user_us, total - user_us,
         (double)(until->busy_ns - from->busy_ns) / 1e3);
}

/* Resident memory of the server (proc(5): VmRSS). */
uint64_t resident_kb(void) {
  char text[4096];
  read_proc("status", text, sizeof text);
  unsigned long long kb;
  char* line = strstr(text, "\nVmRSS:");
  if (!line || sscanf(line, "\nVmRSS: %llu", &kb) != 1)
    refuse("cannot read the server's resident memory");
  return kb;
}

/* ---- latency: log-linear histogram of nanoseconds, 128 steps per power of two, so below 1 % wide
 * ---- */

enum { STEP_BITS = 7, STEPS = 1 << STEP_BITS, BUCKETS = STEPS * 48 };
static uint32_t histogram[BUCKETS];

void record(uint64_t ns) {
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

static uint64_t warm_until, measure_until;
static struct sample window_begin, window_end;

static struct {
  const char* name;
  double value;
} figures[4];
static unsigned figure_count;

void window_open(void) {
  warm_until = now_ns() + (uint64_t)(options.warmup * 1e9);
  measure_until = 0;
}

bool window_has_begun(void) { return measure_until != 0; }

/* False once the window is over. Everything counted before it began is forgotten when it begins. */
bool window_tick(uint64_t now) {
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

/* A figure that not every window has. */
void window_figure(const char* name, double value) {
  if (figure_count == sizeof figures / sizeof *figures) refuse("too many figures");
  figures[figure_count].name = name;
  figures[figure_count++].value = value;
}

void print_window(bool has_operations, bool has_latency) {
  if (has_operations && operations == 0) refuse("nothing was completed in the window");
  printf("{\"ops\":%llu,\"bytes\":%llu,", (unsigned long long)operations,
         (unsigned long long)bytes_moved);
  print_cpu(&window_begin, &window_end);
  if (has_latency) printf(",\"p50Us\":%.2f,\"p99Us\":%.2f", quantile_us(0.5), quantile_us(0.99));
  for (unsigned i = 0; i < figure_count; i++)
    printf(",\"%s\":%.3f", figures[i].name, figures[i].value);
  puts("}");
}
