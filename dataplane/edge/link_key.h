#pragma once
// How the two ends of a link agree on the key of their header MACs (upstream-node 4.4): X25519, alone or together with
// ML-KEM-768, and HKDF-SHA256 with the link id as salt. For the control thread and clients, not for workers: it allocates.
// Errors say what was being done.

#include <array>
#include <cstddef>
#include <expected>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "edge/secret32.h"

namespace slipway {

inline constexpr std::size_t kX25519Bytes = 32;
inline constexpr std::size_t kMlKemPublicBytes = 1184;      // ML-KEM-768 encapsulation key
inline constexpr std::size_t kMlKemCiphertextBytes = 1088;

using X25519Public = std::array<std::byte, kX25519Bytes>;

// One end's key pair, made for one link.
class X25519Pair {
 public:
  [[nodiscard]] static std::expected<X25519Pair, std::string> generate();
  [[nodiscard]] static std::expected<X25519Pair, std::string> from_private(const Secret32& key);
  ~X25519Pair();
  X25519Pair(X25519Pair&&) noexcept;
  X25519Pair& operator=(X25519Pair&&) noexcept;

  [[nodiscard]] const X25519Public& public_key() const { return public_; }
  // Refuses keys of low order, whose secret would be all zeros.
  [[nodiscard]] std::expected<Secret32, std::string> agree(std::span<const std::byte> peer_public) const;

 private:
  struct State;
  X25519Pair(std::unique_ptr<State> state, const X25519Public& key);
  std::unique_ptr<State> state_;
  X25519Public public_{};
};

// ML-KEM-768 (FIPS 203), where a library has it.
class MlKem {
 public:
  class Private {
   public:
    virtual ~Private() = default;
  };
  struct Pair {
    std::unique_ptr<Private> private_key;
    std::vector<std::byte> public_key;
  };
  struct Encapsulated {
    std::vector<std::byte> ciphertext;
    Secret32 secret;
  };

  virtual ~MlKem() = default;
  [[nodiscard]] virtual std::expected<Pair, std::string> generate() = 0;
  [[nodiscard]] virtual std::expected<Encapsulated, std::string> encapsulate(std::span<const std::byte> peer_public) = 0;
  [[nodiscard]] virtual std::expected<Secret32, std::string> decapsulate(const Private& key,
                                                                         std::span<const std::byte> ciphertext) = 0;
};

// OpenSSL's, or null when the OpenSSL in use has none (3.5 was the first with it). Looked for at run time.
[[nodiscard]] std::unique_ptr<MlKem> openssl_ml_kem();

// Where the negotiation gets its keys: the library's random numbers in the node, fixed ones in tests.
class LinkKeySource {
 public:
  virtual ~LinkKeySource() = default;
  [[nodiscard]] virtual std::expected<X25519Pair, std::string> x25519() = 0;
  [[nodiscard]] virtual MlKem* ml_kem() = 0;  // null: not to be had
};

class OpensslKeySource final : public LinkKeySource {
 public:
  OpensslKeySource() : ml_kem_(openssl_ml_kem()) {}
  [[nodiscard]] std::expected<X25519Pair, std::string> x25519() override { return X25519Pair::generate(); }
  [[nodiscard]] MlKem* ml_kem() override { return ml_kem_.get(); }

 private:
  std::unique_ptr<MlKem> ml_kem_;
};

// The link's key from the secret that X25519 gave and, on a hybrid link, the one that ML-KEM gave.
[[nodiscard]] std::expected<Secret32, std::string> derive_link_key(const Secret32& x25519, const Secret32* ml_kem,
                                                                   std::string_view link_id);

}  // namespace slipway
