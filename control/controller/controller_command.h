#pragma once
// Carries out a ConfigurationCommand (upstream-control 4.3 and 4.4) and says how each part of it went. Control thread.

#include <vector>

#include "controller/controller_backend.h"

namespace slipway {

struct CommandOutcome {
  std::vector<ConnectionAck> connections;
  std::vector<RouteAck> routes;
};

// In upstream's order: disconnect, connect, set, remove. With `reconcile` the command is all there should be: links and routes of
// earlier commands that it does not name are taken away.
[[nodiscard]] CommandOutcome carry_out(const ConfigurationCommand& command, ControllerBackend& backend);

}  // namespace slipway
