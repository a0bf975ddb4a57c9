#include "identity/command_guard.h"

namespace slipway {

std::expected<WireSignatures, IdentityError> sign_command(const SessionMessage& message, std::string_view content, const SigningKey& key) {
  const std::string aad = header_aad(message);
  WireSignatures signatures{.header = key.sign(aad), .payload = key.sign(payload_signature_input(aad, content, message.metadata))};
  if (signatures.header.empty() || signatures.payload.empty()) {
    return std::unexpected(IdentityError{IdentityFault::kCannotSign, {}});
  }
  signatures.payload = base64_encode(signatures.payload);
  return signatures;
}

std::expected<VerifiedIdentity, IdentityError> verify_command(const WireMessage& wire, IdentityVerifier& verifier, IdentityBinding binding,
                                                              std::uint64_t now_s) {
  const SessionMessage& m = wire.message;
  const auto bad = [](const char* about) { return std::unexpected(IdentityError{IdentityFault::kBadSignature, about}); };
  auto identity = verifier.verify(m.identity, now_s);
  if (!identity) {
    return identity;
  }
  if (binding != IdentityBinding::kOff && m.source.id() != identity->id()) {
    return std::unexpected(IdentityError{IdentityFault::kBadSubject, "the source's id is not that of the token's subject"});
  }
  const std::string aad = header_aad(m);
  if (!verify_signature(identity->public_key, aad, wire.signatures.header)) {
    return bad("headers");
  }
  if (wire.signatures.payload.empty()) {
    if (binding == IdentityBinding::kEnforce) {
      return bad("the payload is not signed");
    }
    return identity;
  }
  const auto signature = base64_decode(wire.signatures.payload);
  if (!signature || !verify_signature(identity->public_key, payload_signature_input(aad, wire.content, m.metadata), *signature)) {
    return bad("payload");
  }
  return identity;
}

}  // namespace slipway
