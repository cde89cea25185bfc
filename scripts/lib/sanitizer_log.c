/*
 * Preloaded into every process of a sanitizer run: sends UBSan's reports to the file that ASan's go
 * to. GCC ships two runtimes, and libubsan, which sets log_path through the dynamic linker, reaches
 * libasan's function of the same name: its own reports stay on stderr, which a test may discard.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>

__attribute__((constructor)) static void set_ubsan_report_path(void) {
  const char* path = getenv("URING_NET_SANITIZER_LOG");
  // RTLD_NODELETE: the addon's own reference must meet this very copy.
  void* ubsan = dlopen("libubsan.so.1", RTLD_NOW | RTLD_NODELETE);
  if (!path || !ubsan) return;
  void (*set_report_path)(const char*) =
      (void (*)(const char*))dlsym(ubsan, "__sanitizer_set_report_path");
  if (set_report_path) set_report_path(path);
}
