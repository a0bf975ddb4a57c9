#include "session/session_error.h"

namespace slipway {

std::string_view fault_text(SessionFault fault) {
  switch (fault) {
#define X(name, text) \
  case SessionFault::name: return text;
    SLIPWAY_SESSION_FAULTS(X)
#undef X
  }
  return "unknown fault";
}

std::string SessionError::message() const {
  if (about.empty()) {
    return std::string(fault_text(fault));
  }
  return about + ": " + std::string(fault_text(fault));
}

}  // namespace slipway
