#pragma once
// Session messages as bytes, both ways, field for field with upstream's data_plane.proto: as a whole upstream message, and as
// the body of a native frame, which is the same message without what the frame's header holds.
//
// What comes in is bounded (wire_bounds.h) and may come in any order of fields; unknown fields are skipped. Nothing throws
// past these functions; no state: any thread.

#include <cstddef>
#include <expected>
#include <span>
#include <string>
#include <string_view>

#include "frame/frame.h"
#include "session/session_message.h"
#include "wire/wire_bounds.h"
#include "wire/wire_fault.h"

namespace slipway {

// What our messages say they are: upstream's release that they speak, and ours behind it. SessionMessage::from_slipway.
inline constexpr std::string_view kWireVersion = "3.4.6+slipway";
[[nodiscard]] bool is_slipway_version(std::string_view version);

// Signatures travel beside the message, never in its metadata. Empty: none.
struct WireSignatures {
  std::string header;   // e2e_header_sig: DER or 64 bytes
  std::string payload;  // base64, in metadata `slim-payload-sig`; 2.x peers neither send nor read it
};

// --- out -------------------------------------------------------------------------------------------------------------
// `content` is encode_content() of the payload.
[[nodiscard]] std::string encode_upstream(const SessionMessage& message, std::string_view content, const WireSignatures& signatures,
                                          std::string_view version = kWireVersion);
[[nodiscard]] FrameHeader frame_header_of(const SessionMessage& message);
[[nodiscard]] std::string encode_frame_body(const SessionMessage& message, std::string_view content, const WireSignatures& signatures,
                                            std::string_view version = kWireVersion);

// --- in --------------------------------------------------------------------------------------------------------------
struct WireMessage {
  SessionMessage message;    // metadata without the signature and without what only a receiver may set
  WireSignatures signatures;
  std::string_view content;  // the payload as it came: a view into the input
  std::string_view version;  // likewise
};

[[nodiscard]] std::expected<WireMessage, WireFault> decode_upstream(std::span<const std::byte> message);
// A whole frame, header and body, whose header check_frame accepted.
[[nodiscard]] std::expected<WireMessage, WireFault> decode_frame(std::span<const std::byte> frame);

}  // namespace slipway
