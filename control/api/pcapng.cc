#include "api/pcapng.h"

#include <algorithm>
#include <array>

#include "frame/shim.h"

namespace slipway {

namespace {

constexpr std::uint32_t kSectionHeader = 0x0A0D0D0A;
constexpr std::uint32_t kByteOrderMagic = 0x1A2B3C4D;
constexpr std::uint32_t kInterface = 1;
constexpr std::uint32_t kEnhancedPacket = 6;
constexpr std::uint16_t kLinkTypeRaw = 101;   // raw IP
constexpr std::uint16_t kOptionEnd = 0;
constexpr std::uint16_t kOptionComment = 1;
constexpr std::uint16_t kOptionApplication = 4;
constexpr std::uint16_t kOptionTimeResolution = 9;
constexpr std::size_t kIpUdpBytes = 20 + 8;
constexpr std::uint16_t kPort = 46367;

class Block {
 public:
  explicit Block(std::uint32_t type) {
    u32(type);
    u32(0);  // the length, when it is known
  }
  void u16(std::uint16_t v) { bytes_.append(reinterpret_cast<const char*>(&v), sizeof v); }
  void u32(std::uint32_t v) { bytes_.append(reinterpret_cast<const char*>(&v), sizeof v); }
  void raw(std::string_view text) { bytes_ += text; }
  void pad() { bytes_.resize((bytes_.size() + 3) & ~std::size_t{3}, '\0'); }
  void option(std::uint16_t code, std::string_view value) {
    value = value.substr(0, 1024);
    u16(code);
    u16(static_cast<std::uint16_t>(value.size()));
    raw(value);
    pad();
  }
  void end_options() {
    u16(kOptionEnd);
    u16(0);
  }
  std::string take() {
    const auto length = static_cast<std::uint32_t>(bytes_.size() + 4);
    store_le(bytes_.data() + 4, length);
    u32(length);
    return std::move(bytes_);
  }

 private:
  std::string bytes_;
};

void big16(unsigned char* at, std::size_t value) {
  at[0] = static_cast<unsigned char>(value >> 8);
  at[1] = static_cast<unsigned char>(value);
}

// Headers around a frame; what does not fit 16 bits is shown as their largest value.
std::array<unsigned char, kIpUdpBytes> outer(std::uint32_t link, std::size_t frame_bytes) {
  std::array<unsigned char, kIpUdpBytes> h{};
  h[0] = 0x45;
  big16(&h[2], std::min<std::size_t>(kIpUdpBytes + kShimBytes + frame_bytes, 65535));
  h[8] = 64;
  h[9] = 17;
  h[12] = 127;
  h[14] = static_cast<unsigned char>(link >> 8);
  h[15] = static_cast<unsigned char>(link);
  h[16] = 127;
  h[19] = 1;
  std::uint32_t sum = 0;
  for (std::size_t i = 0; i < 20; i += 2) {
    sum += static_cast<std::uint32_t>(h[i] << 8 | h[i + 1]);
  }
  sum = (sum & 0xFFFF) + (sum >> 16);
  sum = (sum & 0xFFFF) + (sum >> 16);
  big16(&h[10], ~sum & 0xFFFF);
  big16(&h[20], kPort);
  big16(&h[22], kPort);
  big16(&h[24], std::min<std::size_t>(8 + kShimBytes + frame_bytes, 65535));
  return h;
}

}  // namespace

std::string pcapng_begin(std::string_view application) {
  Block section(kSectionHeader);
  section.u32(kByteOrderMagic);
  section.u16(1);
  section.u16(0);
  section.u32(~0u);  // length of the section: not known
  section.u32(~0u);
  section.option(kOptionApplication, application);
  section.end_options();
  Block interface(kInterface);
  interface.u16(kLinkTypeRaw);
  interface.u16(0);
  interface.u32(0);  // no limit
  interface.option(kOptionTimeResolution, std::string_view("\x09", 1));  // nanoseconds
  interface.end_options();
  return section.take() + interface.take();
}

std::string pcapng_packet(const CapturedFrame& frame, std::span<const std::byte> bytes) {
  const auto head = outer(frame.link, frame.frame_bytes);
  std::array<std::byte, kShimBytes> shim{};
  store_shim(shim.data(), Shim{.link_id = frame.link, .total_bytes = frame.frame_bytes & 0xFFFFFF});
  Block packet(kEnhancedPacket);
  packet.u32(0);
  packet.u32(static_cast<std::uint32_t>(frame.time_ns >> 32));
  packet.u32(static_cast<std::uint32_t>(frame.time_ns));
  packet.u32(static_cast<std::uint32_t>(head.size() + shim.size() + bytes.size()));
  packet.u32(static_cast<std::uint32_t>(head.size() + shim.size()) + frame.frame_bytes);
  packet.raw({reinterpret_cast<const char*>(head.data()), head.size()});
  packet.raw({reinterpret_cast<const char*>(shim.data()), shim.size()});
  packet.raw({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  packet.pad();
  if (!frame.comment.empty()) {
    packet.option(kOptionComment, frame.comment);
    packet.end_options();
  }
  return packet.take();
}

}  // namespace slipway
