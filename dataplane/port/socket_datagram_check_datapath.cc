#include "port/socket_datagram_check_datapath.h"

namespace slipway {
namespace {

DatagramCheck drop(DropReason reason, const Shim& shim = {}, LinkIndex link = kNoLink) {
  return {.verdict = DatagramVerdict::kDrop, .reason = reason, .link = link, .shim = shim};
}

// No link yet: only a whole link frame passes.
DatagramCheck check_hello(std::span<const std::byte> payload, const Shim& shim) {
  const auto frame = payload.subspan(kShimBytes);
  if (!shim.whole(frame.size()) || check_frame(frame) != FrameFault::kNone ||
      frame_kind(frame.data()) != static_cast<std::uint8_t>(FrameKind::kLink)) {
    return drop(DropReason::kUnknownLink, shim);
  }
  if (frame.size() > kMaxControlFrameBytes) {
    return drop(DropReason::kControlTooBig, shim);
  }
  return {.verdict = DatagramVerdict::kHello, .reason = {}, .link = kNoLink, .shim = shim};
}

}  // namespace

DatagramCheck check_datagram(std::span<const std::byte> payload, std::uint16_t port, const IpEndpoint& from,
                             const LinkRecord* links) {
  switch (check_shim(payload)) {
    case ShimFault::kNone:
      break;
    case ShimFault::kTag:
      return drop(DropReason::kShimTag);
    default:
      return drop(DropReason::kShimMalformed);
  }
  const Shim shim = load_shim(payload.data());
  if (shim.link_id == 0) {
    return check_hello(payload, shim);
  }
  const LinkIndex index = link_index_of(shim.link_id);
  const LinkRecord& link = links[index];
  if ((link.state != LinkState::kUp && link.state != LinkState::kGreeting) || link.id() != shim.link_id ||
      link.transport != LinkTransport::kDatagram || link.port != port) {
    return drop(DropReason::kUnknownLink, shim);
  }
  if (link.peer.family != from.family || link.peer.address != from.address ||
      (link.check_source_port && link.peer.port != from.port)) {
    return drop(DropReason::kWrongSource, shim, index);
  }
  if (shim.total_bytes > kMaxDatagramFrameBytes) {
    return drop(DropReason::kFrameTooBig, shim, index);
  }
  const bool whole = shim.whole(payload.size() - kShimBytes);
  return {.verdict = whole ? DatagramVerdict::kFrame : DatagramVerdict::kFragment, .reason = {}, .link = index, .shim = shim};
}

}  // namespace slipway
