#pragma once
// Copies of payloads for an application to keep, in buffers that are used again.
//
// A burst of messages takes more blocks of one size than malloc keeps at hand for a thread, and the rest cost some hundred nanoseconds
// each. So a thread keeps some buffers that payloads were given back in. A payload is ordinary memory: it may be kept for ever and
// released on any thread, which then has the buffer. Bounded by kSpareBuffers and
// kMaxSpareBytes (app_bounds.h), a thread.

#include <span>

#include "session/session_message.h"

namespace slipway {

[[nodiscard]] SharedBytes copy_payload(std::span<const std::byte> payload);

}  // namespace slipway
