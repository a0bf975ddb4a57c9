#include "app/app_identity.h"

#include <ctime>

namespace slipway {

std::uint64_t unix_now_s() { return static_cast<std::uint64_t>(std::time(nullptr)); }

std::string AppIdentity::token() {
  const auto token = identity_.provider->token(unix_now_s());
  return token ? std::string(*token) : std::string();  // nobody believes an empty one: the group refuses
}

std::string AppIdentity::fresh_token() { return identity_.provider->make_token(unix_now_s()).value_or(std::string()); }

std::expected<TokenClaims, std::string> AppIdentity::verify(std::string_view token, TokenExpiry expiry) {
  const auto age = expiry == TokenExpiry::kIgnore ? TokenAge::kAny : TokenAge::kValid;
  const auto who = identity_.verifier->verify(token, unix_now_s(), age);
  if (!who) {
    return std::unexpected(who.error().message());
  }
  return TokenClaims{who->subject, {who->public_key.begin(), who->public_key.end()}};
}

}  // namespace slipway
