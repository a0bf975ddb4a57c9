// From one epoch to the next: PSKs, the key schedule, and putting a staged commit in place.
#include <algorithm>

#include "group/state.h"

namespace slipway::mls {

Status check_psk_id(const Suite& suite, const PreSharedKeyId& id) {
  if (id.nonce.size() != suite.hash_size) {
    return fail(ErrorCode::kInvalidPsk, "checking a PSK: its nonce has a wrong length");
  }
  if (id.type == PskType::kResumption && id.usage != ResumptionPskUsage::kApplication) {
    return fail(ErrorCode::kInvalidPsk,
                "checking a PSK: usages reinit and branch are for the first commit of a new group");
  }
  return {};
}

namespace {

std::optional<Secret> find_psk(const GroupState* group, PskStore* store, const PreSharedKeyId& id) {
  if (id.type == PskType::kExternal) {
    return store != nullptr ? store->external_psk(id.psk_id) : std::nullopt;
  }
  if (group != nullptr) {
    if (group->predecessor && id.usage == group->predecessor->usage &&
        id.epoch == group->predecessor->epoch && equal(id.group_id, group->predecessor->group_id)) {
      return group->predecessor->psk.clone();
    }
    if (equal(id.group_id, group->group_id())) {
      for (const ResumptionSecret& entry : group->resumption) {
        if (entry.epoch == id.epoch) {
          return entry.psk.clone();
        }
      }
    }
  }
  return store != nullptr ? store->resumption_psk(id.group_id, id.epoch) : std::nullopt;
}

}  // namespace

Secret ResolvedPsks::fold(const Suite& suite) const {
  std::vector<PskInput> inputs;
  for (size_t i = 0; i < ids.size(); ++i) {
    inputs.push_back({&ids[i], secrets[i]});
  }
  return fold_psks(suite, inputs);
}

Status resolve_psks(const GroupState* group, PskStore* store, std::vector<PreSharedKeyId> ids,
                    ResolvedPsks& out) {
  out.secrets.clear();
  for (const PreSharedKeyId& id : ids) {
    auto psk = find_psk(group, store, id);
    if (!psk) {
      return fail(ErrorCode::kMissingPsk, "using a PSK: neither group nor caller knows it");
    }
    out.secrets.push_back(std::move(*psk));
  }
  out.ids = std::move(ids);
  return {};
}

EpochState epoch_state(const Suite& suite, GroupContext context, EpochSecrets secrets,
                       uint32_t tree_width, const Limits& limits) {
  EpochState state;
  state.encoded_context = encode(context);
  state.messages = SecretTree(suite, std::move(secrets.encryption_secret), tree_width, limits);
  state.secrets = std::move(secrets);
  state.confirmation_tag = make_confirmation_tag(suite, state.secrets.confirmation_key,
                                                 context.confirmed_transcript_hash);
  state.interim_transcript_hash = interim_transcript_hash(suite, context.confirmed_transcript_hash,
                                                          state.confirmation_tag);
  state.context = std::move(context);
  return state;
}

NextEpoch next_epoch(const Suite& suite, GroupContext context, Secret init_secret,
                     Secret commit_secret, const Secret& psk_secret, uint32_t tree_width,
                     const Limits& limits) {
  const Bytes encoded = encode(context);
  NextEpoch next;
  next.joiner_secret =
      make_joiner_secret(suite, std::move(init_secret), std::move(commit_secret), encoded);
  Secret member_secret = make_member_secret(suite, next.joiner_secret, psk_secret);
  next.welcome_secret = make_welcome_secret(suite, member_secret);
  next.state = epoch_state(suite, std::move(context),
                           make_epoch_secrets(suite, std::move(member_secret), encoded),
                           tree_width, limits);
  return next;
}

namespace {

void keep_past(GroupState& group, const TreeDiff& diff) {
  const size_t kept = group.limits().past_epochs;
  if (kept == 0) {
    group.past.clear();
    return;
  }
  PastEpoch past;
  past.epoch = group.epoch();
  past.encoded_context = std::move(group.now.encoded_context);
  past.sender_data_secret = std::move(group.now.secrets.sender_data_secret);
  past.messages = std::move(group.now.messages);
  diff.for_each_changed_leaf([&](LeafIndex index, const LeafPtr& before, const LeafPtr& after) {
    if (before != after) {
      past.replaced.emplace_back(index, before);
    }
  });
  std::ranges::sort(past.replaced, {}, &std::pair<LeafIndex, LeafPtr>::first);
  constexpr size_t kReservedPast = 8;
  group.past.reserve(std::min(kept, kReservedPast));
  if (group.past.size() >= kept) {
    group.past.erase(group.past.begin(), group.past.end() - static_cast<ptrdiff_t>(kept - 1));
  }
  group.past.push_back(std::move(past));
}

void keep_resumption(GroupState& group) {
  group.resumption.push_back({group.epoch(), group.now.secrets.resumption_psk.clone()});
  const size_t kept = std::max<size_t>(1, group.limits().resumption_epochs);
  if (group.resumption.size() > kept) {
    group.resumption.erase(group.resumption.begin(),
                           group.resumption.end() - static_cast<ptrdiff_t>(kept));
  }
}

void update_clients(GroupState& group, const TreeDiff& diff) {
  diff.for_each_changed_leaf([&](LeafIndex index, const LeafPtr& before, const LeafPtr&) {
    if (before != nullptr) {
      if (const View id = group.policy->client_id(*before); !id.empty()) {
        group.clients.erase(key_tag(KeyKind::kSignature, id), KeyKind::kSignature,
                            node_math::leaf_node(index));
      }
    }
  });
  diff.for_each_changed_leaf([&](LeafIndex index, const LeafPtr&, const LeafPtr& after) {
    if (after != nullptr && index < diff.width()) {
      if (const View id = group.policy->client_id(*after); !id.empty()) {
        group.clients.insert(key_tag(KeyKind::kSignature, id), KeyKind::kSignature,
                             node_math::leaf_node(index));
      }
    }
  });
}

void leave(GroupState& group) {
  group.active = false;
  group.now.secrets = {};
  group.now.messages = {};
  group.keys = PrivatePath(group.self());
  group.signer = {};
  group.past.clear();
  group.resumption.clear();
  group.predecessor.reset();
}

}  // namespace

void GroupState::index_client(LeafIndex index) {
  if (const LeafPtr& leaf = tree.leaf(index); leaf != nullptr) {
    if (const View id = policy->client_id(*leaf); !id.empty()) {
      clients.insert(key_tag(KeyKind::kSignature, id), KeyKind::kSignature, node_math::leaf_node(index));
    }
  }
}

void apply_staged(GroupState& group, StagedState&& staged) {
  group.waiting.clear();
  group.own_updates.clear();
  group.token = std::make_shared<int>(0);
  group.changes.whole = true;
  if (staged.summary.removes_me) {
    leave(group);
    group.pending.reset();
    return;
  }
  update_clients(group, staged.diff);
  keep_past(group, staged.diff);
  for (NodeKey& key : staged.keys) {
    group.keys.set(key.node, std::move(key.key));
  }
  if (staged.signer) {
    group.signer = std::move(*staged.signer);
  }
  group.tree.apply(std::move(staged.diff));
  group.keys.retain(group.tree);
  group.now = std::move(staged.next);
  group.predecessor.reset();
  keep_resumption(group);
  if (staged.summary.reinit) {
    group.reinit = std::move(staged.summary.reinit);
    group.active = false;
  }
  group.pending.reset();  // last: `staged` may lie in it
}

}  // namespace slipway::mls
