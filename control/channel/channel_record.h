#pragma once
// What is kept of a channel over a restart, as values of the sealed store: what it is, its session, its group. The session's
// parts are made by control/session; here they are put together and taken apart. Pure; any thread.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "frame/name.h"
#include "session/session_actions.h"

namespace slipway {

inline constexpr std::string_view kAboutPrefix = "channel/about/";      // and the channel's name behind it
inline constexpr std::string_view kSessionPrefix = "channel/session/";
inline constexpr std::string_view kGroupPrefix = "channel/group/";

struct ChannelAbout {
  bool mls = true;
  bool from_file = false;
  std::uint64_t created_s = 0;
  std::string created_by;
  friend bool operator==(const ChannelAbout&, const ChannelAbout&) = default;
};

[[nodiscard]] std::string encode_about(const ChannelAbout& about);
[[nodiscard]] std::optional<ChannelAbout> decode_about(std::string_view value);

// The session's key, record and progress. The group is a value of its own, since it is large and changes seldom.
struct ChannelSession {
  std::uint64_t key = 0;
  StoredSession parts;   // without the group
};
[[nodiscard]] std::string encode_session(std::uint64_t key, const StoredSession& parts);
[[nodiscard]] std::optional<ChannelSession> decode_session(std::string_view value);

[[nodiscard]] SharedBytes shared_copy(std::string_view bytes);
[[nodiscard]] std::string_view view_of(const SharedBytes& bytes);

}  // namespace slipway
