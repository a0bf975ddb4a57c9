#pragma once
// Keys that are their own names: `did:key:z` and base58btc of ed 01 and the 32 bytes of an Ed25519 public key (W3C did:key,
// multicodec). Pure.

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace slipway {

inline constexpr std::size_t kMaxDidKeyBytes = 128;  // of the text; one of Ed25519 has 56

[[nodiscard]] std::string did_key_of_ed25519(std::string_view key);
// The bytes of the key; nothing: not a did:key of Ed25519.
[[nodiscard]] std::optional<std::string> ed25519_of_did_key(std::string_view did);

}  // namespace slipway
