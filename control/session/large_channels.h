#pragma once
// Heartbeats of large channels. Everybody hears everybody's, each with two signatures: at upstream's ten seconds a member of a channel of a
// thousand verifies two hundred a second, and a million a round are made. Where all are ours the beats are as much further apart as the
// channel is larger, so that each member hears no more than some three a second; who is missed is found out as much later.
// The same for a newcomer's first. Upstream's members take part in no such channel: with the first of them all beat every ten seconds again.

#include <algorithm>
#include <string_view>

#include "session/roster.h"
#include "session/session_bounds.h"

namespace slipway {

// Metadata of a moderator's welcome, "TRUE": all who are listed are ours, though the newcomer has heard none of them.
inline constexpr std::string_view kAllOursKey = "slipway-ours";
inline constexpr std::size_t kMembersABeat = 32;  // so many, and those of 10 s are as many times as long

[[nodiscard]] inline bool all_ours(const Roster& roster, const FullName& self) {
  bool all = true;
  roster.for_each([&](MemberSlot, const Member& member) { all = all && (member.from_slipway || member.name == self); });
  return all;
}
[[nodiscard]] inline TimeMs heartbeat_ms(const Roster& roster, const FullName& self) {
  const std::size_t times = roster.size() / kMembersABeat;
  return kHeartbeatMs * (times > 1 && all_ours(roster, self) ? times : 1);
}

}  // namespace slipway
