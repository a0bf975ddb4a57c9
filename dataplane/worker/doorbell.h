#pragma once
// How one thread wakes another that may be asleep, with a system call only when it is. The sleeper arms, looks
// at everything it waits for once more, sleeps on fd(), and disarms. A producer first makes its work visible
// (ring, flag), then rings: the fence on both sides makes one of the two see the other.

#include <atomic>
#include <cstdint>
#include <expected>
#include <memory>
#include <string>

#include "worker/fence.h"

namespace slipway {

class Doorbell {
 public:
  static std::expected<std::unique_ptr<Doorbell>, std::string> create();
  Doorbell(const Doorbell&) = delete;
  Doorbell& operator=(const Doorbell&) = delete;
  ~Doorbell();

  // Sleeper. Between arm() and sleeping it must look at its queues again.
  void arm() {
    asleep_.store(1, std::memory_order_relaxed);
    full_fence();
  }
  // Sleeper, once after each arm(), when it goes on. Takes the eventfd's count back.
  void disarm() {
    rings_ += asleep_.exchange(0, std::memory_order_acquire) == 0 ? 1 : 0;
    if (rings_ != 0) {
      drain();
    }
  }
  // An eventfd, non-blocking: readable when somebody rang. For epoll, poll or a ring.
  [[nodiscard]] int fd() const { return fd_; }

  // Any thread, after its work is visible. True when the sleeper had to be woken (one write).
  bool ring() {
    full_fence();
    if (asleep_.load(std::memory_order_relaxed) == 0) {
      return false;
    }
    return wake();
  }
  [[nodiscard]] std::uint64_t times_woken() const { return woken_.load(std::memory_order_relaxed); }

 private:
  explicit Doorbell(int fd) : fd_(fd) {}
  bool wake();
  void drain();

  alignas(64) std::atomic<std::uint32_t> asleep_{0};
  int fd_;
  std::atomic<std::uint64_t> woken_{0};
  std::uint64_t rings_ = 0;  // the sleeper's: that were promised, and whose count it has not taken
};

}  // namespace slipway
