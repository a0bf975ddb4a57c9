#pragma once
// What upstream calls a link by: any text of its maker's, the same again after a reconnect. Ours is a UUID.

#include <string>

namespace slipway {

// A UUID of version 4 (RFC 9562) from the system's random numbers. Any thread.
[[nodiscard]] std::string random_link_id();

}  // namespace slipway
