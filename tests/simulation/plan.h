#pragma once
// What happens in a run, drawn from its seed before it starts: how many applications, how bad the network, which faults when,
// how much is asked for.

#include <cstdint>
#include <vector>

#include "session/session_message.h"
#include "sim_random.h"

namespace slipway::sim {

enum class FaultKind : std::uint8_t {
  kPartition,      // some applications hear only each other
  kNodeCrash,      // nothing arrives, what was under way is lost, subscriptions are forgotten
  kAppCrash,       // without state: comes back as another instance
  kAppRestart,     // with what it kept: comes back as itself; amount is odd: the last write got lost
  kCutOff,         // one application hears nothing and is not heard
  kSlow,           // one application takes everything late
  kClockForward,   // one application's clock jumps
  kClockBack,
  kAckLoss,        // one application's acknowledgements get lost
  kKindLate,       // messages of one type to one application come late; amount says which, and by how much
  kAppForgets,     // without state, and comes back under its name: whoever moderates it takes it out and invites it again
};
inline constexpr std::uint64_t kFaultKinds = 9;  // of those above that any plan may have
struct Fault {
  FaultKind kind;
  TimeMs from;
  TimeMs until;
  std::uint32_t app;
  std::uint64_t amount;  // milliseconds, or a set of applications
};

struct Plan {
  std::uint32_t apps = 3;
  std::uint32_t services = 3;       // applications share services in turn
  bool mls = true;
  bool reliable = true;
  TimerSettings timers{200, 4};
  double loss = 0;
  double duplication = 0;
  bool reorders = false;
  TimeMs delay_min = 1;
  TimeMs delay_max = 5;
  TimeMs late_max = 0;              // a copy may come this much later
  TimeMs busy_ms = 10'000;          // operations and faults happen in this time
  std::uint32_t operations = 10;
  double refusals = 0;              // of the commits that a group is asked for
  bool meddles = false;             // somebody repeats what was sent long ago, or forges sources
  std::uint32_t bursts = 0;         // of more messages than a sender keeps
  bool silent = false;              // the first application takes no part in data, as a node that hosts channels
  std::vector<Fault> faults;
};

[[nodiscard]] Plan draw_plan(Random& random);
// What few plans have, drawn apart: the other plans stay as they are.
void draw_extras(Plan& plan, Random& random);

// Of a kKindLate fault.
[[nodiscard]] MessageType late_kind(const Fault& fault);
[[nodiscard]] TimeMs late_by(const Fault& fault);

}  // namespace slipway::sim
