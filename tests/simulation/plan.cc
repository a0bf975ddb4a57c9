#include "plan.h"

#include <algorithm>
#include <iterator>

namespace slipway::sim {

namespace {

// Acknowledgements that come late are as good as lost: there are faults for that.
constexpr MessageType kLateKinds[] = {MessageType::kGroupWelcome, MessageType::kGroupWelcome, MessageType::kGroupUpdate,  MessageType::kLeaveRequest,
                                      MessageType::kJoinRequest,  MessageType::kJoinReply,    MessageType::kRejoinReply,  MessageType::kRejoinRequest,
                                      MessageType::kGroupClose,   MessageType::kHeartbeat,    MessageType::kUpdateParticipantState};

Fault draw_fault(const Plan& plan, Random& random) {
  Fault fault{};
  fault.kind = static_cast<FaultKind>(random.below(kFaultKinds));
  fault.from = random.below(plan.busy_ms);
  fault.app = static_cast<std::uint32_t>(random.below(plan.apps));
  const TimeMs longest = random.chance(0.3) ? plan.busy_ms * 4 : 3'000;
  fault.until = fault.from + 1 + random.below(longest);
  switch (fault.kind) {
    case FaultKind::kPartition: fault.amount = random.next64(); break;
    case FaultKind::kAppRestart: fault.amount = random.next64(); break;
    case FaultKind::kSlow: fault.amount = random.between(50, 4'000); break;
    case FaultKind::kClockForward: fault.amount = random.between(100, random.chance(0.3) ? 3'600'000 : 20'000); break;
    case FaultKind::kClockBack: fault.amount = random.between(100, 3'600'000); break;
    default: break;
  }
  return fault;
}

}  // namespace

MessageType late_kind(const Fault& fault) { return static_cast<MessageType>(fault.amount & 0xFF); }
TimeMs late_by(const Fault& fault) { return fault.amount >> 8; }

void draw_extras(Plan& plan, Random& random) {
  if (plan.reliable && random.chance(0.015)) {
    plan.bursts = static_cast<std::uint32_t>(random.between(1, 2));
  }
  if (random.chance(0.15)) {
    const TimeMs patience = TimeMs{plan.timers.timeout_ms} * (plan.timers.max_retries + 1);
    for (std::uint64_t i = 0, count = random.between(1, 3); i < count; ++i) {
      const MessageType kind = kLateKinds[random.below(std::size(kLateKinds))];
      const TimeMs from = random.chance(0.5) ? 0 : random.below(plan.busy_ms);
      const TimeMs by = random.between(patience / 2, patience * 3);
      plan.faults.push_back({FaultKind::kKindLate, from, from + random.between(patience / 2, patience * 2),
                             static_cast<std::uint32_t>(random.below(plan.apps)), by << 8 | static_cast<std::uint64_t>(kind)});
    }
  }
  plan.silent = plan.apps > 2 && random.chance(0.03);
  if (plan.silent || random.chance(0.08)) {
    const TimeMs from = random.below(plan.busy_ms);
    const auto app = static_cast<std::uint32_t>(plan.silent ? random.between(1, plan.apps - 1) : random.below(plan.apps));
    plan.faults.push_back({FaultKind::kAppForgets, from, from + 1 + random.below(random.chance(0.3) ? plan.busy_ms : 1'000), app, 0});
  }
}

Plan draw_plan(Random& random) {
  Plan plan;
  plan.apps = static_cast<std::uint32_t>(random.chance(0.5) ? random.between(2, 3) : random.between(2, 6));
  plan.services = random.chance(0.3) ? static_cast<std::uint32_t>(random.between(1, plan.apps)) : plan.apps;
  plan.mls = random.chance(0.65);
  plan.reliable = random.chance(0.85);
  plan.timers = {static_cast<std::uint32_t>(random.between(50, 1'000)), static_cast<std::uint32_t>(random.between(1, 10))};
  const std::uint64_t weather = random.below(4);  // calm, lossy, late, all of it
  if (weather == 1 || weather == 3) {
    plan.loss = random.chance(0.3) ? 0.4 : 0.1;
  }
  if (weather >= 2) {
    plan.duplication = 0.15;
    plan.reorders = true;
    plan.delay_max = random.between(20, 800);
    plan.late_max = random.between(0, 3'000);
  }
  plan.busy_ms = random.between(2'000, random.chance(0.2) ? 60'000 : 15'000);
  plan.operations = static_cast<std::uint32_t>(random.between(3, random.chance(0.2) ? 120 : 30));
  const std::uint64_t faults = random.chance(0.4) ? 0 : random.between(1, 5);
  for (std::uint64_t i = 0; i < faults; ++i) {
    plan.faults.push_back(draw_fault(plan, random));
  }
  if (random.chance(0.1)) {  // one clock runs fast for a while, so that its owner's patience ends before the others'
    const auto app = static_cast<std::uint32_t>(random.below(plan.apps));
    const TimeMs from = random.below(plan.busy_ms);
    const TimeMs gap = random.between(5, 100);
    for (std::uint64_t i = 0, jumps = random.between(5, 40); i < jumps; ++i) {
      plan.faults.push_back({FaultKind::kClockForward, from + i * gap, from + i * gap + 1, app, plan.timers.timeout_ms});
    }
  }
  if (random.chance(0.2)) {
    plan.refusals = 0.1;
  }
  // Without MLS nothing tells an old message of a member from a new one: no protocol could stand it.
  plan.meddles = plan.mls && random.chance(0.3);
  return plan;
}

}  // namespace slipway::sim
