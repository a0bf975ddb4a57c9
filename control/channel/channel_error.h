#pragma once
// Why a call on the node's channels was refused, or how it ended badly. One list makes the enum and the texts; a text says
// what to do.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "session/session_error.h"

namespace slipway {

// X(name, stable name, what a person reads)
#define SLIPWAY_CHANNEL_FAULTS(X)                                                                                         \
  X(kOff, "off", "this node hosts no channels: give it `slipway.channels` in its configuration")                          \
  X(kBadName, "bad_name", "write organization/namespace/name, without an id")                                             \
  X(kExists, "exists", "there is such a channel already: delete it first, or take another name")                          \
  X(kUnknown, "unknown", "there is no such channel: `slipwayctl channel list` shows what there is")                       \
  X(kFileManaged, "file_managed", "the channels are listed in the configuration file: change the file and restart")       \
  X(kTooMany, "too_many", "the node hosts as many channels as it may: delete some, or raise `slipway.channels.limit`")    \
  X(kClosing, "closing", "it is being deleted: try again when it is gone")                                                \
  X(kSession, "session", "the session refused")                                                                           \
  X(kStore, "store", "the channel store cannot be written: see the node's log")                                           \
  X(kStopping, "stopping", "the node is stopping")

enum class ChannelFault : std::uint8_t {
#define X(name, stable, text) name,
  SLIPWAY_CHANNEL_FAULTS(X)
#undef X
};

[[nodiscard]] std::string_view channel_fault_name(ChannelFault fault);    // stable, for programs
[[nodiscard]] std::string_view channel_fault_remedy(ChannelFault fault);  // for people

struct ChannelError {
  ChannelFault fault = ChannelFault::kUnknown;
  std::string about;                                  // what was being done, to what, and why not
  std::optional<SessionFault> session = std::nullopt;  // with kSession: which

  [[nodiscard]] std::string message() const;  // about, and what to do
};

}  // namespace slipway
