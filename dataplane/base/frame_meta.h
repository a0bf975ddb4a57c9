#pragma once
// What travels with a frame inside the process: it lies in the private area of the frame's first mbuf.
//
// A frame is an mbuf chain whose first segment begins with the frame header (all 104 bytes in that segment).
// The 4 bytes before it hold the frame's length, little-endian, so that a stream link sends the buffer as it lies.
// A frame that several links share (rte_mbuf refcnt above 1) is never written to.

#include <cstdint>

#include "base/link.h"

namespace slipway {

struct FrameMeta {
  LinkIndex in_link = kNoLink;
  LinkIndex out_link = kNoLink;        // set when the frame crosses to another worker
  std::uint32_t out_generation = 0;
  std::uint32_t frame_bytes = 0;       // header and body, all segments
  bool injected = false;               // by the control thread
  bool pausable = false;               // came from a stream: its sender can be paused instead of dropping
  std::uint64_t encoded_serial = 0;    // towards upstream applications (edge/encoded_cache.h); the one field that may change
                                       // in a shared frame: by atomic_ref
};
inline constexpr std::uint16_t kMbufPrivateBytes = 64;
static_assert(sizeof(FrameMeta) <= kMbufPrivateBytes);

}  // namespace slipway
