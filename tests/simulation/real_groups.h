#pragma once
// Real MLS in a simulated run: identities that cost nothing, groups that write down who is in each epoch.

#include <memory>
#include <string>

#include "fake_group.h"
#include "group/mls_group.h"
#include "sim_random.h"

namespace slipway::sim {

// Random bytes of a run, so that keys too come from its seed.
class MlsRandom final : public mls::Random {
 public:
  explicit MlsRandom(std::uint64_t seed) : random_(seed) {}
  mls::Status fill_secret(mls::MutableView out) override;
  mls::Status fill_public(mls::MutableView out) override { return fill_secret(out); }

 private:
  sim::Random random_;
};

// Tokens say who somebody is and which key is theirs; nobody forges them.
class SimIdentity final : public GroupIdentity {
 public:
  SimIdentity(std::string subject, mls::CipherSuite suite, mls::Random& random);
  std::string token() override { return token_; }
  [[nodiscard]] const mls::SignatureKey& signature_key() const override { return key_; }
  std::expected<TokenClaims, std::string> verify(std::string_view token, TokenExpiry expiry) override;
  [[nodiscard]] std::uint64_t now_s() const override { return 1'700'000'000; }

 private:
  mls::SignatureKey key_;
  std::string token_;
};

// Groups of one application in one life.
class RealGroups final : public SessionGroupFactory {
 public:
  // `self` is the name that the subject's id belongs to.
  RealGroups(const FullName& self, std::string subject, mls::CipherSuite suite, std::uint64_t seed, GroupLog& log)
      : self_(self.hashed()), random_(seed), identity_(std::move(subject), suite, random_), log_(log) {}
  std::unique_ptr<SessionGroup> make() override;

 private:
  Name self_;
  MlsRandom random_;
  SimIdentity identity_;
  GroupLog& log_;
};

}  // namespace slipway::sim
