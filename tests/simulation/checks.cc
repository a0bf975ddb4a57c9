#include "checks.h"

#include <algorithm>
#include <cstring>

#include "session/session_bounds.h"

namespace slipway::sim {

SharedBytes payload_of(OperationId operation) {
  Bytes bytes(sizeof operation);
  std::memcpy(bytes.data(), &operation, sizeof operation);
  return std::make_shared<const Bytes>(std::move(bytes));
}

OperationId number_in(const SharedBytes& payload) {
  OperationId operation = 0;
  if (payload && payload->size() == sizeof operation) {
    std::memcpy(&operation, payload->data(), sizeof operation);
  }
  return operation;
}

void Checks::fail(std::string what) {
  if (failure_.empty()) {
    failure_ = std::move(what);
  }
}

OperationId Checks::begin(OperationKind kind, const Name& app, TimeMs now) {
  operations_.push_back({.kind = kind, .app = app, .at = now});
  return operations_.size();
}

void Checks::published(OperationId operation, std::uint32_t session_id, bool reliable, std::vector<Name> expected, bool waits) {
  Operation& op = operations_[operation - 1];
  op.session_id = session_id;
  op.reliable = reliable;
  op.waits = waits;
  op.expected = std::move(expected);
}

void Checks::resolved(OperationId operation, const Resolve& resolve) {
  if (operation == 0 || operation > operations_.size()) {
    fail("an operation that was never begun was resolved");
    return;
  }
  Operation& op = operations_[operation - 1];
  if (++op.resolutions > 1 || op.over) {
    fail("operation " + std::to_string(operation) + " was resolved twice, or after it was refused");
  }
  op.failed = resolve.error.has_value();
  for (const Undelivered& lost : resolve.undelivered) {
    op.undelivered.push_back(lost.member.hashed());
    ++losses;
  }
}

std::optional<TimeMs> Checks::status_asked_at(OperationId operation) const {
  const bool status = operation != 0 && operation <= operations_.size() && operations_[operation - 1].kind == OperationKind::kStatus;
  return status ? std::optional(operations_[operation - 1].at) : std::nullopt;
}

void Checks::about(OperationId operation, const FullName& whom) {
  if (!whom.id().is_null()) {
    operations_[operation - 1].whom = whom.hashed();
  } else {
    operations_[operation - 1].service = whom;
  }
}

void Checks::judge_change(const Resolve& resolve, const Session& session) {
  if (resolve.operation == 0 || resolve.operation > operations_.size()) {
    return;
  }
  const Operation& op = operations_[resolve.operation - 1];
  if (op.kind == OperationKind::kRemove && op.service && !resolve.error && session.roster().instances_of(*op.service) != 0) {
    fail("one of several " + op.service->shown() + " was removed, and nobody said which");
  }
  if (!op.whom || session.roster().find(*op.whom) == kNoSlot) {
    return;
  }
  const bool in_vain = op.kind == OperationKind::kInvite && resolve.error && resolve.error->fault == SessionFault::kWelcomeUnanswered;
  if (in_vain || (op.kind == OperationKind::kRemove && !resolve.error)) {
    fail(hashed_text(*op.whom) + (in_vain ? " was invited in vain" : " was removed") + " and is a member");
  }
}

void Checks::delivered(const Name& at, std::uint32_t life, const DeliverMessage& delivery, TimeMs since, bool reliable, bool mls) {
  ++deliveries;
  const AppMessage& message = delivery.message;
  const OperationId number = number_in(message.payload);
  if (number == 0 || number > operations_.size()) {
    fail("a message was delivered that nobody published");
    return;
  }
  Operation& op = operations_[number - 1];
  const bool again = std::ranges::find(op.got, std::pair(at, life)) != op.got.end();
  if (again && (reliable || mls || (message.anycast && message.message_id != 0))) {
    fail("message " + std::to_string(number) + " was delivered twice at " + hashed_text(at));
  }
  op.got.emplace_back(at, life);
  // With nobody to send it to it waited; else it went out when it was published. Without MLS a copy that comes late is like any other.
  if (mls && op.at < since && !op.waits && !op.expected.empty() && std::ranges::find(op.expected, at) == op.expected.end()) {
    fail("message " + std::to_string(number) + " was sent before " + hashed_text(at) + " came");
  }
  if (reliable && !message.directed && !message.anycast) {
    std::uint32_t& last = last_id_[{at, delivery.session, message.source.hashed()}];
    if (last != 0 && message.message_id <= last) {
      fail("message " + std::to_string(number) + " was delivered out of order at " + hashed_text(at));
    }
    last = message.message_id;
  }
}

void Checks::interrupted(std::uint32_t session_id, const Name& member, TimeMs now) { interrupted_[{session_id, member}] = now; }

void Checks::crashed(const Name& app, TimeMs now) {
  crashed_[app] = now;
  std::erase_if(last_id_, [&](const auto& entry) { return entry.first.at == app; });
  for (Operation& op : operations_) {
    if (op.app == app && op.resolutions == 0) {
      op.over = true;
    }
  }
}

bool Checks::all_resolved() const {
  return std::ranges::all_of(operations_, [](const Operation& op) { return op.over || op.resolutions > 0 || (op.kind == OperationKind::kPublish && op.expected.empty()); });
}

void Checks::judge() {
  for (std::size_t i = 0; i < operations_.size(); ++i) {
    const Operation& op = operations_[i];
    if (!op.over && op.resolutions != 1) {
      fail("operation " + std::to_string(i + 1) + " of kind " + std::to_string(static_cast<int>(op.kind)) + " never ended");
    }
  }
  judge_losses();
}

void Checks::judge_losses() {
  for (std::size_t i = 0; i < operations_.size(); ++i) {
    const Operation& op = operations_[i];
    if (op.over || op.failed || !op.reliable || op.resolutions == 0) {
      continue;
    }
    if (op.kind == OperationKind::kAnycast && op.got.empty()) {
      fail("anycast message " + std::to_string(i + 1) + " was acknowledged and never delivered");
    }
    for (const Name& member : op.expected) {
      const bool got = std::ranges::any_of(op.got, [&](const auto& entry) { return entry.first == member; });
      const bool told = std::ranges::find(op.undelivered, member) != op.undelivered.end();
      const auto crash = crashed_.find(member);
      if (got || told || (crash != crashed_.end() && crash->second >= op.at)) {
        continue;
      }
      const auto left = interrupted_.find({op.session_id, member});
      if (left == interrupted_.end() || left->second < op.at) {
        fail("message " + std::to_string(i + 1) + " never reached " + hashed_text(member) + ", and its sender was not told");
      }
    }
  }
}

void Checks::judge_bounds(const SessionLayer& layer) {
  const Anycast& anycast = layer.anycast();
  bool within = layer.tombstones() <= kMaxTombstones && anycast.open() <= kMaxAnycastOpen && anycast.open_bytes() <= kMaxAnycastBytes &&
                anycast.sources() <= kAnycastSourcesKept && anycast.services() <= kMaxAnycastServices &&
                anycast.lines() <= kMaxAnycastLines + kMaxAnycastLinesIn;
  for (const SessionHandle handle : layer.sessions()) {
    const Session& session = *layer.find(handle);
    within = within && session.sender().kept_messages() <= kSendWindow + kMaxDirected && session.sender().kept_bytes() <= kMaxSendBytes &&
             session.receiver().waiting_most() <= kReorderWindow + kMaxProbes && session.receiver().waiting_bytes_most() <= kMaxReorderBytes &&
             session.open_commands() <= kMaxOpenCommands && session.roster().size() <= kMaxSessionMembers &&
             session.replies().senders() <= kMaxReplaySenders;
  }
  if (!within) {
    fail("a buffer outgrew its bound");
  }
  for (const SessionHandle handle : layer.sessions()) {
    const Session& session = *layer.find(handle);
    const auto* moderator = dynamic_cast<const Moderator*>(&session);
    if (moderator != nullptr && session.facts().mls && moderator->last_commit() != session.epoch()) {
      fail("commit " + std::to_string(moderator->last_commit()) + " made epoch " + std::to_string(session.epoch()));
    }
    session.roster().for_each([&](MemberSlot slot, const Member& member) {
      if (member.status == MemberStatus::kOffline && session.sender().owed_by(slot) != 0) {
        fail(member.name.shown() + " is held to be offline and to owe acknowledgements");
      }
    });
  }
}

}  // namespace slipway::sim
