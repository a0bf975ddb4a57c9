#pragma once
// Is this a semantic version (semver.org 2.0)? Upstream asks nothing more of a peer's version. Pure function.

#include <string_view>

namespace slipway {

[[nodiscard]] bool is_semantic_version(std::string_view text);

}  // namespace slipway
