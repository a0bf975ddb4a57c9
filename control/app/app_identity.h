#pragma once
// An application's identity as groups ask for it, with the system's clock.

#include <cstdint>
#include <utility>

#include "group/group_identity.h"
#include "identity/identity.h"

namespace slipway {

[[nodiscard]] std::uint64_t unix_now_s();

class AppIdentity final : public GroupIdentity {
 public:
  explicit AppIdentity(Identity identity) : identity_(std::move(identity)) {}

  std::string token() override;
  std::string fresh_token() override;
  [[nodiscard]] const mls::SignatureKey& signature_key() const override { return identity_.provider->key().mls_key(); }
  std::expected<TokenClaims, std::string> verify(std::string_view token, TokenExpiry expiry) override;
  [[nodiscard]] std::uint64_t now_s() const override { return unix_now_s(); }

  [[nodiscard]] IdentityProvider& provider() const { return *identity_.provider; }
  [[nodiscard]] IdentityVerifier& verifier() const { return *identity_.verifier; }

 private:
  Identity identity_;
};

}  // namespace slipway
