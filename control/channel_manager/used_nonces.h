#pragma once
// Which signed requests and grants were used: each is good once a channel, until it ends (upstream-control 7.1). Not forgotten
// with the channel: one that is made again under its name still refuses what was used before. Bounded by kUsedNonces: what
// cannot be remembered must be refused. No clock: Unix seconds come in. Control thread.

#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace slipway {

struct UsedNonce {
  std::string channel;
  std::string nonce;
  std::uint64_t not_after_s = 0;
};

class UsedNonces {
 public:
  [[nodiscard]] bool used(const std::string& channel, const std::string& nonce) const { return until_.contains({channel, nonce}); }
  [[nodiscard]] bool full() const;
  void add(UsedNonce nonce);
  void remove(const UsedNonce& nonce);
  // Takes out those whose statement has ended: it is refused as too old from then on.
  std::vector<UsedNonce> forget_ended(std::uint64_t now_s);
  [[nodiscard]] std::size_t size() const { return until_.size(); }

 private:
  using Key = std::pair<std::string, std::string>;
  std::map<Key, std::uint64_t> until_;
  std::set<std::pair<std::uint64_t, Key>> by_end_;
};

}  // namespace slipway
