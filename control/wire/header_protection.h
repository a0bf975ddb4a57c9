#pragma once
// The bytes that protect a message: what a command's signatures are made over, and what MLS data authenticates
// (upstream-session 5). Both sides build them from the values on the wire, so they are canonical: ascending fields, defaults
// left out, names whole. Pure functions: any thread.

#include <string>
#include <string_view>

#include "session/session_message.h"

namespace slipway {

// HeaderIntegrityAad of this copy of the message: identity and all headers must be final. Signed by `e2e_header_sig`; the
// authenticated data of MLS application messages, where it covers the payload type too.
[[nodiscard]] std::string header_aad(const SessionMessage& message);

// The payload's encoding (field `msg` of a publish) as everybody writes it.
[[nodiscard]] std::string encode_content(const Payload& payload);

// What `slim-payload-sig` is made over: the headers, the payload, and the metadata but for what belongs to a hop.
[[nodiscard]] std::string payload_signature_input(std::string_view aad, std::string_view content, const Metadata& metadata);

}  // namespace slipway
