#pragma once
// How a channel grows: one moderator in this process, its members in two others, all of them invited at once. What it costs is set
// against the public-key operations that MLS and the signatures of commands cannot do without. It goes on as long as somebody comes in.

#include <array>
#include <cstdint>
#include <string>

namespace slipway::bench {

struct Growth {
  double seconds = 0;              // from the first invitation to the last answer
  std::array<double, 4> quarters{};  // seconds until each quarter of them was in
  double longest_wait = 0;         // seconds in which nobody came in
  std::uint64_t commits = 0;
  std::uint64_t bytes = 0;         // that applications gave to their connections and took from them
  std::uint64_t messages = 0;
  double moderator_ms = 0;         // CPU
  double longest_turn_ms = 0;      // CPU of one turn of the moderator's loop: whatever else it serves waits for so long
  double members_ms = 0;           // CPU of all of them together
  double moderator_floor_ms = 0;
  double members_floor_ms = 0;
};
Growth grow_channel(const std::string& address, std::uint32_t members);

// Public-key operations of setting up one unicast session with MLS, both sides, in nanoseconds.
double set_up_floor_ns(double commands);

}  // namespace slipway::bench
