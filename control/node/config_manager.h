#pragma once
// Upstream's section `channel-manager`: the service by which its `slimctl` makes and changes the node's channels. Control thread.

#include "node/settings.h"
#include "node/yaml_section.h"

namespace slipway {

void read_channel_manager(YamlSection& top, ChannelManagerSettings& out);

}  // namespace slipway
