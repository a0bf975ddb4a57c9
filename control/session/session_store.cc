// What a session gives away to be kept over a restart, when, and how it begins again from it.
#include <algorithm>

#include "session/session.h"
#include "session/session_bounds.h"

namespace slipway {

// --- writing -----------------------------------------------------------------------------------------------------

namespace {
std::uint32_t ids_left(std::uint32_t stored, std::uint32_t last) { return (stored - last) & kMaxDataId; }
}  // namespace

// Ids that no write has allowed for may be behind us (after a restart, or as the moderator told us to go on): they are not used
// before another write. So what a lost write allowed for is never more than kStoredDataIds behind the write before.
SharedBytes Session::encoded_progress() {
  SessionProgress progress;
  if (ids_left(stored_sent_, sender_.last_id()) > kStoredDataIds) {
    stored_sent_ = sender_.last_id();
  }
  stored_delivered_ = receiver_.delivered();
  progress.sent = stored_sent_;
  roster_.for_each([&](MemberSlot slot, const Member& member) {
    if (const auto last = receiver_.last_id(slot)) {
      progress.heard.emplace_back(member.name.hashed(), *last);
    }
  });
  return encode(progress);
}

void Session::store(bool with_group) {
  if (store_key_ == 0) {
    return;
  }
  kept_ = true;
  changed_ = false;
  SessionRecord record{.type = facts_.type,
                       .session_id = facts_.id,
                       .local = facts_.local,
                       .direction = facts_.direction,
                       .reliability = facts_.reliability,
                       .mls = facts_.mls,
                       .metadata = facts_.metadata,
                       .moderator = moderator_,
                       .channel = channel_,
                       .control = control_,
                       .roster_version = roster_version_,
                       .subscribed = subscribed_};
  roster_.for_each([&](MemberSlot, const Member& member) {
    record.members.push_back({{member.name, member.direction, member.status}, member.from_slipway, true, member.since_version});
  });
  record.departed = receiver_.departed();
  describe(record);
  StoredSession parts{.record = encode(record), .progress = encoded_progress(), .group = nullptr};
  if (with_group && group_) {
    parts.group = group_->save();
  }
  out_.push(StoreSession{facts_.handle, store_key_, std::move(parts)});
}

void Session::store_progress() {
  if (kept_ && !closed()) {
    out_.push(StoreSession{facts_.handle, store_key_, {.record = nullptr, .progress = encoded_progress(), .group = nullptr}});
  }
}

void Session::store_what_changed() {
  if (!kept_) {
    return;
  }
  if (changed_) {
    store(false);
  } else if (receiver_.delivered() - stored_delivered_ >= kStoredDataIds) {
    store_progress();
  }
}

// Before a message takes an id that no write has allowed for.
void Session::use_data_id() {
  if (!kept_) {
    return;
  }
  if (ids_left(stored_sent_, sender_.last_id()) > kStoredDataIds) {
    store_progress();
  }
  if (stored_sent_ == sender_.last_id()) {
    stored_sent_ = (stored_sent_ + kStoredDataIds) & kMaxDataId;
    store_progress();
  }
}

// --- beginning again ---------------------------------------------------------------------------------------------

void Session::take_up(TimeMs now, const SessionRecord& record, const SessionProgress& progress) {
  kept_ = resuming_ = true;
  moderator_ = record.moderator;
  channel_ = record.channel;
  control_ = record.control;
  roster_version_ = record.roster_version;
  // As many once more: should the last write be lost, the one before allowed for no more than that.
  sender_.continue_after((progress.sent + kStoredDataIds) & kMaxDataId);
  for (const MemberRecord& member : record.members) {
    ParticipantInfo info = member.info;
    info.status = MemberStatus::kOnline;  // whoever is not shows it by its silence
    const MemberSlot slot = roster_.add(info);
    if (slot == kNoSlot) {
      continue;
    }
    roster_[slot].from_slipway = member.from_slipway;
    roster_[slot].since_version = member.since_version;
    if (is_self(info.name)) {
      continue;
    }
    if (info.settings.receives) {
      sender_.add_receiver(now, slot, info.name, true);
      sender_.set_online(now, slot, true);
    }
    const auto heard = std::ranges::find(progress.heard, info.name.hashed(), &std::pair<Name, std::uint32_t>::first);
    if (heard != progress.heard.end()) {
      receiver_.continue_after(slot, info.name, heard->second);
    }
  }
  receiver_.remember(record.departed);
  store_progress();  // that we are further on, before anything is sent
}

void Session::say_online(TimeMs now) {
  SessionMessage update = group_command(MessageType::kUpdateParticipantState, UpdateParticipantState{facts_.local, MemberStatus::kOnline, 0});
  commands_.send(now, CommandPurpose::kStatus, std::move(update), online_others());
}

void Session::resume(TimeMs now) {
  resuming_ = false;
  if (subscribed_ || !facts_.is_group()) {
    enter_group_traffic();
  }
  sender_.start(now, channel_);
  beat_soon(now);
}

}  // namespace slipway
