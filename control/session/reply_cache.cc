#include "session/reply_cache.h"

#include <algorithm>

#include "session/session_bounds.h"

namespace slipway {

bool ReplyCache::has_seen(const SessionMessage& command) const {
  const auto at = senders_.find(command.source.hashed());
  return at != senders_.end() && std::ranges::find(at->second.ids, key_of(command)) != at->second.ids.end();
}

ReplyCache::Sender& ReplyCache::sender_of(const Name& name) {
  const auto [at, added] = senders_.try_emplace(name);
  if (added) {
    order_.push_back(name);
    if (order_.size() > kMaxReplaySenders) {
      senders_.erase(order_.front());
      order_.pop_front();
    }
  }
  return at->second;
}

ReplyCache::Seen ReplyCache::note(const SessionMessage& command) {
  if (has_seen(command)) {
    return Seen::kBefore;
  }
  auto& ids = sender_of(command.source.hashed()).ids;
  ids.push_back(key_of(command));
  if (ids.size() > kReplayIdsKept) {
    ids.pop_front();
  }
  return Seen::kNew;
}

void ReplyCache::keep(const SessionMessage& command, const SessionMessage& reply) {
  auto& replies = sender_of(command.source.hashed()).replies;
  const Key key = key_of(command);
  std::erase_if(replies, [key](const auto& kept) { return kept.first == key; });
  replies.emplace_back(key, reply);
  if (replies.size() > kRepliesKept) {
    replies.pop_front();
  }
}

const SessionMessage* ReplyCache::reply_to(const SessionMessage& command) const {
  const auto sender = senders_.find(command.source.hashed());
  if (sender == senders_.end()) {
    return nullptr;
  }
  const auto& replies = sender->second.replies;
  const auto at = std::ranges::find(replies, key_of(command), [](const auto& kept) { return kept.first; });
  return at == replies.end() ? nullptr : &at->second;
}

}  // namespace slipway
