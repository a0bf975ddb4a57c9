// Frame and shim: whatever passes the checks is read within its length, and written again to the same bytes.
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "frame/frame.h"
#include "frame/shim.h"
#include "require.h"

using namespace slipway;

namespace {

void one_frame(std::span<const std::byte> frame) {
  if (check_frame(frame) != FrameFault::kNone) {
    return;
  }
  const FrameHeader header = load_header(frame.data());
  std::vector<std::byte> again(kFrameHeaderBytes);
  store_header(again.data(), header);
  FUZZ_REQUIRE(std::memcmp(again.data(), frame.data(), kFrameHeaderBytes) == 0);
  FUZZ_REQUIRE(check_frame(again) == FrameFault::kNone);
  FUZZ_REQUIRE(flow_hash(frame.data()) == flow_hash(again.data()));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::vector<std::byte> exact(reinterpret_cast<const std::byte*>(data), reinterpret_cast<const std::byte*>(data) + size);
  one_frame(exact);
  if (check_shim(exact) != ShimFault::kNone) {
    return 0;
  }
  const Shim shim = load_shim(exact.data());
  std::vector<std::byte> again(kShimBytes);
  store_shim(again.data(), shim);
  FUZZ_REQUIRE(std::memcmp(again.data(), exact.data(), kShimBytes) == 0);
  const std::size_t piece = size - kShimBytes;
  FUZZ_REQUIRE(piece != 0 && shim.fragment_offset + piece <= shim.total_bytes && shim.total_bytes >= kFrameHeaderBytes);
  if (shim.whole(piece)) {
    FUZZ_REQUIRE(piece >= kFrameHeaderBytes);
    one_frame(std::span(exact).subspan(kShimBytes));
  }
  return 0;
}
