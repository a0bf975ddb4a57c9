#include "identity/jwt_identity.h"

#include <algorithm>
#include <deque>
#include <iterator>

#include "identity/identity_bounds.h"
#include "identity/token_claims.h"

namespace slipway {
namespace {

constexpr std::string_view kBearer = "Bearer ";

std::unexpected<IdentityError> failed(IdentityFault fault, std::string about = {}) { return std::unexpected(IdentityError{fault, std::move(about)}); }

class Provider final : public IdentityProvider {
 public:
  Provider(AuthKey signing_key, JwtClaims claims, SigningKey key)
      : IdentityProvider(claims.subject, std::move(key)), lifetime_s_(claims.duration_s), signer_(make(std::move(signing_key), std::move(claims))) {}

  [[nodiscard]] std::uint64_t lifetime_s() const override { return lifetime_s_; }
  std::expected<std::string, IdentityError> make_token(std::uint64_t now_s) override {
    auto made = signer_.authorization(static_cast<std::int64_t>(now_s));
    if (!made) {
      return failed(IdentityFault::kCannotSign, std::move(made.error()));
    }
    return made->substr(kBearer.size());
  }

 private:
  JwtSigner make(AuthKey signing_key, JwtClaims claims) const {
    claims.custom_json = claims_json();
    return {std::move(signing_key), std::move(claims)};
  }
  std::uint64_t lifetime_s_;
  JwtSigner signer_;
};

class Verifier final : public IdentityVerifier {
 public:
  explicit Verifier(std::vector<AuthKey> keys, JwtRules rules) : guard_(std::move(keys), std::move(rules)) {}

  std::expected<VerifiedIdentity, IdentityError> verify(std::string_view token, std::uint64_t now_s, TokenAge age) override {
    const auto known = std::ranges::find(kept_, token, &Kept::token);
    if (known != kept_.end() && (now_s <= known->identity.expires_s || age == TokenAge::kAny)) {
      return known->identity;
    }
    if (token.size() > kMaxTokenBytes) {
      return failed(IdentityFault::kMalformedToken);
    }
    // Looked at when it was valid: what it says of its expiry is as signed as the rest.
    if (const auto claimed = identity_of_jwt(token); age == TokenAge::kAny && claimed) {
      now_s = std::min(now_s, claimed->expires_s);
    }
    std::string authorization(kBearer);
    authorization += token;
    const AuthVerdict verdict = guard_.check(authorization, static_cast<std::int64_t>(now_s));
    if (verdict.http_status != 200) {
      return failed(verdict.reason.contains("expired") ? IdentityFault::kExpired : IdentityFault::kWrongSecret, verdict.reason);
    }
    auto identity = identity_of_jwt(token);
    if (identity) {
      if (kept_.size() == kVerifiedTokensKept) {
        kept_.pop_front();
      }
      kept_.push_back({std::string(token), *identity});
    }
    return identity;
  }

 private:
  struct Kept {
    std::string token;
    VerifiedIdentity identity;
  };
  JwtGuard guard_;
  std::deque<Kept> kept_;
};

class StaticProvider final : public IdentityProvider {
 public:
  StaticProvider(std::string file, std::string token, const VerifiedIdentity& identity, SigningKey key, std::uint64_t now_s)
      : IdentityProvider(identity.subject, std::move(key)),
        file_(std::move(file)),
        token_(std::move(token)),
        expires_s_(identity.expires_s),
        lifetime_s_(expires_s_ > now_s ? expires_s_ - now_s : 0) {}

  [[nodiscard]] std::uint64_t lifetime_s() const override { return lifetime_s_; }
  std::expected<std::string, IdentityError> make_token(std::uint64_t now_s) override;

 private:
  std::string file_;
  std::string token_;
  std::uint64_t expires_s_;
  std::uint64_t lifetime_s_;
};

struct ReadToken {
  std::string token;
  VerifiedIdentity identity;
};
std::expected<ReadToken, IdentityError> read_token(const std::string& file, const SigningKey& key) {
  auto text = static_token_authorization(file);
  if (!text) {
    return failed(IdentityFault::kMalformedToken, std::move(text.error()));
  }
  std::string token = text->substr(kBearer.size());
  auto identity = identity_of_jwt(token);
  if (!identity) {
    return std::unexpected(identity.error());
  }
  if (identity->public_key != key.public_key()) {
    return failed(IdentityFault::kNoPublicKey, "the public key in " + file + " is another than that of the key file");
  }
  return ReadToken{std::move(token), std::move(*identity)};
}

std::expected<std::string, IdentityError> StaticProvider::make_token(std::uint64_t now_s) {
  if (expires_s_ <= now_s + kTokenReuseS) {
    auto fresh = read_token(file_, key());
    if (!fresh) {
      return std::unexpected(fresh.error());
    }
    if (fresh->identity.subject != subject()) {
      return failed(IdentityFault::kBadSubject, file_ + " now belongs to another subject");
    }
    token_ = std::move(fresh->token);
    expires_s_ = fresh->identity.expires_s;
  }
  if (expires_s_ <= now_s) {
    return failed(IdentityFault::kExpired, file_);
  }
  return token_;
}

}  // namespace

std::expected<std::shared_ptr<IdentityProvider>, IdentityError> jwt_provider(JwtProviderOptions options) {
  auto keys = load_auth_keys(options.signing_key, true);
  if (!keys) {
    return failed(IdentityFault::kBadKey, std::move(keys.error()));
  }
  JwtClaims claims{.issuer = std::move(options.issuer), .subject = std::move(options.subject), .audiences = std::move(options.audiences),
                   .custom_json = {}, .duration_s = options.duration_s};
  if (claims.subject.empty()) {
    claims.subject = keys->front().did_key();
    claims.issuer = claims.issuer.empty() ? claims.subject : claims.issuer;
  }
  if (claims.subject.empty() || claims.subject.size() > kMaxSubjectBytes) {
    return failed(IdentityFault::kBadSubject, "a subject is needed unless the key is Ed25519");
  }
  if (!options.key) {
    auto key = SigningKey::generate();
    if (!key) {
      return std::unexpected(key.error());
    }
    options.key = std::move(*key);
  }
  return std::make_shared<Provider>(std::move(keys->front()), std::move(claims), std::move(*options.key));
}

std::expected<std::shared_ptr<IdentityVerifier>, IdentityError> jwt_verifier(JwtVerifierOptions options) {
  std::vector<AuthKey> all;
  for (const AuthKeySource& source : options.keys) {
    auto keys = load_auth_keys(source, false);
    if (!keys) {
      return failed(IdentityFault::kBadKey, std::move(keys.error()));
    }
    std::ranges::move(*keys, std::back_inserter(all));
  }
  if (all.empty()) {
    return failed(IdentityFault::kBadKey, "no key to verify with");
  }
  return std::make_shared<Verifier>(std::move(all), std::move(options.rules));
}

std::expected<std::shared_ptr<IdentityProvider>, IdentityError> static_jwt_provider(StaticJwtOptions options, std::uint64_t now_s) {
  auto read = read_token(options.token_file, options.key);
  if (!read) {
    return std::unexpected(read.error());
  }
  return std::make_shared<StaticProvider>(std::move(options.token_file), std::move(read->token), read->identity, std::move(options.key), now_s);
}

}  // namespace slipway
