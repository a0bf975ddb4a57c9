#pragma once
// The native SLIM frame: 104 bytes of header and a body. The header crosses the network from end to end;
// what belongs to one link (shim, length prefix) is in shim.h and stream.h.
//
// Everything is little-endian. The layout is aligned inside itself, packets are not: every access here is a
// memcpy load or store, which compiles to one move.
//
//   offset  size  field
//        0     1  version
//        1     1  kind
//        2     1  hop limit
//        3     1  session type
//        4     4  fan-out (1: one receiver; anything else: all)
//        8     4  session id
//       12     4  message id
//       16    40  destination: three component hashes, id low half, id high half
//       56    40  source: the same
//       96     1  session message type
//       97     1  spare, zero
//       98     2  flags
//      100     4  spare, zero
//
// The body is the rest of upstream's protobuf message, never opened by workers on native links.
// Pure functions on bytes: any thread.

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

#include "frame/name.h"
#include "bounds.h"

namespace slipway {

static_assert(std::endian::native == std::endian::little, "the frame is little-endian and loaded as it lies");

inline constexpr std::uint8_t kFrameVersion = 1;

enum class FrameKind : std::uint8_t {
  kPublish = 1,
  kSubscribe = 2,
  kUnsubscribe = 3,
  kSubscriptionAck = 4,
  kLink = 5,  // hello, keepalive, notices: between the two ends of a link, never forwarded
};

namespace frame_flag {
inline constexpr std::uint16_t kDestinationIdAbsent = 1 << 0;  // upstream sent no name_id; the header holds null
inline constexpr std::uint16_t kSourceIdAbsent = 1 << 1;
inline constexpr std::uint16_t kErrorFalse = 1 << 2;           // SLIMHeader.error present and false
inline constexpr std::uint16_t kErrorTrue = 1 << 3;            // ... present and true; both bits set is invalid
inline constexpr std::uint16_t kTraced = 1 << 4;
inline constexpr std::uint16_t kSessionInBody = 1 << 5;        // session header kept in the body: a value does not fit
inline constexpr std::uint16_t kNoNames = 1 << 6;              // acknowledgements and link frames: both names are zero
inline constexpr std::uint16_t kKnown = (1 << 7) - 1;
}  // namespace frame_flag

struct FrameHeader {
  std::uint8_t version = kFrameVersion;
  FrameKind kind = FrameKind::kPublish;
  std::uint8_t hop_limit = kDefaultHopLimit;
  std::uint8_t session_type = 0;
  std::uint32_t fanout = 1;
  std::uint32_t session_id = 0;
  std::uint32_t message_id = 0;
  Name destination;
  Name source;
  std::uint8_t session_message_type = 0;
  std::uint16_t flags = 0;

  friend bool operator==(const FrameHeader&, const FrameHeader&) = default;
};

namespace frame_offset {
inline constexpr std::size_t kVersion = 0;
inline constexpr std::size_t kKind = 1;
inline constexpr std::size_t kHopLimit = 2;
inline constexpr std::size_t kSessionType = 3;
inline constexpr std::size_t kFanout = 4;
inline constexpr std::size_t kSessionId = 8;
inline constexpr std::size_t kMessageId = 12;
inline constexpr std::size_t kDestination = 16;
inline constexpr std::size_t kSource = 56;
inline constexpr std::size_t kSessionMessageType = 96;
inline constexpr std::size_t kFlags = 98;
}  // namespace frame_offset

template <class T>
[[nodiscard]] inline T load_le(const void* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}
template <class T>
inline void store_le(void* at, T value) {
  std::memcpy(at, &value, sizeof value);
}

// The hot fields, each one load from a header whose length the caller has checked.
[[nodiscard]] inline std::uint8_t frame_version(const std::byte* f) { return load_le<std::uint8_t>(f + frame_offset::kVersion); }
[[nodiscard]] inline std::uint8_t frame_kind(const std::byte* f) { return load_le<std::uint8_t>(f + frame_offset::kKind); }
[[nodiscard]] inline std::uint8_t frame_hop_limit(const std::byte* f) { return load_le<std::uint8_t>(f + frame_offset::kHopLimit); }
inline void set_frame_hop_limit(std::byte* f, std::uint8_t v) { store_le(f + frame_offset::kHopLimit, v); }
[[nodiscard]] inline std::uint32_t frame_fanout(const std::byte* f) { return load_le<std::uint32_t>(f + frame_offset::kFanout); }
[[nodiscard]] inline std::uint32_t frame_session_id(const std::byte* f) { return load_le<std::uint32_t>(f + frame_offset::kSessionId); }
[[nodiscard]] inline std::uint16_t frame_flags(const std::byte* f) { return load_le<std::uint16_t>(f + frame_offset::kFlags); }

[[nodiscard]] inline Name load_name(const std::byte* at) {
  return {{load_le<std::uint64_t>(at), load_le<std::uint64_t>(at + 8), load_le<std::uint64_t>(at + 16)},
          {.high = load_le<std::uint64_t>(at + 32), .low = load_le<std::uint64_t>(at + 24)}};
}
inline void store_name(std::byte* at, const Name& name) {
  for (std::size_t i = 0; i < 3; ++i) {
    store_le(at + 8 * i, name.component[i]);
  }
  store_le(at + 24, name.id.low);
  store_le(at + 32, name.id.high);
}

// What is wrong with a frame's header, or kNone. These are the checks a worker makes before anything else.
enum class FrameFault : std::uint8_t { kNone, kTooShort, kVersion, kKind, kFlags, kSpare };

[[nodiscard]] FrameFault check_frame(std::span<const std::byte> frame);
[[nodiscard]] std::string_view frame_fault_text(FrameFault fault);

// Whole header in and out. load_header: the caller has checked the frame (check_frame says kNone).
[[nodiscard]] FrameHeader load_header(const std::byte* frame);
void store_header(std::byte* frame, const FrameHeader& header);  // writes kFrameHeaderBytes

// Entropy for RSS, ECMP and the UDP source port: equal for all frames of one source, destination and session.
// CRC-32C, an instruction a word; the product spreads what a CRC keeps apart (it is linear) over the bits that are used.
[[nodiscard]] [[gnu::target("sse4.2")]] inline std::uint32_t flow_hash(const std::byte* f) {
  std::uint64_t h = 0;
  for (const std::size_t at : {frame_offset::kDestination + 16, frame_offset::kDestination + 24, frame_offset::kSource + 16, frame_offset::kSource + 24}) {
    h = __builtin_ia32_crc32di(h, load_le<std::uint64_t>(f + at));
  }
  h = __builtin_ia32_crc32si(static_cast<std::uint32_t>(h), frame_session_id(f));
  return static_cast<std::uint32_t>(h * 0x9E3779B97F4A7C15u >> 32);
}

}  // namespace slipway
