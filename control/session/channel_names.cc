#include "session/channel_names.h"

#include <string>

#include <xxhash.h>

namespace slipway {

namespace {

constexpr unsigned kSalts = 11;

NameId channel_id(const std::string& text, unsigned salt) {
  const XXH128_hash_t hash = XXH3_128bits_withSeed(text.data(), text.size(), salt);
  NameId id{.high = hash.high64, .low = hash.low64};
  // Reserved: the topmost 51 values. Upstream: (x % (2^128 - 52)) + 1.
  constexpr std::uint64_t kAll = ~std::uint64_t{0};
  if (id.high == kAll && id.low >= kAll - 50) {
    id = {.high = 0, .low = id.low - (kAll - 51) + 1};
  }
  return id;
}

}  // namespace

ChannelNames channel_names(std::string_view identity, const TextName& channel) {
  const std::string stem =
      std::string(identity) + "/" + channel.component[0] + "/" + channel.component[1] + "/" + channel.component[2];
  const FullName name{TextName{channel.component, kNullId}};
  NameId data;
  NameId control;
  for (unsigned salt = 0; salt < kSalts; ++salt) {
    data = channel_id(stem + "/data", salt);
    control = channel_id(stem + "/control", salt);
    if (data != control) {
      break;
    }
  }
  return {name.with_id(data), name.with_id(control)};
}

}  // namespace slipway
