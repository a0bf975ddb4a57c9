#include "channel_manager/used_nonces.h"

#include "channel_manager/channel_manager_bounds.h"

namespace slipway {

bool UsedNonces::full() const { return until_.size() >= kUsedNonces; }

void UsedNonces::add(UsedNonce nonce) {
  Key key{std::move(nonce.channel), std::move(nonce.nonce)};
  if (until_.try_emplace(key, nonce.not_after_s).second) {
    by_end_.emplace(nonce.not_after_s, std::move(key));
  }
}

void UsedNonces::remove(const UsedNonce& nonce) {
  Key key{nonce.channel, nonce.nonce};
  until_.erase(key);
  by_end_.erase({nonce.not_after_s, std::move(key)});
}

std::vector<UsedNonce> UsedNonces::forget_ended(std::uint64_t now_s) {
  std::vector<UsedNonce> out;
  while (!by_end_.empty() && by_end_.begin()->first < now_s) {
    auto node = by_end_.extract(by_end_.begin());
    until_.erase(node.value().second);
    out.push_back({std::move(node.value().second.first), std::move(node.value().second.second), node.value().first});
  }
  return out;
}

}  // namespace slipway
