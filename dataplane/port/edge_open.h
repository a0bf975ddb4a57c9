#pragma once
// What the control thread gives a worker with the socket of an upstream application or node, and later the key on
// which the two ends agreed. Both are made by the control thread and change owner with the command (base/messages.h).

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>

#include "edge/mac.h"
#include "edge/transport_config.h"

namespace slipway {

struct EdgeOpen {
  std::shared_ptr<const TransportConfig> transport;
  bool tcp = false;          // not a Unix socket: received segments are acknowledged at once
  bool strict_mac = true;    // `require_header_mac`
};

struct EdgeKey {
  std::optional<HeaderMac> mac;  // none: the two ends agreed on no key
  bool checked = true;           // edge and remote links sign and verify; peers do neither
};

// Messages that may go with the status at the end of a stream (upstream-node 4.6).
inline constexpr auto kEdgeCloseTexts = std::to_array<std::string_view>({
    "",
    "self-connection rejected: same node_id",
    "deployment_name mismatch",
    "the two nodes have another link",
});
inline constexpr std::uint8_t kEdgeCloseSelf = 1;
inline constexpr std::uint8_t kEdgeCloseDeployment = 2;
inline constexpr std::uint8_t kEdgeCloseTwin = 3;

}  // namespace slipway
