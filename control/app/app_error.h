#pragma once
// Why a call of the endpoint library failed: what was being done, to what, and what to try. One list makes enum and texts.

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "identity/identity_error.h"
#include "session/session_error.h"

namespace slipway {

// X(name, what a person reads)
#define SLIPWAY_APP_FAULTS(X)                                                                                        \
  X(kSession, "the session refused")                                                                                 \
  X(kIdentity, "the identity cannot be used")                                                                        \
  X(kAddress, "the address makes no sense")                                                                          \
  X(kBadName, "the name is not usable here")                                                                         \
  X(kNotConnected, "not connected to a node: connect first, and wait until it is up")                                \
  X(kRefused, "the node refused")                                                                                    \
  X(kBusy, "the connection takes bytes slower than they are made: wait, then try again")                             \
  X(kTooLarge, "larger than the connection takes: send less at once, or use a stream connection")                    \
  X(kTimeout, "it took too long")                                                                                    \
  X(kClosed, "the application is closed")                                                                            \
  X(kTooMany, "there are as many as there can be")

enum class AppFault : std::uint8_t {
#define X(name, text) name,
  SLIPWAY_APP_FAULTS(X)
#undef X
  kCount,
};

struct AppError {
  AppFault fault;
  std::string about;                                   // in words; may be empty
  std::optional<SessionFault> session = std::nullopt;  // with kSession: which

  AppError(AppFault why, std::string what) : fault(why), about(std::move(what)) {}
  AppError(const SessionError& error)  // NOLINT: it is one
      : fault(AppFault::kSession), about(error.message()), session(error.fault) {}
  AppError(const IdentityError& error) : fault(AppFault::kIdentity), about(error.message()) {}  // NOLINT: it is one

  [[nodiscard]] std::string message() const {
    constexpr std::array<std::string_view, static_cast<std::size_t>(AppFault::kCount)> kTexts{
#define X(name, text) text,
        SLIPWAY_APP_FAULTS(X)
#undef X
    };
    // What sessions and identities say is whole already.
    if (fault == AppFault::kSession || fault == AppFault::kIdentity) {
      return about;
    }
    const std::string_view text = kTexts[static_cast<std::size_t>(fault)];
    return about.empty() ? std::string(text) : about + ": " + std::string(text);
  }
};

}  // namespace slipway
