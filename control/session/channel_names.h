#pragma once
// The two names of a group's channel: data and control. Invitees recompute them from the moderator's identity, so the recipe
// is upstream's (crates/session name_id.rs): XXH3-128 with a salt over "<identity>/<channel>/data" and "…/control".

#include <string_view>

#include "session/full_name.h"

namespace slipway {

struct ChannelNames {
  FullName data;
  FullName control;
};

// `identity` is what the moderator's own id is the hash of; the channel's id is ignored. Any thread.
ChannelNames channel_names(std::string_view identity, const TextName& channel);

}  // namespace slipway
