#pragma once
// What a session is to be, a kind each. Which kind to choose: README.md.
//
// Reliability is the same for all kinds: with a timeout, what is published is acknowledged, and repeated every `timeout` up to
// `max_retries` times; without one it is best effort. `max_retries` alone changes nothing (`reliability_hint` says so).

#include <chrono>
#include <optional>
#include <string>
#include <variant>

#include "app/app_error.h"
#include "session/session_layer.h"

namespace slipway {

struct AnycastOptions {
  std::optional<std::chrono::milliseconds> timeout;
  std::optional<std::uint32_t> max_retries;  // default 5
  bool mls_enabled = false;                  // true is refused: there is no group to encrypt for
};
struct UnicastOptions {
  TextName peer;                             // without an id: any instance of the service, and then always that one
  std::optional<std::chrono::milliseconds> timeout;
  std::optional<std::uint32_t> max_retries;
  bool mls_enabled = true;
  Metadata metadata;                         // the other side sees it; not encrypted
};
struct MulticastOptions {
  TextName channel;                          // its id is made from this application's identity
  std::optional<std::chrono::milliseconds> timeout;
  std::optional<std::uint32_t> max_retries;
  bool mls_enabled = true;
  Metadata metadata;
};
using SessionOptions = std::variant<AnycastOptions, UnicastOptions, MulticastOptions>;

enum class SessionKind : std::uint8_t { kAnycast, kUnicast, kMulticast };
[[nodiscard]] std::string_view session_kind_text(SessionKind kind);
[[nodiscard]] SessionKind kind_of(const SessionOptions& options);

// What the session layer is told.
[[nodiscard]] SessionConfig config_of(const SessionOptions& options);
// Something in the options has no effect, in words; empty: all has.
[[nodiscard]] std::string reliability_hint(const SessionOptions& options);

}  // namespace slipway
