#include "tree/tree_diff.h"

#include <algorithm>
#include <cassert>

namespace slipway::mls {

using namespace node_math;

TreeDiff::TreeDiff(const RatchetTree& base)
    : base_(&base),
      width_(base.width()),
      member_count_(base.member_count_),
      last_leaf_(base.last_leaf_),
      first_free_(base.first_free_),
      credentials_(base.credentials_) {}

// ---- Reading.

const TreeDiff::Change* TreeDiff::find(NodeIndex node) const {
  const uint32_t at = where_.find(node);
  return at == NodeMap::kNone ? nullptr : &changes_[at];
}

const LeafPtr& TreeDiff::leaf(LeafIndex leaf) const {
  if (const Change* change = find(leaf_node(leaf)); change != nullptr && change->content) {
    return change->leaf;
  }
  return base_->leaf(leaf);
}

const Parent* TreeDiff::parent(NodeIndex node) const {
  if (const Change* change = find(node); change != nullptr && change->content) {
    return change->parent.get();
  }
  return base_->parent(node);
}

bool TreeDiff::is_blank(NodeIndex node) const {
  return is_leaf(node) ? leaf(leaf_of(node)) == nullptr : parent(node) == nullptr;
}

View TreeDiff::encryption_key(NodeIndex node) const {
  if (is_leaf(node)) {
    return leaf(leaf_of(node))->encryption_key();
  }
  return parent(node)->encryption_key;
}

bool TreeDiff::changed(NodeIndex node) const {
  const Change* change = find(node);
  return change != nullptr && change->content;
}

void TreeDiff::resolution(NodeIndex node, std::vector<NodeIndex>& out) const {
  if (is_leaf(node)) {
    if (leaf(leaf_of(node)) != nullptr) {
      out.push_back(node);
    }
    return;
  }
  if (const Parent* here = parent(node)) {
    out.push_back(node);
    for (const LeafIndex unmerged : here->unmerged_leaves) {
      out.push_back(leaf_node(unmerged));
    }
    return;
  }
  if (first_leaf(node) > last_leaf_) {
    return;  // nothing lives there
  }
  resolution(left(node), out);
  resolution(right(node), out);
}

bool TreeDiff::resolution_is_empty(NodeIndex node) const {
  if (!is_blank(node)) {
    return false;
  }
  if (is_leaf(node) || first_leaf(node) > last_leaf_) {
    return true;
  }
  return resolution_is_empty(left(node)) && resolution_is_empty(right(node));
}

std::vector<PathStep> TreeDiff::filtered_direct_path(LeafIndex leaf) const {
  std::vector<PathStep> steps;
  const NodeIndex top = root();
  for (NodeIndex node = leaf_node(leaf); node != top;) {
    const NodeIndex off = sibling(node);
    node = node_math::parent(node);
    if (!resolution_is_empty(off)) {
      steps.push_back({node, off});
    }
  }
  return steps;
}

bool TreeDiff::key_in_use(KeyKind kind, View key, NodeIndex except) const {
  const auto holds = [&](NodeIndex node) {
    if (node == except || node >= node_count() || is_blank(node)) {
      return false;
    }
    return equal(key, kind == KeyKind::kEncryption ? encryption_key(node)
                                                   : leaf(leaf_of(node))->signature_key());
  };
  const uint32_t tag = key_tag(kind, key);
  return new_keys_.any(tag, kind, holds) || base_->keys_.any(tag, kind, holds);
}

Result<bool> TreeDiff::check_unique_keys(size_t& next, Budget& budget) const {
  for (; next < changes_.size(); ++next) {
    if (budget.take(1, 1) == 0) {
      return false;
    }
    const Change& change = changes_[next];
    if (!change.content || change.node >= node_count() || is_blank(change.node)) {
      continue;
    }
    if (key_in_use(KeyKind::kEncryption, encryption_key(change.node), change.node)) {
      return fail(ErrorCode::kKeyReuse, "changing the tree: an encryption key is in it twice");
    }
    if (is_leaf(change.node) &&
        key_in_use(KeyKind::kSignature, change.leaf->signature_key(), change.node)) {
      return fail(ErrorCode::kKeyReuse, "changing the tree: two leaves have one signature key");
    }
  }
  return true;
}

Status TreeDiff::check_unique_keys() const {
  size_t next = 0;
  Budget budget = Budget::unlimited();
  MLS_TRY(check_unique_keys(next, budget));
  return {};
}

bool TreeDiff::credential_in_use(CredentialType type) const {
  return std::ranges::any_of(credentials_, [&](const auto& use) {
    return use.type == type && use.members > 0;
  });
}

// ---- Changing.

TreeDiff::Change& TreeDiff::change_of(NodeIndex node) {
  const uint32_t at = where_.find(node);
  if (at != NodeMap::kNone) {
    return changes_[at];
  }
  where_.insert(node, static_cast<uint32_t>(changes_.size()));
  Change& change = changes_.emplace_back();
  change.node = node;
  change.hash_valid = true;  // until mark_dirty says otherwise
  return change;
}

void TreeDiff::mark_dirty(NodeIndex node) {
  const NodeIndex top = root();
  while (true) {
    const uint32_t known = where_.find(node);
    if (known != NodeMap::kNone && !changes_[known].hash_valid) {
      return;  // and so are all its ancestors
    }
    Change& change = change_of(node);
    change.hash_valid = false;
    dirty_.push_back(node);
    dirty_ordered_ = false;
    if (node == top) {
      return;
    }
    node = node_math::parent(node);
  }
}

void TreeDiff::count_credential(const Leaf* leaf, int by) {
  if (leaf == nullptr) {
    return;
  }
  const auto type = leaf->credential_type();
  for (auto& use : credentials_) {
    if (use.type == type) {
      use.members = static_cast<uint32_t>(static_cast<int64_t>(use.members) + by);
      return;
    }
  }
  credentials_.push_back({type, 1});
}

void TreeDiff::put_leaf(LeafIndex index, LeafPtr leaf) {
  const NodeIndex node = leaf_node(index);
  const LeafPtr& old = this->leaf(index);
  count_credential(old.get(), -1);
  count_credential(leaf.get(), 1);
  member_count_ += (leaf != nullptr ? 1 : 0) - (old != nullptr ? 1 : 0);
  if (leaf != nullptr) {
    new_keys_.insert(key_tag(KeyKind::kEncryption, leaf->encryption_key()),
                     KeyKind::kEncryption, node);
    new_keys_.insert(key_tag(KeyKind::kSignature, leaf->signature_key()), KeyKind::kSignature,
                     node);
  }
  mark_dirty(node);
  Change& change = change_of(node);
  change.content = true;
  change.leaf = std::move(leaf);
}

void TreeDiff::put_parent(NodeIndex node, std::shared_ptr<Parent> parent) {
  if (parent != nullptr) {
    new_keys_.insert(key_tag(KeyKind::kEncryption, parent->encryption_key), KeyKind::kEncryption,
                     node);
  }
  mark_dirty(node);
  Change& change = change_of(node);
  change.content = true;
  change.parent = std::move(parent);
}

void TreeDiff::blank_direct_path(LeafIndex index) {
  const NodeIndex top = root();
  for (NodeIndex node = leaf_node(index); node != top;) {
    node = node_math::parent(node);
    if (parent(node) != nullptr) {
      put_parent(node, nullptr);
    }
  }
}

void TreeDiff::grow() {
  const uint32_t old_nodes = node_count();
  width_ = width_ == 0 ? 1 : width_ * 2;
  // Nodes beyond the base have no hash yet, blank as they are. Those that were cut off before, and come
  // back, may have missed one.
  for (NodeIndex node = old_nodes; node < node_count(); ++node) {
    if (const uint32_t known = where_.find(node); known != NodeMap::kNone) {
      changes_[known].hash_valid = true;  // so that it is marked afresh
      mark_dirty(node);
    } else if (node >= base_->node_count()) {
      change_of(node).content = true;
      mark_dirty(node);
    }
  }
  mark_dirty(root());
}

void TreeDiff::shrink() {
  while (last_leaf_ > 0 && leaf(last_leaf_) == nullptr) {
    --last_leaf_;
  }
  if (member_count_ == 0) {
    return;  // a group has always a member; only a tree on its own can be emptied
  }
  while (width_ > 1 && last_leaf_ < width_ / 2) {
    width_ /= 2;
  }
}

Result<LeafIndex> TreeDiff::add(LeafPtr leaf, const Limits& limits) {
  LeafIndex index = first_free_;
  while (index < width_ && this->leaf(index) != nullptr) {
    ++index;
  }
  if (index >= width_) {
    if (index >= limits.tree_leaves) {
      return fail(ErrorCode::kTooMany, "adding a member: the tree is as large as the limit allows");
    }
    grow();
  }
  first_free_ = index + 1;
  last_leaf_ = std::max(last_leaf_, index);
  put_leaf(index, std::move(leaf));
  const NodeIndex top = root();
  for (NodeIndex node = leaf_node(index); node != top;) {
    node = node_math::parent(node);
    const Parent* here = parent(node);
    if (here == nullptr) {
      continue;
    }
    Change& change = change_of(node);
    if (!change.content) {
      change.content = true;
      change.parent = std::make_shared<Parent>(*here);
    }
    auto& unmerged = change.parent->unmerged_leaves;
    unmerged.insert(std::ranges::lower_bound(unmerged, index), index);
  }
  return index;
}

void TreeDiff::update(LeafIndex index, LeafPtr leaf) {
  assert(this->leaf(index) != nullptr);
  put_leaf(index, std::move(leaf));
  blank_direct_path(index);
}

void TreeDiff::remove(LeafIndex index) {
  assert(leaf(index) != nullptr);
  put_leaf(index, nullptr);
  blank_direct_path(index);
  first_free_ = std::min(first_free_, index);
  shrink();
}

HashValue TreeDiff::merge_path(LeafIndex index, std::span<const PathStep> steps,
                               std::span<const PublicKeyBytes> keys) {
  assert(steps.size() == keys.size() && dirty_.empty());
  // Siblings first: setting a node makes hashes above it stale, never those beside the path.
  HashValue parent_hash;
  std::vector<std::shared_ptr<Parent>> parents(steps.size());
  for (size_t i = steps.size(); i-- > 0;) {
    parents[i] = std::make_shared<Parent>();
    parents[i]->encryption_key = keys[i];
    parents[i]->parent_hash = parent_hash;
    parent_hash = hash_of_parent(suite(), *parents[i], tree_hash(steps[i].copath));
  }
  blank_direct_path(index);
  for (size_t i = 0; i < steps.size(); ++i) {
    put_parent(steps[i].node, std::move(parents[i]));
  }
  return parent_hash;
}

void TreeDiff::set_leaf(LeafIndex index, LeafPtr leaf) { put_leaf(index, std::move(leaf)); }

// ---- Hashes.

View TreeDiff::tree_hash(NodeIndex node) const {
  if (const Change* change = find(node)) {
    assert(change->hash_valid);
    return View(change->hash).first(suite().hash_size);
  }
  return base_->tree_hash(node);
}

void TreeDiff::hash_node(NodeIndex node) {
  Change& change = changes_[where_.find(node)];
  const HashValue value =
      is_leaf(node) ? hash_leaf(suite(), leaf_of(node), leaf(leaf_of(node)).get())
                    : hash_parent(suite(), parent(node), tree_hash(left(node)),
                                  tree_hash(right(node)));
  std::ranges::copy(View(value), change.hash.begin());
  change.hash_valid = true;
}

void TreeDiff::order_dirty() {
  // What was done before has valid hashes; what became stale again is in the list once more.
  std::erase_if(dirty_, [&](NodeIndex node) { return changes_[where_.find(node)].hash_valid; });
  std::array<size_t, 33> begins{};
  for (const NodeIndex node : dirty_) {
    ++begins[level(node) + 1];
  }
  for (size_t i = 1; i < begins.size(); ++i) {
    begins[i] += begins[i - 1];
  }
  std::vector<NodeIndex> ordered(dirty_.size());
  for (const NodeIndex node : dirty_) {
    ordered[begins[level(node)]++] = node;
  }
  dirty_ = std::move(ordered);
  dirty_done_ = 0;
  dirty_ordered_ = true;
}

bool TreeDiff::hash_some(size_t& budget) {
  if (!dirty_ordered_) {
    order_dirty();
  }
  while (dirty_done_ < dirty_.size()) {
    if (budget == 0) {
      return false;
    }
    const NodeIndex node = dirty_[dirty_done_++];
    if (node < node_count()) {
      hash_node(node);
      --budget;
    }
  }
  dirty_.clear();
  dirty_done_ = 0;
  return true;
}

void TreeDiff::hash_all() {
  size_t budget = SIZE_MAX;
  hash_some(budget);
}

bool TreeDiff::index_keys(Budget& budget) {
  constexpr size_t kMany = 256;
  if (changes_.size() < kMany) {
    return true;
  }
  if (!all_keys_) {
    all_keys_ = base_->keys_;
    all_keys_->reserve(base_->keys_.size() + new_keys_.size());
    budget.draw(all_keys_->memory_bytes() / Budget::kCopiedBytes);
  }
  const auto each_key = [](const Leaf* leaf, const Parent* parent, auto&& use) {
    if (leaf != nullptr) {
      use(KeyKind::kEncryption, leaf->encryption_key());
      use(KeyKind::kSignature, leaf->signature_key());
    } else if (parent != nullptr) {
      use(KeyKind::kEncryption, View(parent->encryption_key));
    }
  };
  for (; next_indexed_ < changes_.size(); ++next_indexed_) {
    if (budget.take(1, 1) == 0) {
      return false;
    }
    const Change& change = changes_[next_indexed_];
    if (!change.content) {
      continue;
    }
    const NodeIndex node = change.node;
    const Leaf* old_leaf = is_leaf(node) ? base_->leaf(leaf_of(node)).get() : nullptr;
    const Parent* old_parent = is_leaf(node) ? nullptr : base_->parent(node);
    each_key(old_leaf, old_parent,
             [&](KeyKind kind, View key) { all_keys_->erase(key_tag(kind, key), kind, node); });
    if (node < node_count()) {
      each_key(change.leaf.get(), change.parent.get(),
               [&](KeyKind kind, View key) { all_keys_->insert(key_tag(kind, key), kind, node); });
    }
  }
  return true;
}

HashValue TreeDiff::original_tree_hash(NodeIndex node, std::span<const LeafIndex> removed) const {
  const auto from = std::ranges::lower_bound(removed, first_leaf(node));
  const auto to = std::upper_bound(from, removed.end(), node_math::last_leaf(node));
  if (from == to) {
    return HashValue(tree_hash(node));
  }
  const std::span<const LeafIndex> here(from, to);
  if (is_leaf(node)) {
    return hash_leaf(suite(), leaf_of(node), nullptr);
  }
  const HashValue on_left = original_tree_hash(left(node), here);
  const HashValue on_right = original_tree_hash(right(node), here);
  return hash_parent_without(suite(), parent(node), here, on_left, on_right);
}

// ---- Snapshot.

namespace {

enum class SavedNode : uint8_t { kBlank = 0, kLeaf = 1, kParent = 2 };

std::unexpected<Error> bad_snapshot() {
  return fail(ErrorCode::kBadSnapshot, "restoring changes to a tree: not what was saved");
}

}  // namespace

Bytes TreeDiff::save() const {
  Bytes out;
  Writer writer(out);
  writer(width_, last_leaf_, first_free_);
  for (const Change& change : changes_) {
    if (!change.content) {
      continue;
    }
    if (change.node >= node_count() || is_blank(change.node)) {
      writer(change.node, SavedNode::kBlank);
    } else if (is_leaf(change.node)) {
      writer(change.node, SavedNode::kLeaf, change.leaf->encoded());
    } else {
      const Parent& parent = *change.parent;
      writer(change.node, SavedNode::kParent, parent.encryption_key, parent.parent_hash,
             parent.unmerged_leaves);
    }
  }
  return out;
}

Status TreeDiff::restore_change(Reader& reader) {
  NodeIndex node = 0;
  SavedNode kind{};
  reader(node, kind);
  if (!reader.ok() || node >= node_count()) {
    return bad_snapshot();
  }
  if (kind == SavedNode::kLeaf && is_leaf(node)) {
    View encoded;
    reader(encoded);
    auto leaf = Leaf::parse(encoded, reader.limits());
    if (!leaf) {
      return bad_snapshot();
    }
    put_leaf(leaf_of(node), std::move(*leaf));
  } else if (kind == SavedNode::kParent && !is_leaf(node)) {
    View key;
    View parent_hash;
    auto parent = std::make_shared<Parent>();
    reader(key, parent_hash, parent->unmerged_leaves);
    if (!reader.ok() || key.size() > kMaxPublicKeyBytes || parent_hash.size() > kMaxHashBytes) {
      return bad_snapshot();
    }
    parent->encryption_key.assign(key);
    parent->parent_hash.assign(parent_hash);
    put_parent(node, std::move(parent));
  } else if (kind == SavedNode::kBlank) {
    is_leaf(node) ? put_leaf(leaf_of(node), nullptr) : put_parent(node, nullptr);
  } else {
    return bad_snapshot();
  }
  return {};
}

Result<TreeDiff> TreeDiff::restore(const RatchetTree& base, View saved, const Limits& limits) {
  TreeDiff diff(base);
  Reader reader(saved, limits);
  LeafIndex last_leaf = 0;
  LeafIndex first_free = 0;
  reader(diff.width_, last_leaf, first_free);
  if (!reader.ok() || !std::has_single_bit(diff.width_) || diff.width_ > limits.tree_leaves ||
      last_leaf >= diff.width_ || first_free > diff.width_) {
    return bad_snapshot();
  }
  // Changes to what a smaller tree has cut off are among them.
  const uint32_t width = diff.width_;
  diff.width_ = std::max(width, base.width());
  while (!reader.at_end()) {
    MLS_TRY(diff.restore_change(reader));
  }
  diff.width_ = width;
  for (NodeIndex node = base.node_count(); node < diff.node_count(); ++node) {
    if (diff.where_.find(node) == NodeMap::kNone) {
      return bad_snapshot();
    }
  }
  diff.mark_dirty(diff.root());
  diff.last_leaf_ = last_leaf;
  diff.first_free_ = first_free;
  bool cut_is_blank = true;
  for (NodeIndex node = diff.node_count(); node < base.node_count(); ++node) {
    cut_is_blank = cut_is_blank && diff.is_blank(node);
  }
  if (diff.leaf(last_leaf) == nullptr || !cut_is_blank) {
    return bad_snapshot();
  }
  diff.hash_all();
  return diff;
}

}  // namespace slipway::mls
