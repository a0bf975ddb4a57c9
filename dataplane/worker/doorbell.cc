#include "worker/doorbell.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace slipway {

std::expected<std::unique_ptr<Doorbell>, std::string> Doorbell::create() {
  const int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (fd < 0) {
    return std::unexpected(std::string("making an eventfd to wake a thread failed: ") + std::strerror(errno) +
                           "; raise the limit on open files (ulimit -n)");
  }
  return std::unique_ptr<Doorbell>(new Doorbell(fd));
}

Doorbell::~Doorbell() { close(fd_); }

bool Doorbell::wake() {
  // Only one of several producers writes; the others see that the sleeper is being woken.
  if (asleep_.exchange(0, std::memory_order_acq_rel) == 0) {
    return false;
  }
  woken_.fetch_add(1, std::memory_order_relaxed);
  const std::uint64_t one = 1;
  // An eventfd whose count is full is readable anyway: nothing is lost when the write is refused.
  [[maybe_unused]] const auto written = write(fd_, &one, sizeof one);
  return true;
}

void Doorbell::drain() {
  // The waker clears the flag before it writes: a count that is not there yet ends the next sleep early, and is taken then.
  // Were it left, the descriptor would stay readable and no sleep would last.
  std::uint64_t count = 0;
  if (read(fd_, &count, sizeof count) == sizeof count) {
    rings_ -= count;
  }
}

}  // namespace slipway
