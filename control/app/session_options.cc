#include "app/session_options.h"

#include <algorithm>
#include <limits>

#include "app/app_bounds.h"

namespace slipway {

std::string_view session_kind_text(SessionKind kind) {
  switch (kind) {
    case SessionKind::kAnycast: return "anycast";
    case SessionKind::kUnicast: return "unicast";
    case SessionKind::kMulticast: return "multicast";
  }
  return "unknown";
}

SessionKind kind_of(const SessionOptions& options) { return static_cast<SessionKind>(options.index()); }

SessionConfig config_of(const SessionOptions& options) {
  return std::visit(
      [](const auto& o) {
        SessionConfig config;
        if (o.timeout) {
          // Out of range is the session layer's to refuse, in words.
          const auto timeout = std::clamp<std::int64_t>(o.timeout->count(), 0, std::numeric_limits<std::uint32_t>::max());
          config.reliability = TimerSettings{static_cast<std::uint32_t>(timeout), o.max_retries.value_or(kDefaultRetries)};
        }
        if (o.mls_enabled) {
          config.mls = MlsSettings{};
        }
        if constexpr (requires { o.metadata; }) {
          config.metadata = o.metadata;
        }
        return config;
      },
      options);
}

std::string reliability_hint(const SessionOptions& options) {
  const bool alone = std::visit([](const auto& o) { return o.max_retries && !o.timeout; }, options);
  return alone ? "max_retries has no effect without a timeout: the session is best effort" : std::string();
}

}  // namespace slipway
