// What the compiled code calls of the C++ run time library, so that the addon does without it: the
// process may have an older one, or none. An error that would be an exception ends the process, as
// there are no exceptions here. Anything else of that library is missed at the link check
// (scripts/lib/addon-check.mjs): use libuv's threads, no guarded statics, no thread_local with a
// destructor.
#include <cstdio>
#include <cstdlib>
#include <new>

#define INSIDE __attribute__((visibility("hidden")))

namespace {

[[noreturn]] void Fail(const char* what) {
  std::fprintf(stderr, "uring-net: %s\n", what);
  std::abort();
}

void* Allocate(std::size_t bytes) {
  // malloc(0) may answer null.
  void* memory = std::malloc(bytes == 0 ? 1 : bytes);
  if (memory == nullptr) Fail("out of memory");
  return memory;
}

}  // namespace

// glibc tells here whether there is only one thread, since 2.32. In Node there never is.
extern "C" INSIDE char __libc_single_threaded;
char __libc_single_threaded = 0;

extern "C" INSIDE void __cxa_pure_virtual() { Fail("a pure virtual function was called"); }

void* operator new(std::size_t bytes) { return Allocate(bytes); }
void* operator new[](std::size_t bytes) { return Allocate(bytes); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }

// What the templates of the library throw.
namespace std {
void __throw_bad_alloc() { Fail("out of memory"); }
void __throw_bad_array_new_length() { Fail("an array is too long"); }
void __throw_bad_function_call() { Fail("an empty function was called"); }
void __throw_length_error(const char* what) { Fail(what); }
void __throw_system_error(int) { Fail("a lock failed"); }
}  // namespace std
