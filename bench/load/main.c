// clang-format off
/*
 * The load generator. It owns the client side of a trial: connections, the timed window, latency and the server's CPU
 * time over exactly that window, printed as one JSON object. It never decides what is fast or slow.
 *
 *   load MODE --port P [--connections N] [--bytes B] [--warmup S] [--seconds S] [--pid P] [--rate R]
 *   load exec -- program ...             become that program; it dies with its parent
 *   load measure --pid P -- program ...  run it, then print the CPU time that process P used meanwhile
 *   load sample --pid P                  print the CPU time that process P has used so far
 *   each with --cpu C: on that core
 *
 * One thread, edge-triggered epoll, one recv and one send per echo. It polls without sleeping, for two reasons: a server
 * would pay for waking it (an interrupt to another core, dear in a virtual machine), which a client on another machine
 * never costs; and wake-ups are what makes trials differ.
 */
// clang-format on
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "load.h"

enum { OPEN_FILES = 65536 };

struct options options = {.connections = 1, .bytes = 64, .cpu = -1, .warmup = 0.5, .seconds = 3};

void die(const char* format, ...) {
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

void refuse(const char* message) {
  errno = 0;
  die("%s", message);
}

static void pin(void) {
  if (options.cpu < 0) return;
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(options.cpu, &set);
  if (sched_setaffinity(0, sizeof set, &set)) die("cannot run on core %d", options.cpu);
}

/* As far as the hard limit allows; a privileged process may raise that one too. */
static void raise_open_files(void) {
  struct rlimit limit;
  getrlimit(RLIMIT_NOFILE, &limit);
  struct rlimit wanted = {OPEN_FILES, OPEN_FILES};
  if (limit.rlim_max < OPEN_FILES && setrlimit(RLIMIT_NOFILE, &wanted) == 0) return;
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

static void print_sample(void) {
  struct sample none = {0}, now = take_sample();
  printf("{");
  print_cpu(&none, &now);
  puts("}");
}

static void set_option(const char* name, const char* value) {
  static const struct {
    const char* name;
    int* value;
  } numbers[] = {{"--port", &options.port},   {"--connections", &options.connections},
                 {"--bytes", &options.bytes}, {"--cpu", &options.cpu},
                 {"--pid", &options.pid},     {"--rate", &options.rate}};
  for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
    if (!strcmp(name, numbers[i].name)) {
      *numbers[i].value = atoi(value);
      return;
    }
  if (!strcmp(name, "--warmup"))
    options.warmup = atof(value);
  else if (!strcmp(name, "--seconds"))
    options.seconds = atof(value);
  else
    refuse("unknown option");
}

static void echo(void) { run_echo(false); }
static void ws_echo(void) { run_echo(true); }
static void stream_out(void) { run_stream(true); }
static void stream_in(void) { run_stream(false); }

static const struct {
  const char* name;
  void (*run)(void);
  bool sends_messages;
} modes[] = {
    {"echo", echo, true},
    {"ws-echo", ws_echo, true},
    {"ws-broadcast", run_broadcast, true},
    {"datagrams", run_datagrams, true},
    {"churn", run_churn, true},
    {"stream-out", stream_out, false},
    {"stream-in", stream_in, false},
    {"upload", run_uploads, false},
    {"proxy", run_proxy, false},
    {"slow-readers", run_slow_readers, false},
    {"fairness", run_fairness, true},
    {"idle", run_idle, true},
    {"destroy", run_destroy, false},
};

int main(int count, char** arguments) {
  const char* mode = count > 1 ? arguments[1] : "";
  int i = 2;
  for (; i + 1 < count && strcmp(arguments[i], "--"); i += 2)
    set_option(arguments[i], arguments[i + 1]);
  char** command = i + 1 < count ? arguments + i + 1 : NULL;
  if (options.connections < 1 || options.rate < 0) refuse("needs at least 1 connection");
  pin();
  raise_open_files();
  if (!strcmp(mode, "exec") && command) {
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* no server outlives a benchmark that was killed */
    execvp(command[0], command);
    die("cannot start %s", command[0]);
  }
  if (!strcmp(mode, "measure") && command) return measure(command), 0;
  if (!strcmp(mode, "sample") && options.pid) return print_sample(), 0;
  for (size_t m = 0; m < sizeof modes / sizeof *modes; m++) {
    if (strcmp(mode, modes[m].name)) continue;
    /* More could block both sides in send(). */
    if (modes[m].sends_messages && (options.bytes < 16 || options.bytes > MESSAGE_MAX))
      refuse("messages have 16 to 16384 bytes");
    prepare();
    modes[m].run();
    return 0;
  }
  refuse("usage: load MODE|exec|measure|sample --port P ...");
}
