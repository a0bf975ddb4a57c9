#pragma once
// Is a datagram that a socket received for one of our links? Bytes and records in, a verdict out: no buffers, no I/O.
// Pure: any thread that may read the records.

#include <cstdint>
#include <span>

#include "base/drop_reason.h"
#include "base/link.h"
#include "frame/shim.h"

namespace slipway {

enum class DatagramVerdict : std::uint8_t {
  kFrame,     // shim and a whole frame, from a link that is there
  kFragment,  // shim and a piece of a frame, from a link that is there
  kHello,     // link id 0 and a whole link frame
  kDrop,      // `reason` says why
};

struct DatagramCheck {
  DatagramVerdict verdict = DatagramVerdict::kDrop;
  DropReason reason = DropReason::kShimMalformed;
  LinkIndex link = kNoLink;  // of kFrame and kFragment, and of kDrop where it is known
  Shim shim;
};

// `links` has kMaxLinks records, by index; those that are not there are kFree.
[[nodiscard]] DatagramCheck check_datagram(std::span<const std::byte> payload, std::uint16_t port, const IpEndpoint& from,
                                           const LinkRecord* links);

}  // namespace slipway
