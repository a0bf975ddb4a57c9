#include "identity/shared_secret.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "crypto/random.h"
#include "edge/auth_key.h"
#include "identity/identity_bounds.h"
#include "identity/token_claims.h"

namespace slipway {
namespace {

constexpr std::size_t kNonceBytes = 12;
constexpr std::size_t kMacChars = 43;

bool usable_subject(std::string_view text) {
  return !text.empty() && text.size() <= kMaxSubjectBytes &&
         std::ranges::none_of(text, [](char c) { return c == ':' || static_cast<unsigned char>(c) <= ' '; });
}

std::string mac_text(mls::View secret, std::string_view text) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> mac;
  unsigned size = 0;
  if (HMAC(EVP_sha256(), secret.data(), static_cast<int>(secret.size()), reinterpret_cast<const unsigned char*>(text.data()), text.size(),
           mac.data(), &size) == nullptr) {
    return {};
  }
  return base64url_encode({reinterpret_cast<const char*>(mac.data()), size});
}

// Eight characters of [A-Za-z0-9], each as likely as the others.
std::expected<std::string, IdentityError> random_suffix() {
  static constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
  std::string suffix;
  while (suffix.size() < kRandomSuffixChars) {
    std::array<std::uint8_t, 32> random;
    if (!mls::system_random().fill_public(random)) {
      return std::unexpected(IdentityError{IdentityFault::kBadKey, "no random bytes"});
    }
    for (const std::uint8_t byte : random) {
      if (byte < 256 / kAlphabet.size() * kAlphabet.size() && suffix.size() < kRandomSuffixChars) {
        suffix.push_back(kAlphabet[byte % kAlphabet.size()]);
      }
    }
  }
  return suffix;
}

class Provider final : public IdentityProvider {
 public:
  Provider(std::string subject, SigningKey key, std::shared_ptr<const mls::SecretBytes> secret)
      : IdentityProvider(std::move(subject), std::move(key)), secret_(std::move(secret)), claims_(claims_json()) {}

  [[nodiscard]] std::uint64_t lifetime_s() const override { return kSharedSecretLifetimeS; }
  std::expected<std::string, IdentityError> make_token(std::uint64_t now_s) override {
    std::array<std::uint8_t, kNonceBytes> nonce;
    if (!mls::system_random().fill_public(nonce)) {
      return std::unexpected(IdentityError{IdentityFault::kCannotSign, "no random bytes"});
    }
    return shared_secret_token(mls::as_text(*secret_), subject(), now_s - kTokenBackdateS, mls::as_text(nonce), claims_);
  }

 private:
  std::shared_ptr<const mls::SecretBytes> secret_;
  std::string claims_;
};

class Verifier final : public IdentityVerifier {
 public:
  explicit Verifier(std::shared_ptr<const mls::SecretBytes> secret) : secret_(std::move(secret)) {}

  std::expected<VerifiedIdentity, IdentityError> verify(std::string_view token, std::uint64_t now_s, TokenAge age) override {
    const auto refuse = [](IdentityFault fault) { return std::unexpected(IdentityError{fault, {}}); };
    std::array<std::string_view, 5> field;
    std::string_view rest = token;
    for (std::size_t i = 0; i < field.size(); ++i) {
      const std::size_t colon = rest.find(':');
      if (token.size() > kMaxTokenBytes || (colon == std::string_view::npos) != (i + 1 == field.size())) {
        return refuse(IdentityFault::kMalformedToken);
      }
      field[i] = rest.substr(0, colon);
      rest.remove_prefix(colon == std::string_view::npos ? rest.size() : colon + 1);
    }
    const auto& [subject, seconds, nonce, claims, mac] = field;
    std::uint64_t made_s = 0;
    const auto [end, error] = std::from_chars(seconds.data(), seconds.data() + seconds.size(), made_s);
    if (!usable_subject(subject) || error != std::errc() || end != seconds.data() + seconds.size() || mac.size() != kMacChars) {
      return refuse(IdentityFault::kMalformedToken);
    }
    const std::string expected = mac_text(*secret_, token.substr(0, token.size() - kMacChars - 1));
    if (!mls::equal_secret(mls::as_view(expected), mls::as_view(mac))) {
      return refuse(IdentityFault::kWrongSecret);
    }
    if (made_s > now_s + kClockLeadS) {
      return refuse(IdentityFault::kFromTheFuture);
    }
    if (age == TokenAge::kValid && now_s > made_s && now_s - made_s > kSharedSecretLifetimeS) {
      return refuse(IdentityFault::kExpired);
    }
    const auto json = base64url_decode(claims);
    auto key = json ? public_key_of_claims(*json) : std::unexpected(IdentityError{IdentityFault::kMalformedToken, {}});
    if (!key) {
      return std::unexpected(key.error());
    }
    return VerifiedIdentity{std::string(subject), {}, std::move(*key), made_s + kSharedSecretLifetimeS};
  }

 private:
  std::shared_ptr<const mls::SecretBytes> secret_;
};

}  // namespace

std::string shared_secret_token(std::string_view secret, std::string_view subject, std::uint64_t made_s, std::string_view nonce,
                                std::string_view claims) {
  std::string token(subject);
  token += ":" + std::to_string(made_s) + ":" + base64url_encode(nonce) + ":" + base64url_encode(claims);
  const std::string mac = mac_text(mls::as_view(secret), token);
  return token + ":" + mac;
}

std::expected<Identity, IdentityError> shared_secret_identity(SharedSecretOptions options) {
  if (options.secret.size() < kMinSharedSecretBytes) {
    return std::unexpected(IdentityError{IdentityFault::kShortSecret, {}});
  }
  std::string subject;
  if (options.subject) {
    subject = std::move(*options.subject);
  } else {
    auto suffix = random_suffix();
    if (!suffix) {
      return std::unexpected(suffix.error());
    }
    subject = options.base.empty() ? std::string() : options.base + "_" + *suffix;
  }
  if (!usable_subject(subject)) {
    return std::unexpected(IdentityError{IdentityFault::kBadSubject, {}});
  }
  if (!options.key) {
    auto key = SigningKey::generate();
    if (!key) {
      return std::unexpected(key.error());
    }
    options.key = std::move(*key);
  }
  const auto secret_view = mls::as_view(options.secret);
  auto secret = std::make_shared<const mls::SecretBytes>(secret_view.begin(), secret_view.end());
  return Identity{std::make_shared<Provider>(std::move(subject), std::move(*options.key), secret), std::make_shared<Verifier>(secret)};
}

}  // namespace slipway
