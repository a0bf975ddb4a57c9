#pragma once
// One session on one member: what both roles share. Moderator and Participant add who may change the group and how.
//
// Events and the time go in, actions come out (session_actions.h); nothing here does I/O or reads a clock, and the time that comes in
// must not go back. A call that does not fit returns an error and sends nothing; one that is taken resolves exactly once.
//
// Inbound messages pass, in this order: kind and payload; authenticity (commands, where the session asks for it); seen
// before (the answer is repeated); sign of life; the filter of a member that is offline by its own wish; decryption; role.
//
// Loss never ends a session. It ends by close(), by its moderator, by removal, or, point to point, when the other side leaves.

#include <cstdint>
#include <expected>
#include <memory>
#include <optional>
#include <vector>

#include "session/command_sender.h"
#include "session/data_receiver.h"
#include "session/data_sender.h"
#include "session/reply_cache.h"
#include "session/roster.h"
#include "session/session_record.h"
#include "session/session_output.h"

namespace slipway {

// What a session needs from its owner; the references outlive it.
struct SessionParts {
  SessionFacts facts;
  Actions& actions;
  SessionRefusals& refusals;
  RandomSource& random;
  std::unique_ptr<SessionGroup> group;  // null iff MLS is off
  std::uint64_t store_key = 0;          // what it is kept under over a restart; 0: it is not kept
  bool verify_commands = true;          // refuse commands that are not authentic; always so with MLS
};

class Session {
 public:
  using Call = std::expected<void, SessionError>;

  virtual ~Session() = default;
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // --- the application -----------------------------------------------------------------------------------------
  std::expected<std::uint32_t, SessionError> publish(TimeMs now, Outgoing content, OperationId operation);
  // To one member, outside the order. Point to point it is a plain publish.
  std::expected<std::uint32_t, SessionError> publish_to(TimeMs now, const FullName& member, Outgoing content, OperationId operation);
  virtual Call invite(TimeMs now, const FullName& name, OperationId operation);
  virtual Call remove(TimeMs now, const FullName& name, OperationId operation);
  // New keys for the own leaf, so that what was stolen before is of no use after.
  virtual Call refresh_keys(TimeMs now, OperationId operation) = 0;
  // Waits for acknowledgements (at most kDrainMs), says good-bye, ends.
  Call close(TimeMs now, OperationId operation);
  // At once: what is not acknowledged ends undelivered. The good-bye is said all the same.
  void abandon(TimeMs now);
  // What publishing such a message would send, if that is all that it would do: best effort, no MLS, nothing that is to be kept, no
  // metadata, nobody who waits for the outcome. The message has its number then, and the caller sends it. Empty: publish decides.
  [[nodiscard]] std::optional<DataOut> number_data(std::size_t payload_bytes, std::size_t payload_type_bytes);
  // Soft close and return; groups only.
  Call go_offline(TimeMs now, OperationId operation);
  Call come_back(TimeMs now, OperationId operation);

  // --- events --------------------------------------------------------------------------------------------------
  void on_message(TimeMs now, SessionMessage message);
  // The slot of the source if all that on_message does with such a message is to hand it on; else kNoSlot.
  [[nodiscard]] MemberSlot data_slot(const SessionMessage& message) const;
  // Whether that is still so. The source has given a sign of life.
  bool hands_on(MemberSlot slot, const Name& source, bool from_slipway);
  void on_subscription(TimeMs now, const FullName& name, bool accepted);
  void on_network(TimeMs now, bool there) { sender_.on_network(now, there); }
  void advance(TimeMs now);
  [[nodiscard]] std::optional<TimeMs> next_deadline();

  // --- what there is to see --------------------------------------------------------------------------------------
  [[nodiscard]] bool closed() const { return phase_ == Phase::kClosed; }
  [[nodiscard]] bool offline() const { return offline_; }
  // Out of the group, and not told to leave yet.
  [[nodiscard]] bool removed() const { return stopped_ == SessionFault::kRemoved; }
  [[nodiscard]] const SessionFacts& facts() const { return facts_; }
  [[nodiscard]] const FullName& moderator() const { return moderator_; }
  // The channel, or the other side.
  [[nodiscard]] const FullName& channel() const { return channel_; }
  [[nodiscard]] std::vector<ParticipantInfo> participants() const { return roster_.participants(); }
  [[nodiscard]] const Roster& roster() const { return roster_; }
  // Goes up with each change of the group; 0 point to point.
  [[nodiscard]] std::uint64_t roster_version() const { return roster_version_; }
  [[nodiscard]] std::uint64_t epoch() const { return group_ ? group_->epoch() : kNoEpoch; }
  [[nodiscard]] const DataSender& sender() const { return sender_; }
  [[nodiscard]] const DataReceiver& receiver() const { return receiver_; }
  [[nodiscard]] std::size_t awaited(std::uint32_t command) const { return commands_.awaited(command); }
  [[nodiscard]] std::size_t open_commands() const { return commands_.open_count(); }
  // A command of this session that was answered: a closed session still repeats these.
  [[nodiscard]] const ReplyCache& replies() const { return replies_; }
  [[nodiscard]] ReplyCache take_replies() { return std::move(replies_); }
  [[nodiscard]] DataReceiver::Memory take_memory() { return receiver_.take_memory(); }
  [[nodiscard]] virtual bool is_moderator() const = 0;
  [[nodiscard]] virtual bool active() const = 0;  // set up: members may publish

 protected:
  enum class Phase : std::uint8_t { kOpen, kDraining, kLeaving, kClosed };

  Session(TimeMs now, SessionParts parts);

  // --- what a role adds ------------------------------------------------------------------------------------------
  virtual void on_role_command(TimeMs now, const SessionMessage& message, MemberSlot slot) = 0;
  virtual void on_result(TimeMs now, const CommandResult& result) = 0;
  virtual void on_role_subscription(TimeMs now, const FullName& name, bool accepted) = 0;
  virtual void on_time(TimeMs now) = 0;
  virtual void after_event(TimeMs) {}                    // whatever was waiting for this event to be over
  [[nodiscard]] virtual std::optional<TimeMs> role_deadline() const = 0;
  virtual void begin_leaving(TimeMs now) = 0;            // the farewell; ends in finish()
  virtual void on_stranger(TimeMs now, const SessionMessage& message) = 0;  // a heartbeat or a return from no member
  virtual void on_member_heartbeat(TimeMs now, MemberSlot slot, const Heartbeat& heartbeat, std::uint64_t version) = 0;
  virtual void on_nack(TimeMs now, const SessionMessage& message) = 0;
  virtual void on_behind(TimeMs now) = 0;                // somebody is in a later epoch
  [[nodiscard]] virtual bool awaits_roster() const { return false; }  // though offline: it comes with a group update
  virtual void on_end() = 0;                             // resolve what waits: the session ends
  [[nodiscard]] virtual bool busy() const = 0;           // a change of status must wait
  virtual void describe(SessionRecord& record) const = 0;  // what the role must not forget

  // --- what roles use --------------------------------------------------------------------------------------------
  [[nodiscard]] bool is_self(const FullName& name) const { return name == facts_.local; }
  // True once for each command; later copies get the answer again.
  bool first_time(const SessionMessage& message);
  void reply(const SessionMessage& request, MessageType type, Payload payload);
  void reply(const SessionMessage& request, SessionMessage answer);
  // A command that is signed on its way out. The id is fresh.
  [[nodiscard]] SessionMessage command(MessageType type, const FullName& to, Payload payload);
  [[nodiscard]] SessionMessage group_command(MessageType type, Payload payload);
  void stamp_version(SessionMessage& message) const;
  [[nodiscard]] static std::uint64_t version_of(const SessionMessage& message);  // 0: none
  [[nodiscard]] static std::uint64_t number_in(const SessionMessage& message, std::string_view key);
  MemberSlot add_member(TimeMs now, const ParticipantInfo& info, bool fresh);
  void drop_member(MemberSlot slot, PresenceChange change);
  // The roster becomes this list; `without` is not in it.
  void apply_roster(TimeMs now, const std::vector<ParticipantInfo>& participants, const FullName& without, bool fresh);
  void set_status(TimeMs now, MemberSlot slot, MemberStatus status, bool by_own_word);
  [[nodiscard]] std::vector<FullName> online_others(const FullName& but = {}) const;
  void enter_group_traffic() { taking_data_ = true; }
  void status_changed(TimeMs now);           // the own change of status is through
  [[nodiscard]] OperationId take_status_operation() { return std::exchange(status_operation_, kNoOperation); }
  [[nodiscard]] bool status_changing() const { return status_change_.has_value(); }
  void abandon_status_change() { status_change_.reset(); }
  void finish(CloseReason reason);
  // --- over a restart
  // From now on it is kept. The group too: its keys change with the commit that is about to go out.
  void store(bool with_group);
  // Something that is kept has changed: written when the event is over.
  void note_change() { changed_ = true; }
  void keep_for_later() { kept_ = false; }  // the end of this session is not the end of what is kept
  // Restored: nothing is sent or taken until `resume`.
  void take_up(TimeMs now, const SessionRecord& record, const SessionProgress& progress);
  void resume(TimeMs now);
  void say_online(TimeMs now);  // without waiting for the answers
  [[nodiscard]] bool resuming() const { return resuming_; }
  // The next heartbeat no later than members, as they are now, expect it: some of them may be upstream's, or fewer.
  void beat_in_time(TimeMs now);
  // We have just come in, which the moderator has told everybody: the first heartbeat has the time that later ones have.
  void begin_beats(TimeMs now);
  void beat_soon(TimeMs now) {  // a heartbeat, so that others know that we are here
    force_heartbeat_ = true;
    next_tick_ = now;
  }
  // No more publishing: what is open ends.
  void stop_sending(SessionFault fault);

  SessionFacts facts_;
  SessionOutput out_;
  std::unique_ptr<SessionGroup> group_;
  Roster roster_;
  DataSender sender_;
  DataReceiver receiver_;
  CommandSender commands_;
  ReplyCache replies_;
  FullName moderator_;
  FullName channel_;                         // data: the channel, or the other side
  FullName control_;                         // commands to all: the control channel, or the other side
  std::uint64_t roster_version_ = 0;
  bool subscribed_ = false;                  // to channel and control
  bool offline_ = false;                     // by own wish
  std::optional<SessionFault> stopped_;      // why nothing may be published
  Phase phase_ = Phase::kOpen;
  OperationId close_operation_ = kNoOperation;

 private:
  // A member that hears and is heard, unless it is offline.
  [[nodiscard]] bool in_traffic() const { return taking_data_ && phase_ < Phase::kLeaving && stopped_ != SessionFault::kRemoved; }
  [[nodiscard]] bool is_for_us(const FullName& destination) const;
  void on_command_message(TimeMs now, const SessionMessage& message);
  void on_data_message(TimeMs now, SessionMessage message);
  void take_data(TimeMs now, MemberSlot slot, SessionMessage message);
  void on_heartbeat(TimeMs now, const SessionMessage& message, MemberSlot slot);
  void on_state_update(TimeMs now, const SessionMessage& message, MemberSlot slot);
  void on_group_answer(TimeMs now, const SessionMessage& message, MemberSlot slot);
  [[nodiscard]] bool passes_while_offline(MessageType type) const;
  [[nodiscard]] std::optional<SessionFault> not_now() const;  // why nothing may be published
  Call check_outgoing(const Outgoing& content, const char* doing) const;
  Call change_status(TimeMs now, MemberStatus status, OperationId operation);
  void send_status(TimeMs now);
  void tick(TimeMs now);
  void settle(TimeMs now);
  bool drain(TimeMs now);                    // true: what waited for open messages has gone on
  void put_unreachable_offline(TimeMs now);
  void use_data_id();
  void store_progress();
  void store_what_changed();
  [[nodiscard]] SharedBytes encoded_progress();

  bool verify_commands_;
  std::uint64_t store_key_;
  bool kept_ = false;                        // something is stored under the key
  bool changed_ = false;
  bool resuming_ = false;
  std::uint32_t stored_sent_ = 0;            // data ids up to here may be used before the next write
  std::uint64_t stored_delivered_ = 0;
  bool taking_data_ = false;
  bool force_heartbeat_ = false;
  TimeMs next_tick_;
  TimeMs drain_until_ = 0;
  std::optional<MemberStatus> status_change_;  // own, under way
  bool status_sent_ = false;
  OperationId status_operation_ = kNoOperation;
};

}  // namespace slipway
