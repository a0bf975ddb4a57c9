#pragma once
// Which newcomers an update brings, where everybody in the session is one of ours: instead of all members it lists those alone, so that
// a session of a thousand does not say a million names while it grows. Upstream's members are told all members each time.

#include <string_view>

namespace slipway {

// Metadata of a moderator's update, decimal: so many are listed, all new, and the roster's version grew by as many. Whoever does not have
// the version before leaves its roster as it is, and is told all of it when its next heartbeat says so.
inline constexpr std::string_view kRosterAddedKey = "slipway-added";

}  // namespace slipway
