// Sealing runs on two threads; the caller's random source need not know. Internal.
#pragma once

#include <mutex>

#include "crypto/random.h"

namespace slipway::mls {

class LockedRandom final : public Random {
 public:
  explicit LockedRandom(Random& random) : random_(random) {}
  Status fill_secret(MutableView out) override {
    const std::lock_guard lock(mutex_);
    return random_.fill_secret(out);
  }
  Status fill_public(MutableView out) override {
    const std::lock_guard lock(mutex_);
    return random_.fill_public(out);
  }

 private:
  Random& random_;
  std::mutex mutex_;
};

}  // namespace slipway::mls
