#pragma once
// Bytes that are secret, handed on as sessions hand on any: wiped when the last holder lets go. Any thread.

#include "crypto/secret.h"
#include "session/session_message.h"

namespace slipway {

inline SharedBytes secret_bytes(mls::View secret) {
  const auto* at = reinterpret_cast<const std::byte*>(secret.data());
  return {new Bytes(at, at + secret.size()), [](Bytes* bytes) {
            mls::wipe({reinterpret_cast<std::uint8_t*>(bytes->data()), bytes->size()});
            delete bytes;
          }};
}

}  // namespace slipway
