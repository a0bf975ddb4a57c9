#pragma once
// What the channel manager remembers beside the channels themselves: who owns which, when it ends, and which signed statements
// were used. In memory, and through the node's sealed store where it has one, so that a channel that goes on after a restart has
// its owner, its end, and refuses what was used before. Names in the store are hashes: it seals values alone.
//
// Bounded (kManagerOwners, kUsedNonces). No clock: Unix seconds come in. Control thread; `done` runs in a later turn where there is
// a store, else at once.

#include <cstdint>
#include <expected>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "channel/sealed_store.h"
#include "channel_manager/used_nonces.h"

namespace slipway {

struct ChannelRecord {
  std::string channel;
  std::optional<std::string> owner;           // did:key
  std::optional<std::string> callback_name;   // where the owner can be asked
  std::optional<std::uint64_t> expires_at_s;
};

enum class UseFault : std::uint8_t { kUsedBefore, kNotRecorded };
struct UseError {
  UseFault fault = UseFault::kUsedBefore;
  std::string why;   // of kNotRecorded
};

class ManagerRecords {
 public:
  using Done = std::move_only_function<void(std::expected<void, std::string>)>;
  using Used = std::move_only_function<void(std::expected<void, UseError>)>;

  explicit ManagerRecords(SealedStore* store);  // nullptr: in memory alone; it outlives the records

  // What the store had. Records of channels that `exists` does not know are dropped: they would else fall to a channel that is
  // made under the name later. The error: a record cannot be read.
  std::expected<void, std::string> load(const std::function<bool(const std::string&)>& exists, std::uint64_t now_s);

  [[nodiscard]] const ChannelRecord* find(const std::string& channel) const;
  [[nodiscard]] bool full() const;
  void put(ChannelRecord record, Done done);
  void erase(const std::string& channel);
  [[nodiscard]] std::vector<std::string> expired(std::uint64_t now_s) const;

  // Counts as used at once, so that of two that come together one is refused; and no longer if that cannot be recorded.
  void use(UsedNonce nonce, std::uint64_t now_s, Used done);
  [[nodiscard]] std::size_t used() const { return nonces_.size(); }

 private:
  SealedStore* store_;
  std::map<std::string, ChannelRecord> channels_;
  UsedNonces nonces_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace slipway
