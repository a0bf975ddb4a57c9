#include "session/roster.h"

#include "session/session_bounds.h"

namespace slipway {

bool Roster::full() const { return size() >= kMaxSessionMembers; }

MemberSlot Roster::find(const Name& name) const {
  const auto at = by_name_.find(name);
  return at == by_name_.end() ? kNoSlot : at->second;
}

MemberSlot Roster::add(const ParticipantInfo& participant) {
  if (const MemberSlot there = find(participant.name.hashed()); there != kNoSlot) {
    return there;
  }
  if (full()) {
    return kNoSlot;
  }
  MemberSlot slot = 0;
  while (slot < slots_.size() && slots_[slot]) {
    ++slot;
  }
  if (slot == slots_.size()) {
    slots_.emplace_back();
  }
  slots_[slot] = Member{.name = participant.name, .direction = participant.settings, .status = participant.status};
  by_name_.emplace(participant.name.hashed(), slot);
  return slot;
}

void Roster::remove(MemberSlot slot) {
  by_name_.erase(slots_[slot]->name.hashed());
  slots_[slot].reset();
}

std::size_t Roster::instances_of(const FullName& name) const {
  std::size_t count = 0;
  for_each([&](MemberSlot, const Member& member) { count += member.name.same_service(name); });
  return count;
}

MemberSlot Roster::find_instance(const FullName& name) const {
  if (!name.id().is_null()) {
    return find(name.hashed());
  }
  MemberSlot found = kNoSlot;
  std::size_t count = 0;
  for_each([&](MemberSlot slot, const Member& member) {
    if (member.name.same_service(name)) {
      found = slot;
      ++count;
    }
  });
  return count == 1 ? found : kNoSlot;
}

std::vector<ParticipantInfo> Roster::participants() const {
  std::vector<ParticipantInfo> all;
  all.reserve(size());
  for_each([&](MemberSlot, const Member& member) { all.push_back({member.name, member.direction, member.status}); });
  return all;
}

}  // namespace slipway
