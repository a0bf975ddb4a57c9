#pragma once
// Names that nobody else makes: of links (any text of its maker's, the same again after a reconnect), of messages and of calls.

#include <string>

namespace slipway {

// A UUID of version 4 (RFC 9562) from the system's random numbers. Any thread.
[[nodiscard]] std::string random_uuid();

}  // namespace slipway
