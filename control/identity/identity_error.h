#pragma once
// Why an identity cannot be used, or a token is not believed. One list makes the enum and the texts.

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace slipway {

// X(name, what a person reads)
#define SLIPWAY_IDENTITY_FAULTS(X)                                                                                   \
  X(kShortSecret, "the shared secret is too short: use at least 32 bytes, the same for all applications")            \
  X(kBadSubject, "the identity's name is not usable: not empty, no colon, no white space, at most 1024 bytes")       \
  X(kBadKey, "the key cannot be used: a PEM file with a P-256 or Ed25519 private key is needed")                     \
  X(kCannotSign, "the key cannot sign: is it a private key of the algorithm that is configured?")                    \
  X(kMalformedToken, "the token is of another form than this verifier's: both sides need the same kind of identity") \
  X(kWrongSecret, "the token was made with another secret or key")                                                   \
  X(kExpired, "the token has expired: are the clocks right, and does its owner refresh it?")                         \
  X(kFromTheFuture, "the token was made in the future: the clocks differ by more than 5 s")                          \
  X(kNoPublicKey, "the token carries no public key, so its owner can sign nothing")                                  \
  X(kBadSignature, "the signature does not fit the key in the token")

enum class IdentityFault : std::uint8_t {
#define X(name, text) name,
  SLIPWAY_IDENTITY_FAULTS(X)
#undef X
  kCount,
};

struct IdentityError {
  IdentityFault fault;
  std::string about;  // what exactly; may be empty; never a secret

  [[nodiscard]] std::string message() const {
    constexpr std::array<std::string_view, static_cast<std::size_t>(IdentityFault::kCount)> kTexts{
#define X(name, text) text,
        SLIPWAY_IDENTITY_FAULTS(X)
#undef X
    };
    std::string text(kTexts[static_cast<std::size_t>(fault)]);
    return about.empty() ? text : about + ": " + text;
  }
};

}  // namespace slipway
