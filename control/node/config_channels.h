#pragma once
// The section `slipway.channels`. Control thread.

#include "node/settings.h"
#include "node/yaml_section.h"

namespace slipway {

void read_channels(YamlSection& slipway, ChannelSettings& out);

}  // namespace slipway
