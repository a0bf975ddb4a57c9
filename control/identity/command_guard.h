#pragma once
// Signs commands on their way out and verifies them on their way in (upstream-session 5.2): a signature over the headers, as
// every release makes it, and one over the payload and the metadata, as releases from 3.4 on make it.

#include <cstdint>
#include <expected>
#include <string_view>

#include "identity/identity.h"
#include "wire/header_protection.h"
#include "wire/session_wire.h"

namespace slipway {

// The message's identity is set and all headers are final; `content` is encode_content() of its payload.
[[nodiscard]] std::expected<WireSignatures, IdentityError> sign_command(const SessionMessage& message, std::string_view content, const SigningKey& key);

// How strictly commands of peers are taken; upstream's SLIM_IDENTITY_BINDING.
enum class IdentityBinding : std::uint8_t {
  kOff,      // a valid token and header signature are enough
  kWarn,     // and the source's id must be the hash of the token's subject; a payload signature is checked where there is one
  kEnforce,  // and there must be one: peers of 2.x are refused
};

// Token, signatures, binding. What it returns is who sent it.
[[nodiscard]] std::expected<VerifiedIdentity, IdentityError> verify_command(const WireMessage& wire, IdentityVerifier& verifier,
                                                                            IdentityBinding binding, std::uint64_t now_s);

}  // namespace slipway
