#include "channel/channel_error.h"

#include <array>
#include <cstddef>

namespace slipway {
namespace {

struct Text {
  std::string_view name;
  std::string_view remedy;
};
constexpr auto kTexts = std::to_array<Text>({
#define X(name, stable, text) {stable, text},
    SLIPWAY_CHANNEL_FAULTS(X)
#undef X
});

}  // namespace

std::string_view channel_fault_name(ChannelFault fault) { return kTexts[static_cast<std::size_t>(fault)].name; }
std::string_view channel_fault_remedy(ChannelFault fault) { return kTexts[static_cast<std::size_t>(fault)].remedy; }

std::string ChannelError::message() const {
  // What sessions say has its remedy in it.
  const std::string_view remedy = fault == ChannelFault::kSession ? std::string_view() : channel_fault_remedy(fault);
  if (about.empty() || remedy.empty()) {
    return about + std::string(remedy);
  }
  return about + ": " + std::string(remedy);
}

}  // namespace slipway
