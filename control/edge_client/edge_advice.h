#pragma once
// What to try when a connection to a SLIM node fails. Pure.

#include <cstddef>
#include <span>
#include <string>

#include "edge_client/edge_client.h"

namespace slipway {

// In words what HTTP and gRPC answered, or else the fault. Before the stream was open and after.
[[nodiscard]] std::string stream_end_text(const StreamEnd& end, EdgeStep step);
// `first`: what the other side said first on the socket.
[[nodiscard]] std::string edge_remedy(const EdgeClientEnd& end, const EdgeEndpoint& endpoint, std::span<const std::byte> first);

}  // namespace slipway
