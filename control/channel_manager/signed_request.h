#pragma once
// What owners of channels sign (upstream-control 7.1): requests to create and to delete a channel, and grants for changes of who
// is in it. JSON objects with a detached Ed25519 signature over their values, joined by NUL, behind a tag of their kind.
//
// Verifying says who signed what. Whether it fits the request at hand, is still good and was not used before is the caller's to
// check (channel_manager.h). Errors are upstream's texts, but for what exactly is wrong with JSON. Pure: any thread.

#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>

namespace slipway {

struct SignedCreation {
  std::string audience;   // the manager that it is for
  std::string channel;
  std::string owner;      // did:key of whoever signed
  bool mls_enabled = false;
  std::optional<std::uint64_t> ttl_seconds;
  std::optional<std::string> owner_callback_name;
  std::uint64_t not_after_s = 0;  // Unix
  std::string nonce;
  friend bool operator==(const SignedCreation&, const SignedCreation&) = default;
};

struct SignedDeletion {
  std::string audience;
  std::string channel;
  std::uint64_t not_after_s = 0;
  std::string nonce;
  friend bool operator==(const SignedDeletion&, const SignedDeletion&) = default;
};

enum class GrantAction : std::uint8_t { kAdd, kDelete };

struct Grant {
  std::string channel;
  std::string invitee;
  GrantAction action = GrantAction::kAdd;
  std::string role;       // not looked at
  std::uint64_t not_after_s = 0;
  std::string nonce;
  friend bool operator==(const Grant&, const Grant&) = default;
};

// Signed by the owner that it names.
[[nodiscard]] std::expected<SignedCreation, std::string> verify_creation(std::string_view json);
// Signed by `signer`, a did:key.
[[nodiscard]] std::expected<SignedDeletion, std::string> verify_deletion(std::string_view signer, std::string_view json);
[[nodiscard]] std::expected<Grant, std::string> verify_grant(std::string_view signer, std::string_view json);

// What the signature is over.
[[nodiscard]] std::string signed_bytes(const SignedCreation& creation);
[[nodiscard]] std::string signed_bytes(const SignedDeletion& deletion);
[[nodiscard]] std::string signed_bytes(const Grant& grant);

}  // namespace slipway
