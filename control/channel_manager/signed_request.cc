#include "channel_manager/signed_request.h"

#include <fmt/format.h>

#include <algorithm>
#include <initializer_list>

#include "channel_manager/channel_manager_bounds.h"
#include "edge/did_key.h"
#include "channel_manager/flat_json.h"
#include "identity/identity.h"

namespace slipway {
namespace {

std::string malformed(std::string_view why) { return fmt::format("malformed: {}", why); }

std::string joined(std::initializer_list<std::string_view> values) {
  std::string out;
  for (const auto value : values) {
    out.append(value);
    out.push_back('\0');
  }
  out.pop_back();
  return out;
}

// NUL parts the values: one within a value would let the same signature be read in two ways.
std::expected<void, std::string> check_texts(std::initializer_list<std::string_view> values) {
  if (std::ranges::any_of(values, [](std::string_view value) { return value.find('\0') != std::string_view::npos; })) {
    return std::unexpected(malformed("fields must not contain NUL bytes"));
  }
  return {};
}

std::expected<void, std::string> read(std::string_view json, std::span<FlatField> fields) {
  if (json.size() > kManagerProofBytes) {
    return std::unexpected(malformed(fmt::format("{} bytes; at most {} are taken", json.size(), kManagerProofBytes)));
  }
  if (auto done = read_flat_json(json, fields); !done) {
    return std::unexpected(malformed(done.error()));
  }
  return {};
}

std::expected<std::string, std::string> key_of(std::string_view signer) {
  auto key = ed25519_of_did_key(signer);
  if (!key) {
    return std::unexpected(fmt::format("unsupported owner identifier format: {}", signer));
  }
  return *key;
}

std::expected<void, std::string> check_signature(std::string_view key, std::string_view bytes, std::string_view signature) {
  const auto raw = base64_decode(signature);
  if (!raw) {
    return std::unexpected(malformed("signature: not standard base64 with padding"));
  }
  if (!verify_signature(key, bytes, *raw)) {
    return std::unexpected("the signature does not verify against the signer's key");
  }
  return {};
}

}  // namespace

std::string signed_bytes(const SignedCreation& creation) {
  return joined({"SLIM-CHANNEL-CREATE/1", creation.audience, creation.channel, creation.owner, creation.mls_enabled ? "true" : "false",
                 creation.ttl_seconds ? std::to_string(*creation.ttl_seconds) : std::string(), creation.owner_callback_name.value_or(std::string()),
                 std::to_string(creation.not_after_s), creation.nonce});
}

std::string signed_bytes(const SignedDeletion& deletion) {
  return joined({"SLIM-CHANNEL-DELETE/1", deletion.audience, deletion.channel, std::to_string(deletion.not_after_s), deletion.nonce});
}

std::string signed_bytes(const Grant& grant) {
  return joined({"SLIM-CHANNEL-GRANT/1", grant.channel, grant.invitee, grant.action == GrantAction::kAdd ? "add" : "delete", grant.role,
                 std::to_string(grant.not_after_s), grant.nonce});
}

std::expected<SignedCreation, std::string> verify_creation(std::string_view json) {
  SignedCreation out;
  std::string signature;
  FlatField fields[] = {{"audience", &out.audience},       {"channel", &out.channel},
                        {"owner", &out.owner},             {"mls_enabled", &out.mls_enabled},
                        {"ttl_seconds", &out.ttl_seconds}, {"owner_callback_name", &out.owner_callback_name},
                        {"not_after", &out.not_after_s},   {"nonce", &out.nonce},
                        {"signature", &signature}};
  if (auto done = read(json, fields); !done) {
    return std::unexpected(done.error());
  }
  if (out.owner_callback_name && out.owner_callback_name->empty()) {  // it would sign the same bytes as none
    return std::unexpected(malformed("owner_callback_name must be omitted rather than empty"));
  }
  if (auto done = check_texts({out.audience, out.channel, out.owner, out.owner_callback_name.value_or(std::string()), out.nonce}); !done) {
    return std::unexpected(done.error());
  }
  const auto key = key_of(out.owner);
  if (!key) {
    return std::unexpected(key.error());
  }
  if (auto done = check_signature(*key, signed_bytes(out), signature); !done) {
    return std::unexpected(done.error());
  }
  return out;
}

std::expected<SignedDeletion, std::string> verify_deletion(std::string_view signer, std::string_view json) {
  const auto key = key_of(signer);
  if (!key) {
    return std::unexpected(key.error());
  }
  SignedDeletion out;
  std::string signature;
  FlatField fields[] = {{"audience", &out.audience}, {"channel", &out.channel}, {"not_after", &out.not_after_s}, {"nonce", &out.nonce}, {"signature", &signature}};
  if (auto done = read(json, fields); !done) {
    return std::unexpected(done.error());
  }
  if (auto done = check_texts({out.audience, out.channel, out.nonce}); !done) {
    return std::unexpected(done.error());
  }
  if (auto done = check_signature(*key, signed_bytes(out), signature); !done) {
    return std::unexpected(done.error());
  }
  return out;
}

std::expected<Grant, std::string> verify_grant(std::string_view signer, std::string_view json) {
  const auto key = key_of(signer);
  if (!key) {
    return std::unexpected(key.error());
  }
  Grant out;
  std::string action;
  std::string signature;
  FlatField fields[] = {{"channel", &out.channel}, {"invitee", &out.invitee},       {"action", &action},       {"role", &out.role},
                        {"not_after", &out.not_after_s}, {"nonce", &out.nonce}, {"signature", &signature}};
  if (auto done = read(json, fields); !done) {
    return std::unexpected(done.error());
  }
  if (action != "add" && action != "delete") {
    return std::unexpected(malformed("`action` must be `add` or `delete`"));
  }
  out.action = action == "add" ? GrantAction::kAdd : GrantAction::kDelete;
  if (auto done = check_texts({out.channel, out.invitee, out.role, out.nonce}); !done) {
    return std::unexpected(done.error());
  }
  if (auto done = check_signature(*key, signed_bytes(out), signature); !done) {
    return std::unexpected(done.error());
  }
  return out;
}

}  // namespace slipway
