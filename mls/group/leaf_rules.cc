// What a leaf must be to stand in a group (RFC 9420, 7.3, 11.1, 13.4).
#include <algorithm>

#include "group/state.h"

namespace slipway::mls {

Result<GroupRules> rules_of(const Extensions& extensions, const Limits& limits) {
  GroupRules rules;
  rules.extensions = &extensions;
  MLS_ASSIGN(auto required, decode_extension<RequiredCapabilities>(
                                extensions, ExtensionType::kRequiredCapabilities, limits));
  if (required) {
    rules.required = std::move(*required);
  }
  return rules;
}

Status check_capabilities(const GroupRules& rules, const Leaf& leaf) {
  const auto supports = [&](auto type) { return leaf.supports(type); };
  if (!std::ranges::all_of(rules.required.extension_types, supports) ||
      !std::ranges::all_of(rules.required.proposal_types, supports) ||
      !std::ranges::all_of(rules.required.credential_types, supports)) {
    return fail(ErrorCode::kInvalidLeafNode,
                "checking a leaf: it lacks a capability that the group requires");
  }
  for (const Extension& extension : *rules.extensions) {
    if (!leaf.supports(extension.type)) {
      return fail(ErrorCode::kInvalidLeafNode,
                  "checking a leaf: it does not support an extension of the group");
    }
  }
  if (!leaf.supports(leaf.credential_type())) {
    return fail(ErrorCode::kInvalidLeafNode,
                "checking a leaf: its capabilities do not list its credential's type");
  }
  const bool listed = leaf.all_extensions(
      [&](ExtensionType type, View) { return leaf.supports(type); });
  if (!listed) {
    return fail(ErrorCode::kInvalidLeafNode,
                "checking a leaf: it has an extension that its capabilities do not list");
  }
  return {};
}

Status check_leaf(const GroupState& group, const GroupRules& rules, const LeafCheck& check) {
  const Leaf& leaf = *check.leaf;
  MLS_TRY(check_capabilities(rules, leaf));
  const bool own_add = check.use == LeafUse::kOwnAdd;
  if (leaf.source() == LeafNodeSource::kKeyPackage &&
      (own_add || group.policy->check_lifetime(check.use))) {
    const Lifetime lifetime = leaf.lifetime();
    if (check.now_s < lifetime.not_before || check.now_s > lifetime.not_after) {
      return fail(ErrorCode::kExpired, "checking a leaf: its lifetime is over or has not begun");
    }
  }
  if (!group.policy->check_credential(check)) {
    return fail(ErrorCode::kInvalidCredential, "checking a leaf: its credential was refused");
  }
  return {};
}

namespace {

// Whether every member can read credentials of that type: asked when a type is new to the group.
bool all_support(const TreeDiff& diff, CredentialType type) {
  for (LeafIndex i = 0; i <= diff.last_leaf(); ++i) {
    const LeafPtr& leaf = diff.leaf(i);
    if (leaf != nullptr && !leaf->supports(type)) {
      return false;
    }
  }
  return true;
}

}  // namespace

namespace {

bool client_in_use(const GroupState& group, const TreeDiff& diff, const KeyIndex& fresh,
                   LeafIndex index, View id) {
  const uint32_t tag = key_tag(KeyKind::kSignature, id);
  const auto same = [&](NodeIndex node) {
    const LeafIndex other = node_math::leaf_of(node);
    if (other == index || other >= diff.width()) {
      return false;
    }
    const LeafPtr& there = diff.leaf(other);
    return there != nullptr && equal(id, group.policy->client_id(*there));
  };
  return group.clients.any(tag, KeyKind::kSignature, same) ||
         fresh.any(tag, KeyKind::kSignature, same);
}

}  // namespace

Status check_newcomer(const GroupState& group, const TreeDiff& diff, const KeyIndex& fresh,
                      LeafIndex index, const Leaf& leaf) {
  if (!diff.all_credential_types([&](CredentialType type) { return leaf.supports(type); })) {
    return fail(ErrorCode::kInvalidLeafNode,
                "checking a leaf: it does not support the credential type of another member");
  }
  const CredentialType type = leaf.credential_type();
  if (!diff.credential_in_use(type) && !all_support(diff, type)) {
    return fail(ErrorCode::kInvalidLeafNode,
                "checking a leaf: another member does not support its credential type");
  }
  const View id = group.policy->client_id(leaf);
  if (!id.empty() && client_in_use(group, diff, fresh, index, id)) {
    return fail(ErrorCode::kKeyReuse, "checking a leaf: its client is in the group already");
  }
  return {};
}

Status NeighbourCheck::check(LeafIndex index, const Leaf& leaf, Budget& budget) {
  if (!diff_.all_credential_types([&](CredentialType type) { return leaf.supports(type); })) {
    return fail(ErrorCode::kInvalidLeafNode,
                "checking a leaf: it does not support the credential type of another member");
  }
  const CredentialType type = leaf.credential_type();
  if (!before_.credential_in_use(type) && std::ranges::find(asked_, type) == asked_.end()) {
    constexpr size_t kAskedAUnit = 16;
    budget.draw(diff_.width() / kAskedAUnit);
    asked_.push_back(type);
    if (!all_support(diff_, type)) {
      return fail(ErrorCode::kInvalidLeafNode,
                  "checking a leaf: another member does not support its credential type");
    }
  }
  const View id = group_.policy->client_id(leaf);
  if (!id.empty()) {
    if (client_in_use(group_, diff_, fresh_, index, id)) {
      return fail(ErrorCode::kKeyReuse, "checking a leaf: its client is in the group already");
    }
    fresh_.insert(key_tag(KeyKind::kSignature, id), KeyKind::kSignature, node_math::leaf_node(index));
  }
  return {};
}

Result<bool> NeighbourCheck::step(Budget& budget) {
  for (; next_ < diff_.change_count(); ++next_) {
    if (budget.take(1, 1) == 0) {
      return false;
    }
    Status status;
    diff_.visit_change(next_, [&](LeafIndex index, const LeafPtr&, const LeafPtr& leaf) {
      if (leaf != nullptr && index < diff_.width()) {
        status = check(index, *leaf, budget);
      }
    });
    MLS_TRY(status);
  }
  return true;
}

Status check_neighbours(const GroupState& group, const TreeDiff& diff) {
  Budget budget = Budget::unlimited();
  MLS_TRY(NeighbourCheck(group, diff).step(budget));
  return {};
}

Status check_group_extensions(const GroupState& group, const Extensions& extensions,
                              uint64_t now_s) {
  if (has_duplicate_types(extensions)) {
    return fail(ErrorCode::kDuplicateEntry, "checking group extensions: one type twice");
  }
  if (!rules_of(extensions, group.limits())) {
    return fail(ErrorCode::kInvalidProposal,
                "checking group extensions: required_capabilities cannot be read");
  }
  if (find_extension(extensions, ExtensionType::kRatchetTree) != nullptr ||
      find_extension(extensions, ExtensionType::kExternalPub) != nullptr) {
    return fail(ErrorCode::kInvalidProposal,
                "checking group extensions: one belongs into a GroupInfo, not into the group");
  }
  auto senders = decode_extension<ExternalSenders>(extensions, ExtensionType::kExternalSenders,
                                                   group.limits());
  if (!senders) {
    return fail(ErrorCode::kInvalidProposal,
                "checking group extensions: external_senders cannot be read");
  }
  if (*senders) {
    for (const ExternalSender& sender : (*senders)->senders) {
      MLS_TRY(check_signature_point(*group.suite, sender.signature_key));
      if (!group.policy->check_external_sender(sender, now_s)) {
        return fail(ErrorCode::kInvalidCredential,
                    "checking group extensions: an external sender was refused");
      }
    }
  }
  return {};
}

}  // namespace slipway::mls
