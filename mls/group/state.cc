#include "group/state.h"

#include <algorithm>

namespace slipway::mls {

const SignaturePublicKey* SenderKeyCache::get(const Suite& suite, LeafIndex index,
                                              const LeafPtr& leaf, bool hasten, Status& status) {
  if (entries_ == nullptr) {
    entries_ = std::make_unique<std::array<Entry, 64>>();
  }
  Entry& entry = (*entries_)[index % entries_->size()];
  // A leaf that was updated mostly keeps its signature key, and an import costs a fifth of a verification.
  const bool known = entry.key && (entry.leaf == leaf || equal(entry.leaf->signature_key(), leaf->signature_key()));
  if (!known) {
    auto key = SignaturePublicKey::import(suite, leaf->signature_key());
    if (!key) {
      status = fail(key.error());
      return nullptr;
    }
    entry.key = std::move(*key);
    entry.uses = 0;
  }
  entry.leaf = leaf;
  if (++entry.uses == kHastenAfter && hasten) {
    entry.key.hasten();
  }
  return &entry.key;
}

void ChangeLog::note(const Ratchet& ratchet) {
  if (whole || (!ratchets.empty() && ratchets.back() == ratchet)) {
    return;
  }
  if (std::ranges::find(ratchets, ratchet) != ratchets.end()) {
    return;
  }
  if (ratchets.size() >= kMaxRatchets) {
    whole = true;
    ratchets.clear();
    return;
  }
  ratchets.push_back(ratchet);
}

void ChangeLog::clear() {
  ratchets.clear();
  waiting = false;
  whole = false;
}

HashValue commit_fingerprint(const Suite& suite, View message) {
  constexpr size_t kEnd = 256;
  const size_t size = message.size();
  std::array<uint8_t, 8> length;
  for (size_t i = 0; i < length.size(); ++i) {
    length[i] = static_cast<uint8_t>(size >> (8 * i));
  }
  return hash(suite, {length, message.last(std::min(size, kEnd))});
}

GroupState::GroupState(const GroupConfig& configuration, const Suite& cipher_suite)
    : config(configuration),
      policy(config.policy != nullptr ? config.policy : &default_policy()),
      random(config.random != nullptr ? config.random : &system_random()),
      suite(&cipher_suite),
      tree(cipher_suite) {}

LeafPtr GroupState::leaf_at(uint64_t wanted, LeafIndex index) const {
  for (const PastEpoch& past_state : past) {
    if (past_state.epoch < wanted) {
      continue;
    }
    const auto found = std::ranges::lower_bound(past_state.replaced, index, {},
                                                &std::pair<LeafIndex, LeafPtr>::first);
    if (found != past_state.replaced.end() && found->first == index) {
      return found->second;
    }
  }
  return tree.leaf(index);
}

PastEpoch* GroupState::past_epoch(uint64_t wanted) {
  for (PastEpoch& past_state : past) {
    if (past_state.epoch == wanted) {
      return &past_state;
    }
  }
  return nullptr;
}

Status GroupState::check_active() const {
  if (!active) {
    return fail(ErrorCode::kInactive, reinit ? "using a group: it was reinitialised"
                                             : "using a group: we are no member any more");
  }
  return {};
}

}  // namespace slipway::mls
