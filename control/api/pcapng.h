#pragma once
// Captures as pcapng (draft-ietf-opsawg-pcapng), written by the control thread. Frames are shown as UDP over IPv4,
// made up around them: source 127.0.0.x, with x from the link, to 127.0.0.1, UDP port 46367, after a shim, so that Wireshark and tcpdump
// show them without a plug-in. The link and the drop reason of each are in the packet's comment.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace slipway {

// Section header and one interface of raw IP.
std::string pcapng_begin(std::string_view application);

struct CapturedFrame {
  std::uint64_t time_ns = 0;       // wall clock
  std::uint32_t link = 0;
  std::uint32_t frame_bytes = 0;   // before cutting
  std::string comment;
};
std::string pcapng_packet(const CapturedFrame& frame, std::span<const std::byte> bytes);

}  // namespace slipway
