// What a datagram socket makes of whatever comes: nothing is read past the end, and what passes keeps what later
// stages rely on. First bytes: from whom it comes and which link it claims; the rest is the datagram.
#include <cstring>
#include <memory>
#include <span>
#include <vector>

#include "port/socket_datagram_check_datapath.h"
#include "require.h"

using namespace slipway;

namespace {

struct Links {
  std::unique_ptr<LinkRecord[]> records = std::make_unique<LinkRecord[]>(kMaxLinks);
  Links() {
    for (LinkIndex i = 1; i < 8; ++i) {
      LinkRecord& r = records[i];
      r = {.index = i, .generation = i, .state = static_cast<LinkState>(i % 4), .transport = i == 7 ? LinkTransport::kEthernet : LinkTransport::kDatagram,
           .port = static_cast<std::uint16_t>(i / 6), .check_source_port = i % 2 == 0};
      r.peer.family = i % 3 == 0 ? 6 : 4;
      r.peer.address[0] = static_cast<std::uint8_t>(i);
      r.peer.port = static_cast<std::uint16_t>(1000 + i);
    }
  }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const Links links;
  if (size < 4) {
    return 0;
  }
  IpEndpoint from;
  from.family = data[0] % 2 == 0 ? 4 : 6;
  from.address[0] = data[1] % 9;
  from.port = static_cast<std::uint16_t>(1000 + data[2] % 9);
  std::vector<std::byte> datagram(std::as_bytes(std::span(data + 4, size - 4)).begin(), std::as_bytes(std::span(data + 4, size - 4)).end());
  if (data[3] < 9 && datagram.size() >= 4) {  // most inputs name a link that may be there
    store_le(datagram.data(), data[3] == 0 ? 0 : make_link_id(data[3], data[3]));
  }
  datagram.shrink_to_fit();
  const DatagramCheck check = check_datagram(datagram, 0, from, links.records.get());
  switch (check.verdict) {
    case DatagramVerdict::kFrame:
      FUZZ_REQUIRE(check.shim.total_bytes == datagram.size() - kShimBytes && check.shim.fragment_offset == 0);
      [[fallthrough]];
    case DatagramVerdict::kFragment: {
      const LinkRecord& link = links.records[check.link];
      FUZZ_REQUIRE(link.id() == check.shim.link_id && link.transport == LinkTransport::kDatagram && link.port == 0);
      FUZZ_REQUIRE(link.state == LinkState::kUp || link.state == LinkState::kGreeting);
      FUZZ_REQUIRE(link.peer.family == from.family && link.peer.address == from.address);
      FUZZ_REQUIRE(!link.check_source_port || link.peer.port == from.port);
      FUZZ_REQUIRE(datagram.size() > kShimBytes && check.shim.total_bytes <= kMaxDatagramFrameBytes);
      FUZZ_REQUIRE(check.shim.fragment_offset + (datagram.size() - kShimBytes) <= check.shim.total_bytes);
      break;
    }
    case DatagramVerdict::kHello: {
      const auto frame = std::span<const std::byte>(datagram).subspan(kShimBytes);
      FUZZ_REQUIRE(check.shim.link_id == 0 && check_frame(frame) == FrameFault::kNone && frame.size() <= kMaxControlFrameBytes);
      FUZZ_REQUIRE(frame_kind(frame.data()) == static_cast<std::uint8_t>(FrameKind::kLink));
      break;
    }
    case DatagramVerdict::kDrop:
      FUZZ_REQUIRE(static_cast<std::size_t>(check.reason) < kDropReasonCount && check.link < kMaxLinks);
      break;
  }
  return 0;
}
