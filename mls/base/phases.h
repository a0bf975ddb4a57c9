// A long operation is a sequence of phases, each of which goes on where its budget ended. Internal.
#pragma once

#include "base/budget.h"
#include "base/error.h"

namespace slipway::mls {

// Runs an operation from `phase` on. The phases are an enum that ends in kDone; `do_phase(budget)` does some of the
// current one and says whether it is over. True when all are; false when the budget ended before. `position`, where
// there is one, counts from 0 in each phase.
template <class Phase, class DoPhase>
Result<bool> run_phases(Phase& phase, Budget& budget, DoPhase&& do_phase, size_t* position = nullptr) {
  while (phase != Phase::kDone) {
    if (budget.used_up()) {
      return false;
    }
    MLS_ASSIGN(const bool done, do_phase(budget));
    if (!done) {
      return false;
    }
    phase = static_cast<Phase>(static_cast<uint8_t>(phase) + 1);
    if (position != nullptr) {
      *position = 0;
    }
  }
  return true;
}

}  // namespace slipway::mls
