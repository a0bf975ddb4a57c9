#pragma once
// From the settings of upstream's `servers` and `clients` to what their connections need: certificates and keys are
// read here. The error names the file and what to do. Control thread.

#include <expected>
#include <memory>
#include <string>

#include "link/edge_profile.h"
#include "node/settings.h"

namespace slipway {

std::expected<std::shared_ptr<const EdgeProfile>, std::string> make_edge_profile(const EdgeServerSettings& server, const NodeSettings& node);
std::expected<std::shared_ptr<const EdgeProfile>, std::string> make_edge_profile(const EdgeClientSettings& client, const NodeSettings& node);

// The profile for one connection that is made at this time: with a fresh token where `auth` makes or reads one.
std::expected<std::shared_ptr<const EdgeProfile>, std::string> with_credentials(const std::shared_ptr<const EdgeProfile>& profile, std::int64_t unix_s);

}  // namespace slipway
