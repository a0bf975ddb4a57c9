#pragma once
// Who the node is as an application, by `slipway.channels.identity` of the configuration file. Control thread.

#include <expected>
#include <optional>
#include <string>

#include "identity/identity.h"
#include "node/channel_settings.h"

namespace slipway {

struct ChannelIdentityOptions {
  TextName name;                        // of the application
  std::optional<std::string> subject;   // shared secret: the whole id instead of one that is made
  std::optional<SigningKey> key;        // default: a fresh one
};

// Reads the files of the section. The error names the file or the key at fault.
std::expected<Identity, std::string> channel_identity(const ChannelSettings& settings, ChannelIdentityOptions options);

}  // namespace slipway
