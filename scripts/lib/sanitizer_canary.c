/*
 * Proves that a sanitizer run can fail: loaded like an addon, makes the one mistake that
 * URING_NET_CANARY names. Never part of the package.
 */
#include <stdlib.h>
#include <string.h>

__attribute__((constructor)) static void misbehave(void) {
  const char* kind = getenv("URING_NET_CANARY");
  volatile int eight = 8;
  if (kind && strcmp(kind, "asan") == 0) {
    volatile char* bytes = malloc(8);
    free((void*)bytes);
    bytes[0] = 1;
  }
  if (kind && strcmp(kind, "ubsan") == 0) eight <<= eight * 4;
}
