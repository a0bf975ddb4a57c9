#pragma once
// Why bytes are no session message. One list makes the enum, the texts and the counters.

#include <array>
#include <cstdint>
#include <string_view>

namespace slipway {

// X(name, what a person reads)
#define SLIPWAY_WIRE_FAULTS(X)                                                          \
  X(kNotProtobuf, "not protobuf, or a known field of a foreign wire type")              \
  X(kNotPublish, "not a publish: subscriptions and links belong to the node's protocol") \
  X(kNoSession, "a publish without session header, of no session")                      \
  X(kBadType, "an unknown session or message type")                                     \
  X(kMissing, "a field that must be there is not")                                      \
  X(kRepeated, "a part that may be there once is there twice")                          \
  X(kOutOfRange, "a number or an enum is out of range")                                 \
  X(kNotUtf8, "a text is not UTF-8")                                                    \
  X(kTooLong, "a text, a list, the metadata or the payload is too long")                \
  X(kUnknownCommand, "a command that does not exist, or that nobody may send")

enum class WireFault : std::uint8_t {
#define X(name, text) name,
  SLIPWAY_WIRE_FAULTS(X)
#undef X
  kCount,
};

[[nodiscard]] constexpr std::string_view wire_fault_text(WireFault fault) {
  constexpr std::array<std::string_view, static_cast<std::size_t>(WireFault::kCount)> kTexts{
#define X(name, text) text,
      SLIPWAY_WIRE_FAULTS(X)
#undef X
  };
  return fault < WireFault::kCount ? kTexts[static_cast<std::size_t>(fault)] : "unknown";
}

}  // namespace slipway
