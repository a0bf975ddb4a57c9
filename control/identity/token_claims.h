#pragma once
// What tokens say, from their JSON. Private to this folder.

#include <expected>
#include <string_view>

#include "identity/identity.h"

namespace slipway {

// The public key in a claims object: top-level `pubkey`, else that in `custom_claims`.
[[nodiscard]] std::expected<std::string, IdentityError> public_key_of_claims(std::string_view json);

// Subject, issuer, expiry and public key of a JWT's payload.
[[nodiscard]] std::expected<VerifiedIdentity, IdentityError> identity_of_jwt(std::string_view token);

}  // namespace slipway
