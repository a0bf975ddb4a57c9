#pragma once
// Who is in the session, this member included. A member keeps its slot while it is in; slots are reused.
//
// Members are told apart by their full name, instances of one service included (upstream's moderator knows one instance a
// service). Status is this member's own view, not agreed on.

#include <cstdint>
#include <optional>
#include <unordered_map>
#include <vector>

#include "session/member_set.h"
#include "session/session_message.h"

namespace slipway {

struct Member {
  FullName name;
  Direction direction;
  MemberStatus status = MemberStatus::kOnline;
  bool said_offline = false;   // went offline by its own word: only its own word brings it back
  bool missed_update = false;  // the moderator's view: it did not acknowledge a change of the group
  bool from_slipway = false;
  std::uint32_t misses = 0;    // heartbeats in a row
  std::uint64_t since_version = 0;  // of the roster when it came in; the moderator's
};

class Roster {
 public:
  // The slot; kNoSlot if the roster is full. A member that is there already is left as it is.
  MemberSlot add(const ParticipantInfo& participant);
  void remove(MemberSlot slot);

  [[nodiscard]] MemberSlot find(const Name& name) const;
  [[nodiscard]] bool is(MemberSlot slot, const Name& name) const {
    return slot < slots_.size() && slots_[slot] && slots_[slot]->name.hashed() == name;
  }
  [[nodiscard]] bool contains(const FullName& name) const { return find(name.hashed()) != kNoSlot; }
  // The only instance of the service, or the exact one if the name has an id. kNoSlot if none, or several: see count.
  [[nodiscard]] MemberSlot find_instance(const FullName& name) const;
  [[nodiscard]] std::size_t instances_of(const FullName& name) const;
  [[nodiscard]] Member& operator[](MemberSlot slot) { return *slots_[slot]; }
  [[nodiscard]] const Member& operator[](MemberSlot slot) const { return *slots_[slot]; }
  [[nodiscard]] std::size_t size() const { return by_name_.size(); }
  [[nodiscard]] bool full() const;

  // In the order of their slots, which is the order of coming while nobody leaves.
  [[nodiscard]] std::vector<ParticipantInfo> participants() const;
  template <class F>
  void for_each(F&& f) {
    for (MemberSlot slot = 0; slot < slots_.size(); ++slot) {
      if (slots_[slot]) {
        f(slot, *slots_[slot]);
      }
    }
  }
  template <class F>
  void for_each(F&& f) const {
    for (MemberSlot slot = 0; slot < slots_.size(); ++slot) {
      if (slots_[slot]) {
        f(slot, *slots_[slot]);
      }
    }
  }

 private:
  std::vector<std::optional<Member>> slots_;
  std::unordered_map<Name, MemberSlot, NameHash> by_name_;
};

}  // namespace slipway
