#pragma once
// Key agreement with known keys, and an ML-KEM whose secret is known: 32 bytes of 0xAA.

#include <algorithm>

#include "edge/negotiation.h"

namespace slipway {

// 32 bytes that count up from `first`.
inline Secret32 counting_secret(std::uint8_t first) {
  Secret32 secret;
  for (std::size_t i = 0; i < kSecretBytes; ++i) {
    secret.writable()[i] = static_cast<std::byte>(first + i);
  }
  return secret;
}

class FixedMlKem final : public MlKem {
 public:
  std::expected<Pair, std::string> generate() override {
    return Pair{std::make_unique<Private>(), std::vector<std::byte>(kMlKemPublicBytes, std::byte{0x11})};
  }
  std::expected<Encapsulated, std::string> encapsulate(std::span<const std::byte> peer_public) override {
    if (peer_public[0] != std::byte{0x11}) {
      return std::unexpected("not an ML-KEM key");
    }
    return Encapsulated{std::vector<std::byte>(kMlKemCiphertextBytes, std::byte{0x22}), secret()};
  }
  std::expected<Secret32, std::string> decapsulate(const MlKem::Private&, std::span<const std::byte> ciphertext) override {
    if (ciphertext[0] != std::byte{0x22}) {
      return std::unexpected("not an ML-KEM ciphertext");
    }
    return secret();
  }

 private:
  static Secret32 secret() {
    Secret32 secret;
    std::ranges::fill(secret.writable(), std::byte{0xAA});
    return secret;
  }
};

class FixedKeySource final : public LinkKeySource {
 public:
  explicit FixedKeySource(std::uint8_t first, bool with_ml_kem = false) : first_(first), with_ml_kem_(with_ml_kem) {}
  std::expected<X25519Pair, std::string> x25519() override { return X25519Pair::from_private(counting_secret(first_)); }
  MlKem* ml_kem() override { return with_ml_kem_ ? &ml_kem_ : nullptr; }

 private:
  std::uint8_t first_;
  bool with_ml_kem_;
  FixedMlKem ml_kem_;
};
inline constexpr std::uint8_t kInitiatorFirst = 0x01;  // the private keys of the test vector
inline constexpr std::uint8_t kAcceptorFirst = 0x21;

}  // namespace slipway
