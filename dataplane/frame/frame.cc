#include "frame/frame.h"

namespace slipway {

FrameFault check_frame(std::span<const std::byte> frame) {
  if (frame.size() < kFrameHeaderBytes) {
    return FrameFault::kTooShort;
  }
  const std::byte* f = frame.data();
  if (frame_version(f) != kFrameVersion) {
    return FrameFault::kVersion;
  }
  const auto kind = frame_kind(f);
  if (kind < static_cast<std::uint8_t>(FrameKind::kPublish) || kind > static_cast<std::uint8_t>(FrameKind::kLink)) {
    return FrameFault::kKind;
  }
  const auto flags = frame_flags(f);
  constexpr std::uint16_t kBothErrors = frame_flag::kErrorFalse | frame_flag::kErrorTrue;
  if ((flags & ~frame_flag::kKnown) != 0 || (flags & kBothErrors) == kBothErrors) {
    return FrameFault::kFlags;
  }
  if (load_le<std::uint8_t>(f + 97) != 0 || load_le<std::uint32_t>(f + 100) != 0) {
    return FrameFault::kSpare;
  }
  return FrameFault::kNone;
}

std::string_view frame_fault_text(FrameFault fault) {
  switch (fault) {
    case FrameFault::kNone:
      return "none";
    case FrameFault::kTooShort:
      return "shorter than the 104-byte header";
    case FrameFault::kVersion:
      return "unknown frame version";
    case FrameFault::kKind:
      return "unknown frame kind";
    case FrameFault::kFlags:
      return "unknown or contradictory flags";
    case FrameFault::kSpare:
      return "a spare field is not zero";
  }
  return "unknown";
}

FrameHeader load_header(const std::byte* f) {
  return {.version = frame_version(f),
          .kind = static_cast<FrameKind>(frame_kind(f)),
          .hop_limit = frame_hop_limit(f),
          .session_type = load_le<std::uint8_t>(f + frame_offset::kSessionType),
          .fanout = frame_fanout(f),
          .session_id = frame_session_id(f),
          .message_id = load_le<std::uint32_t>(f + frame_offset::kMessageId),
          .destination = load_name(f + frame_offset::kDestination),
          .source = load_name(f + frame_offset::kSource),
          .session_message_type = load_le<std::uint8_t>(f + frame_offset::kSessionMessageType),
          .flags = frame_flags(f)};
}

void store_header(std::byte* f, const FrameHeader& header) {
  static_assert(frame_offset::kSessionMessageType + sizeof(std::uint64_t) == kFrameHeaderBytes);
  store_le(f + frame_offset::kSessionMessageType, std::uint64_t{0});  // with what is reserved
  store_le(f + frame_offset::kVersion, header.version);
  store_le(f + frame_offset::kKind, static_cast<std::uint8_t>(header.kind));
  store_le(f + frame_offset::kHopLimit, header.hop_limit);
  store_le(f + frame_offset::kSessionType, header.session_type);
  store_le(f + frame_offset::kFanout, header.fanout);
  store_le(f + frame_offset::kSessionId, header.session_id);
  store_le(f + frame_offset::kMessageId, header.message_id);
  store_name(f + frame_offset::kDestination, header.destination);
  store_name(f + frame_offset::kSource, header.source);
  store_le(f + frame_offset::kSessionMessageType, header.session_message_type);
  store_le(f + frame_offset::kFlags, header.flags);
}

}  // namespace slipway
