// Preloaded into a program, another clock on its wall: SKEW_SECONDS later than ours. Clocks that measure are as they were.

#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cstdlib>

extern "C" int clock_gettime(clockid_t clock, struct timespec* out) noexcept {
  const long result = syscall(SYS_clock_gettime, clock, out);
  if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
    static const long skew_seconds = std::getenv("SKEW_SECONDS") != nullptr ? std::atol(std::getenv("SKEW_SECONDS")) : 0;
    out->tv_sec += skew_seconds;
  }
  return static_cast<int>(result);
}
