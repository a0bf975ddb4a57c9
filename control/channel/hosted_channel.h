#pragma once
// A channel that the node hosts, as the configuration file lists it. Plain values: any thread.

#include <vector>

#include "frame/name.h"

namespace slipway {

struct HostedChannel {
  TextName name;
  bool mls = true;
  std::vector<TextName> participants;
  friend bool operator==(const HostedChannel&, const HostedChannel&) = default;
};

}  // namespace slipway
