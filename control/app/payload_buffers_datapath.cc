#include "app/payload_buffers.h"

#include <utility>
#include <vector>

#include "app/app_bounds.h"

namespace slipway {
namespace {

thread_local bool thread_ends = false;  // needs no destructor itself: payloads may be released after those of the thread have run

struct Spare {
  std::vector<Bytes> buffers;
  Spare() { buffers.reserve(kSpareBuffers); }
  ~Spare() { thread_ends = true; }
};
thread_local Spare spare;

constexpr bool fits(std::size_t bytes) { return bytes >= kMinSpareBytes && bytes <= kMaxSpareBytes; }

struct KeptPayload {
  Bytes bytes;

  explicit KeptPayload(std::span<const std::byte> from) {
    if (fits(from.size()) && !thread_ends && !spare.buffers.empty()) {
      bytes = std::move(spare.buffers.back());
      spare.buffers.pop_back();
    }
    bytes.assign(from.begin(), from.end());
  }
  ~KeptPayload() {
    if (fits(bytes.capacity()) && !thread_ends && spare.buffers.size() < kSpareBuffers) {
      spare.buffers.push_back(std::move(bytes));
    }
  }
};

}  // namespace

SharedBytes copy_payload(std::span<const std::byte> payload) {
  auto kept = std::make_shared<KeptPayload>(payload);
  const Bytes* const bytes = &kept->bytes;
  return {std::move(kept), bytes};
}

}  // namespace slipway
