#include "node/channel_identity.h"

#include <fmt/format.h>

#include <utility>

#include "channel/key_file.h"
#include "identity/jwt_identity.h"
#include "identity/shared_secret.h"

namespace slipway {

namespace {

std::expected<Identity, std::string> identity_by_token(const ChannelSettings& settings, std::optional<SigningKey> key) {
  auto provider = jwt_provider({.signing_key = settings.token_key,
                                .subject = settings.token.subject,
                                .issuer = settings.token.issuer,
                                .audiences = settings.token.audiences,
                                .duration_s = settings.token.duration_s,
                                .key = std::move(key)});
  if (!provider) {
    return std::unexpected(fmt::format("`slipway.channels.identity.token`: {}", provider.error().message()));
  }
  auto verifier = jwt_verifier({.keys = {settings.verify_key}, .rules = settings.verify});
  if (!verifier) {
    return std::unexpected(fmt::format("`slipway.channels.identity.verify`: {}", verifier.error().message()));
  }
  return Identity{std::move(*provider), std::move(*verifier)};
}

}  // namespace

std::expected<Identity, std::string> channel_identity(const ChannelSettings& settings, ChannelIdentityOptions options) {
  if (settings.secret_file.empty()) {
    return identity_by_token(settings, std::move(options.key));
  }
  auto secret = read_secret_line(settings.secret_file);
  if (!secret) {
    return std::unexpected(secret.error());
  }
  auto made = shared_secret_identity(
      {.base = options.name.text(), .secret = *secret, .subject = std::move(options.subject), .key = std::move(options.key)});
  wipe(*secret);
  if (!made) {
    return std::unexpected(fmt::format("the secret in {}: {}", settings.secret_file, made.error().message()));
  }
  return std::move(*made);
}

}  // namespace slipway
