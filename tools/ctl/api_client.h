#pragma once
// Asks the control API: one HTTP/1.1 request on a connection of its own, blocking, with a deadline.

#include <expected>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "context.h"

namespace slipway::ctl {

using Parameters = std::vector<std::pair<std::string, std::string>>;

// The control API's address when neither --api nor SLIPWAY_API says: the socket of this user's own node
// (/run/slipway for root, $XDG_RUNTIME_DIR/slipway or /tmp/slipway-UID otherwise), or else the system's.
std::string default_api_address();

// GET with parameters in the query, POST with them as a JSON object (numbers and true/false stay bare). Answer: the body.
std::expected<std::string, Failure> get(const Context& context, std::string_view path, const Parameters& parameters = {});
std::expected<std::string, Failure> post(const Context& context, std::string_view path, const Parameters& parameters = {});

// A streamed answer: each piece goes to on_bytes as it comes, until the end, a signal, or on_bytes returns false.
std::expected<void, Failure> stream(const Context& context, std::string_view path, const Parameters& parameters,
                                    const std::function<bool(std::string_view)>& on_bytes);

std::string percent_encoded(std::string_view text);

}  // namespace slipway::ctl
