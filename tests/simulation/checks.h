#pragma once
// What must hold whatever happened: written down while the run goes on, judged when it is over.
//
//  - each operation that was taken resolves exactly once;
//  - a reliable message is delivered at most once at each member in each of its lives, in the order of its sender, and unless its
//    sender was told that a member did not get it, that member did, if it stayed and did not crash;
//  - whoever was invited in vain, or removed, is no member; nobody is thrown out of a membership by what was said before it;
//  - what is forged does nothing; what is repeated is not carried out again;
//  - a copy of a command that was carried out gets the same answer and changes nothing; an answer of one member is taken for no
//    other's; a name that several members have is no name of one; nobody takes an old roster for news;
//  - whoever did not acknowledge a change of the group is held to be offline; whoever misses a commit asks to be let in again soon;
//    whoever comes back in an old epoch is told so; whoever is offline delivers nothing;
//  - no key is used twice, whoever crashed; whoever is held to be offline owes no acknowledgement;
//  - while the network is well nobody has to be brought back into step, no change of the group is said twice, and nobody who is there
//    is missed, but for those who went offline or asked for new keys;
//  - data opens only for members of the epoch that it was made in, and only from members; nothing sent before a member came
//    reaches it;
//  - after all has calmed down members agree on who is in and on the epoch, and see each other online;
//  - commits are numbered as the epochs that they make;
//  - buffers keep within their bounds; when all is closed no timer and no session is left.

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "session/session_layer.h"

namespace slipway::sim {

enum class OperationKind : std::uint8_t { kPublish, kDirected, kAnycast, kInvite, kRemove, kKeys, kStatus, kClose, kCreate };

class Checks {
 public:
  // An operation is about to be asked for; the number is what the payload of a publish carries too.
  OperationId begin(OperationKind kind, const Name& app, TimeMs now);
  // It was refused at once: nothing comes of it.
  void refused(OperationId operation) { operations_[operation - 1].over = true; }
  // A reliable publish: who should get it. Waits: it goes out when its sender is back in step, and to whoever is in then.
  void published(OperationId operation, std::uint32_t session_id, bool reliable, std::vector<Name> expected, bool waits = false);
  // Whom a change of the group is about, as far as that is known.
  void about(OperationId operation, const FullName& whom);
  void resolved(OperationId operation, const Resolve& resolve);
  // Since when it has been asked for, if it is a change of status.
  [[nodiscard]] std::optional<TimeMs> status_asked_at(OperationId operation) const;
  // At its end: the session at whoever asked for it.
  void judge_change(const Resolve& resolve, const Session& session);
  // `since`: when the receiver's session was made.
  void delivered(const Name& at, std::uint32_t life, const DeliverMessage& delivery, TimeMs since, bool reliable, bool mls);
  // The member's time in this session was interrupted or is over.
  void interrupted(std::uint32_t session_id, const Name& member, TimeMs now);
  // The receiver saw the source go: its next message may have any id.
  void stream_ends(const Name& at, SessionHandle session, const Name& source) { last_id_.erase({at, session, source}); }
  // The application is gone with all that it did not keep.
  void crashed(const Name& app, TimeMs now);
  void fail(std::string what);

  // But for messages that wait for somebody to send them to.
  [[nodiscard]] bool all_resolved() const;
  // Whoever stayed got what its sender was not told to be lost.
  void judge_losses();
  // After everything: losses, and operations that never ended.
  void judge();
  void judge_bounds(const SessionLayer& layer);
  [[nodiscard]] const std::string& failure() const { return failure_; }
  [[nodiscard]] bool failed() const { return !failure_.empty(); }

  std::uint64_t deliveries = 0;
  std::uint64_t losses = 0;

 private:
  struct Operation {
    OperationKind kind;
    Name app;
    TimeMs at;
    bool over = false;      // refused, or its application crashed
    int resolutions = 0;
    bool failed = false;
    bool reliable = false;
    bool waits = false;
    std::uint32_t session_id = 0;
    std::optional<Name> whom;
    std::optional<FullName> service;   // whom, where any instance may be meant
    std::vector<Name> expected;
    std::vector<Name> undelivered;
    std::vector<std::pair<Name, std::uint32_t>> got;  // by whom, in which of its lives
  };
  struct StreamKey {
    Name at;
    SessionHandle session;
    Name source;
    friend bool operator==(const StreamKey&, const StreamKey&) = default;
  };
  struct StreamHash {
    std::size_t operator()(const StreamKey& key) const {
      return NameHash{}(key.at) * 31 + NameHash{}(key.source) + static_cast<std::size_t>(key.session);
    }
  };
  struct Place {
    std::uint32_t session_id;
    Name member;
    friend bool operator==(const Place&, const Place&) = default;
  };
  struct PlaceHash {
    std::size_t operator()(const Place& place) const { return NameHash{}(place.member) ^ (std::size_t{place.session_id} << 9); }
  };

  std::vector<Operation> operations_;
  std::unordered_map<StreamKey, std::uint32_t, StreamHash> last_id_;
  std::unordered_map<Place, TimeMs, PlaceHash> interrupted_;
  std::unordered_map<Name, TimeMs, NameHash> crashed_;
  std::string failure_;
};

// The number that a payload carries, and a payload that carries it.
[[nodiscard]] SharedBytes payload_of(OperationId operation);
[[nodiscard]] OperationId number_in(const SharedBytes& payload);

}  // namespace slipway::sim
