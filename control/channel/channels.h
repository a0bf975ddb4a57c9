#pragma once
// Channels that the node hosts: groups whose moderator is the node itself, on behalf of an operator or of an application that
// is none of the members. Where there is MLS the node is a member and could read: every surface that shows a channel says so.
//
// Control thread. Calls never block. `done` runs once, in a later turn of the control thread, never inside the call; a call may
// be made from inside of a `done` or an event. Names have no id: a channel is its three parts, and which instance of a service
// is invited is found by discovery, unless the participant's name has an id.
//
// Calls on one channel are carried out in order. Calls to change channels that come from a configuration file
// (ChannelRow::from_file) or while the channels are file-managed are refused (kFileManaged).

#include <cstdint>
#include <expected>
#include <functional>
#include <string>
#include <vector>

#include "channel/channel_error.h"
#include "frame/name.h"

namespace slipway {

// Who asked: an operator at the control API, a caller of the channel-manager service, the configuration file. For logs and for
// whoever shows a channel; it grants nothing.
struct ChannelAsker {
  std::string who;
};

struct ChannelOptions {
  bool mls = true;
};

struct ChannelMemberRow {
  TextName name;            // with the instance's id
  bool online = true;
  bool moderator = false;   // this node
};

struct ChannelRow {
  TextName name;
  std::string state;            // open, closing
  bool mls = true;
  bool node_could_read = true;  // with MLS the node has the group's keys; without it there is nothing to keep anybody out
  std::uint64_t epoch = 0;      // of the MLS group; 0 without one, or before its first member
  std::uint32_t session_id = 0;
  std::string created_by;
  std::uint64_t created_s = 0;  // Unix seconds
  bool from_file = false;
  bool restored = false;        // went on from the store after a restart
  std::uint32_t waiting = 0;    // invites and removals that are not through
  std::uint32_t member_count = 0;  // the node included
  std::vector<ChannelMemberRow> members;  // the node included
};

enum class ChannelChange : std::uint8_t { kCreated, kRemoved, kMemberIn, kMemberOut, kMemberOnline, kMemberOffline };
struct ChannelEvent {
  ChannelChange change;
  TextName channel;
  TextName member;  // of kMember*
};

// How many invites and the like ended how, since the start.
struct ChannelCounters {
  std::uint64_t created = 0;
  std::uint64_t removed = 0;
  std::uint64_t invited = 0;
  std::uint64_t invites_failed = 0;
  std::uint64_t taken_out = 0;
  std::uint64_t removals_failed = 0;
  std::uint64_t refused = 0;   // calls
  std::uint64_t stored = 0;
  std::uint64_t store_failed = 0;
};

class Channels {
 public:
  using Done = std::move_only_function<void(std::expected<void, ChannelError>)>;

  virtual ~Channels() = default;

  // Nothing is sent before the first invite.
  virtual void create(const TextName& channel, const ChannelOptions& options, const ChannelAsker& asker, Done done) = 0;
  // Tells the members and waits for their answers, some seconds at most; done then, also if somebody did not answer.
  virtual void remove(const TextName& channel, const ChannelAsker& asker, Done done) = 0;
  // Ends when the participant is in and confirmed it, or cannot be reached: about ten seconds.
  virtual void invite(const TextName& channel, const TextName& participant, const ChannelAsker& asker, Done done) = 0;
  // Ends when the participant left. Without an id, if several instances are members: kSession with kAmbiguousName.
  virtual void remove_participant(const TextName& channel, const TextName& participant, const ChannelAsker& asker, Done done) = 0;

  [[nodiscard]] virtual std::vector<ChannelRow> list() const = 0;  // in the order of names, without members
  [[nodiscard]] virtual std::expected<ChannelRow, ChannelError> show(const TextName& channel) const = 0;

  // The channels come from a configuration file; every call to change one is refused.
  [[nodiscard]] virtual bool file_managed() const = 0;
  // What the node is called as an application: local name, with its id.
  [[nodiscard]] virtual TextName local_name() const = 0;
  [[nodiscard]] virtual const ChannelCounters& counters() const = 0;
  // One listener; called in later turns, in order. kRemoved comes for every channel that goes, whoever asked.
  virtual void on_event(std::function<void(const ChannelEvent&)> listener) = 0;
};

}  // namespace slipway
