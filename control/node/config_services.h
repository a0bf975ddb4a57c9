#pragma once
// Upstream's `services` section: where its applications and nodes connect, and where this node connects to theirs
// (upstream-control 10). Keys that upstream accepts and ignores are accepted and listed; what this node does not do is
// an error with its line. Control thread.

#include <expected>
#include <string>

#include "node/settings.h"
#include "node/yaml_section.h"

namespace slipway {

// Once the node's own id is known: which of `peers` this node connects to.
void settle_peers(NodeSettings& out);

// One entry of `clients`, as text in YAML or JSON. The error names the key.
[[nodiscard]] std::expected<EdgeClientSettings, std::string> read_edge_client(const std::string& text);

// One entry of `servers`, or of what else takes all its keys.
[[nodiscard]] EdgeServerSettings read_edge_server(YamlSection& entry);

void read_services(ConfigReader& reader, const YAML::Node& services, NodeSettings& out);

}  // namespace slipway
