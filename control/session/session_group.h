#pragma once
// What a session asks of its MLS group. mls/ plugs in here, and a deterministic fake in tests; a session without MLS has
// none. One object serves one session on one member, created before the group exists.
//
// Calls never block and never throw. An error leaves the group as it was and its text goes to people. The group binds
// members to their names: the identity in a leaf must hash to the id of the name it is used with.

#include <cstdint>
#include <expected>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "session/session_message.h"

namespace slipway {

struct GroupCommit {
  SharedBytes commit;   // to the members of the epoch before
  SharedBytes welcome;  // to those who come in; null if nobody does
};
// What a member's commit did to the member that processed it.
enum class CommitEffect : std::uint8_t { kNewEpoch, kRemovedSelf };

struct JoiningMember {
  FullName name;
  SharedBytes key_package;
  bool returns = false;  // its leaf of before is still there: the same commit takes it out
};

class SessionGroup {
 public:
  virtual ~SessionGroup() = default;

  // --- the moderator, which alone commits. Each commit is applied at once. ---------------------------------
  virtual std::expected<void, std::string> create() = 0;
  // All of them with one commit, or none.
  virtual std::expected<GroupCommit, std::string> add(std::span<const JoiningMember> members) = 0;
  // Null commit: it has no leaf, so that nothing is to be done.
  virtual std::expected<GroupCommit, std::string> remove(const FullName& member) = 0;
  // One commit takes the member's old leaf out and the new one in.
  virtual std::expected<GroupCommit, std::string> replace(const JoiningMember& member) = 0;
  // New keys, and a new token, for the own leaf.
  virtual std::expected<GroupCommit, std::string> refresh() = 0;

  // --- a participant ------------------------------------------------------------------------------------------
  // A fresh one each time; join takes a welcome for any of those given out and not used.
  virtual std::expected<SharedBytes, std::string> key_package() = 0;
  // Refused if a leaf belongs to none of `members`: all who are in, as the moderator says.
  virtual std::expected<void, std::string> join(const Bytes& welcome, std::span<const FullName> members) = 0;
  // Refused if it lets in a leaf that belongs to none of `named`: who is in or comes in, as the update says that it came with.
  virtual std::expected<CommitEffect, std::string> process(const Bytes& commit, std::span<const FullName> named) = 0;

  // --- both ---------------------------------------------------------------------------------------------------
  [[nodiscard]] virtual std::uint64_t epoch() const = 0;  // 0 before create or join
  // All that another object needs to go on in this group; secret, wiped when let go. Null before create or join.
  [[nodiscard]] virtual SharedBytes save() = 0;
  // Instead of create or join. What was sent since is not in there: `refresh` before anything is encrypted, or keys are used
  // twice.
  virtual std::expected<void, std::string> restore(const Bytes& saved) = 0;
  // Encrypts the blob in place and sets `identity`; everything else in the headers is final and gets covered.
  virtual std::expected<void, std::string> protect(SessionMessage& message) = 0;
  // Decrypts the blob in place and checks headers and sender. Keys of the last epochs are kept, so that data crosses a
  // commit; each ciphertext opens once. Returns the epoch it was made in.
  virtual std::expected<std::uint64_t, std::string> unprotect(SessionMessage& message) = 0;
};

class SessionGroupFactory {
 public:
  virtual ~SessionGroupFactory() = default;
  virtual std::unique_ptr<SessionGroup> make() = 0;
};

// Where session ids and command ids come from: all values equally likely. Seeded in tests.
class RandomSource {
 public:
  virtual ~RandomSource() = default;
  virtual std::uint32_t next() = 0;
};

}  // namespace slipway
