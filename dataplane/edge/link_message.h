#pragma once
// The negotiation message of a link (upstream-node 2.5), as values. For the control thread and clients: it allocates, within
// kMaxNegotiationBytes.

#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <vector>

#include "edge/proto_message.h"

namespace slipway {

// Values of LinkConnectionType; others may come and mean kRemote.
inline constexpr std::int32_t kWireRemote = 0;
inline constexpr std::int32_t kWirePeer = 1;
inline constexpr std::int32_t kWireEdge = 2;

struct LinkNegotiation {
  std::string link_id;
  std::string slim_version;
  bool is_reply = false;
  std::vector<std::byte> ecdh_public_key;
  std::int32_t connection_type = kWireRemote;
  std::string node_id;
  std::string deployment_name;
  std::optional<std::vector<std::byte>> kem_payload;

  friend bool operator==(const LinkNegotiation&, const LinkNegotiation&) = default;
};

// A whole Message that holds it, in upstream's order of fields; defaults are left out.
[[nodiscard]] std::vector<std::byte> encode_negotiation(const LinkNegotiation& negotiation);

// Any message. kNoMessageType: it is no link message; kNoLinkType: a link message without negotiation; kTooBig: above
// kMaxNegotiationBytes; otherwise what the decoder says.
[[nodiscard]] std::expected<LinkNegotiation, EdgeFault> decode_negotiation(const Pieces& message);

}  // namespace slipway
