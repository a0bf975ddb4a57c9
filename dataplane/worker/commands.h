#pragma once
// What the control thread asks of a worker, applied between two bursts. Owning worker only.

#include "worker/worker_core.h"

namespace slipway {

// Applies up to kCommandsPerLoop commands and publishes their count. Returns how many.
std::uint32_t apply_commands(WorkerCore& w);

}  // namespace slipway
