#pragma once
// When each of some keys is due; at most one time a key.

#include <map>
#include <optional>
#include <set>
#include <utility>

#include "session/session_message.h"

namespace slipway {

template <class Key>
class Deadlines {
 public:
  void set(const Key& key, TimeMs at) {
    clear(key);
    at_.emplace(key, at);
    order_.emplace(at, key);
  }
  void clear(const Key& key) {
    if (const auto found = at_.find(key); found != at_.end()) {
      order_.erase({found->second, key});
      at_.erase(found);
    }
  }
  // The first that is due; it is due no more.
  std::optional<Key> take_due(TimeMs now) {
    if (order_.empty() || order_.begin()->first > now) {
      return std::nullopt;
    }
    Key key = order_.begin()->second;
    clear(key);
    return key;
  }
  [[nodiscard]] std::optional<TimeMs> next() const { return order_.empty() ? std::nullopt : std::optional(order_.begin()->first); }

 private:
  std::map<Key, TimeMs> at_;
  std::set<std::pair<TimeMs, Key>> order_;
};

}  // namespace slipway
