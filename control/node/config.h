#pragma once
// The configuration file: YAML in, checked settings out. What is wrong is said with its line and, where there is a
// near match, with what was probably meant. Reads the file (and what ${file:PATH} names), otherwise pure.

#include <expected>
#include <string>
#include <string_view>

#include "node/settings.h"

namespace slipway {

// Error: one line, "SOURCE:LINE: what is wrong; what to write".
std::expected<NodeSettings, std::string> parse_config(std::string_view yaml, std::string_view source);
std::expected<NodeSettings, std::string> load_config(const std::string& path);

// The file as it is; empty when it cannot be read.
std::string read_text(const std::string& path);

// Without a file: one socket worker, native TCP and UDP on loopback, a native Unix socket beside the control API's.
std::string embedded_config();

// What would run, in a few lines for people (`slipwayd --check`).
std::string describe_settings(const NodeSettings& settings);

// CONFIG.md.
std::string config_reference();

// Where the control API's socket is for this user when the configuration names no place.
std::string default_api_path();
// The same for a further node of upstream's on one machine, whose file cannot name another.
std::string further_api_path(const std::string& node_id);

std::expected<IpEndpoint, std::string> parse_ip_port(std::string_view text);                  // 1.2.3.4:5, [::1]:5
std::expected<SocketAddress, std::string> parse_socket_address(std::string_view text);        // tcp://..., unix://...
std::expected<SocketAddress, std::string> parse_connect_address(std::string_view text);       // also tcp://NAME:PORT, udp://NAME:PORT

}  // namespace slipway
