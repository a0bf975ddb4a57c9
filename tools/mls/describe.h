#pragma once
// MLS structs as JSON, and that JSON as text. Byte strings are hex; a basic credential's identity is text if it can be.
// Of a snapshot only what is public is told.

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "group/group.h"

namespace slipway::mls::tool {

using Json = nlohmann::ordered_json;

// What the bytes are: "auto" or one of kinds(). An error names what was tried.
Result<Json> describe(View bytes, std::string_view kind);
const std::vector<std::string_view>& kinds();

// What can be told of a live group; the client's answer to `state`, too.
Json describe_group(const Group& group);
Json describe_credential(CredentialType type, View content);
Json describe_proposal(const Proposal& proposal);

// Indented lines `name: value`.
std::string to_text(const Json& json);

}  // namespace slipway::mls::tool
