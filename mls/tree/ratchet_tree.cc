#include "tree/ratchet_tree.h"

#include <algorithm>
#include <cassert>

#include "tree/tree_diff.h"

namespace slipway::mls {

using namespace node_math;

namespace {

constexpr uint8_t kLeafNodeType = 1;
constexpr uint8_t kParentNodeType = 2;

// Hash inputs are put together here, one after the other, without allocating.
Bytes& scratch() {
  thread_local Bytes bytes;
  bytes.clear();
  return bytes;
}

void write_parent(Writer& writer, const Parent& parent, std::span<const LeafIndex> removed) {
  writer.write_vector(parent.encryption_key);
  writer.write_vector(parent.parent_hash);
  size_t count = parent.unmerged_leaves.size();
  for (const LeafIndex leaf : parent.unmerged_leaves) {
    count -= std::ranges::binary_search(removed, leaf) ? 1 : 0;
  }
  writer.write_length(count * sizeof(LeafIndex));
  for (const LeafIndex leaf : parent.unmerged_leaves) {
    if (!std::ranges::binary_search(removed, leaf)) {
      writer.write_integer(leaf, sizeof(LeafIndex));
    }
  }
}

Result<std::shared_ptr<Parent>> read_parent(Reader& reader, NodeIndex node) {
  ParentNodeView view;
  reader(view);
  MLS_TRY(reader.status());
  if (view.encryption_key.size() > kMaxPublicKeyBytes) {
    return fail(ErrorCode::kInvalidKey, "reading a ratchet tree: a parent's key is too long");
  }
  auto parent = std::make_shared<Parent>();
  parent->encryption_key.assign(view.encryption_key);
  parent->parent_hash.assign(view.parent_hash);
  parent->unmerged_leaves.reserve(view.unmerged_leaves.encoded().size() / sizeof(LeafIndex));
  MLS_TRY(view.unmerged_leaves.for_each(
      [&](uint32_t leaf) -> Status {
        auto& list = parent->unmerged_leaves;
        if ((!list.empty() && list.back() >= leaf) || !covers(node, leaf)) {
          return fail(ErrorCode::kInvalidTree,
                      "reading a ratchet tree: unmerged leaves not ascending or not below the node");
        }
        list.push_back(leaf);
        return {};
      },
      reader.limits()));
  return parent;
}

}  // namespace

HashValue hash_leaf(const Suite& suite, LeafIndex index, const Leaf* leaf) {
  const uint8_t head[] = {kLeafNodeType,
                          static_cast<uint8_t>(index >> 24),
                          static_cast<uint8_t>(index >> 16),
                          static_cast<uint8_t>(index >> 8),
                          static_cast<uint8_t>(index),
                          static_cast<uint8_t>(leaf != nullptr)};
  return hash(suite, {head, leaf != nullptr ? leaf->encoded() : View{}});
}

HashValue hash_parent(const Suite& suite, const Parent* parent, View left, View right) {
  return hash_parent_without(suite, parent, {}, left, right);
}

HashValue hash_parent_without(const Suite& suite, const Parent* parent,
                              std::span<const LeafIndex> removed, View left, View right) {
  Bytes& input = scratch();
  Writer writer(input);
  writer.write_integer(kParentNodeType, 1);
  writer.write_integer(parent != nullptr, 1);
  if (parent != nullptr) {
    write_parent(writer, *parent, removed);
  }
  writer.write_vector(left);
  writer.write_vector(right);
  return hash(suite, View(input));
}

HashValue hash_of_parent(const Suite& suite, const Parent& parent, View original_sibling_hash) {
  Bytes& input = scratch();
  Writer writer(input);
  writer.write_vector(parent.encryption_key);
  writer.write_vector(parent.parent_hash);
  writer.write_vector(original_sibling_hash);
  return hash(suite, View(input));
}

const LeafPtr& RatchetTree::no_leaf() {
  static const LeafPtr none;
  return none;
}

void RatchetTree::resize(uint32_t width) {
  leaves_.resize(width);
  parents_.resize(width == 0 ? 0 : width - 1);
  hashes_.resize(static_cast<size_t>(mls::node_math::node_count(width)) * suite_->hash_size);
}

Result<RatchetTree> RatchetTree::decode(const Suite& suite, View encoded, const Limits& limits) {
  TreeDecoder decoder(suite, limits);
  MLS_TRY(decoder.start(encoded));
  Budget budget = Budget::unlimited();
  MLS_TRY(decoder.step(budget));
  return decoder.take();
}

Status TreeDecoder::start(View encoded) {
  if (encoded.size() > limits_->handshake_message_bytes) {
    return fail(ErrorCode::kTooLarge, "reading a ratchet tree: larger than the limit");
  }
  Reader outer(encoded, *limits_);
  const View nodes = outer.read_vector();
  MLS_TRY(outer.finish());
  reader_ = Reader(nodes, *limits_);
  return {};
}

Result<bool> TreeDecoder::step(Budget& budget) {
  while (!reader_.at_end()) {
    if (budget.take(1, 1) == 0) {
      return false;
    }
    MLS_TRY(read_node());
  }
  if (!read_) {
    MLS_TRY(end_of_nodes());
    read_ = true;
  }
  for (; next_counted_ < tree_.width(); ++next_counted_) {
    if (budget.take(1, 1) == 0) {
      return false;
    }
    count_leaf(next_counted_);
  }
  return true;
}

Status TreeDecoder::read_node() {
  const NodeIndex node = next_node_++;
  if (leaf_of(node) >= limits_->tree_leaves) {
    return fail(ErrorCode::kTooMany, "reading a ratchet tree: more leaves than the limit");
  }
  const uint64_t present = reader_.read_integer(1);
  if (present > 1) {
    return fail(ErrorCode::kMalformed, "reading a ratchet tree: an optional is neither 0 nor 1");
  }
  last_is_blank_ = present == 0;
  if (is_leaf(node)) {
    tree_.leaves_.emplace_back();
  } else {
    tree_.parents_.emplace_back();
  }
  if (last_is_blank_) {
    return {};
  }
  if (reader_.read_integer(1) != (is_leaf(node) ? kLeafNodeType : kParentNodeType)) {
    return fail(ErrorCode::kInvalidTree, "reading a ratchet tree: leaf and parent exchanged");
  }
  if (is_leaf(node)) {
    MLS_ASSIGN(tree_.leaves_.back(), Leaf::read(reader_));
  } else {
    MLS_ASSIGN(tree_.parents_.back(), read_parent(reader_, node));
  }
  return {};
}

Status TreeDecoder::end_of_nodes() {
  MLS_TRY(reader_.finish());
  if (next_node_ == 0 || last_is_blank_ || !is_leaf(next_node_ - 1)) {
    return fail(ErrorCode::kInvalidTree, "reading a ratchet tree: it does not end in a leaf");
  }
  tree_.last_leaf_ = leaf_of(next_node_ - 1);
  tree_.resize(width_for(tree_.last_leaf_ + 1));
  size_t keys = 0;
  for (const auto& parent : tree_.parents_) {
    keys += parent != nullptr ? 1 : 0;
  }
  tree_.keys_.reserve(2 * (size_t{tree_.last_leaf_} + 1) + keys);
  tree_.first_free_ = tree_.width();
  return {};
}

// Index and counts of a leaf and of the parent to its right.
void TreeDecoder::count_leaf(LeafIndex index) {
  if (index < tree_.parents_.size()) {
    tree_.index_parent(leaf_node(index) + 1);
  }
  const Leaf* leaf = tree_.leaves_[index].get();
  if (leaf == nullptr) {
    tree_.first_free_ = std::min(tree_.first_free_, index);
    return;
  }
  ++tree_.member_count_;
  tree_.index_leaf(index);
  const CredentialType type = leaf->credential_type();
  const auto use = std::ranges::find(tree_.credentials_, type, &RatchetTree::CredentialUse::type);
  if (use != tree_.credentials_.end()) {
    ++use->members;
  } else {
    tree_.credentials_.push_back({type, 1});
  }
}

bool RatchetTree::hash_some(size_t& budget) {
  const size_t size = suite_->hash_size;
  for (; (1u << next_level_) <= width(); ++next_level_, next_hash_ = 0) {
    const uint32_t in_level = width() >> next_level_;
    for (; next_hash_ < in_level; ++next_hash_) {
      if (budget == 0) {
        return false;
      }
      --budget;
      const NodeIndex node = (next_hash_ << (next_level_ + 1)) + (1u << next_level_) - 1;
      const HashValue value =
          next_level_ == 0
              ? hash_leaf(*suite_, next_hash_, leaves_[next_hash_].get())
              : hash_parent(*suite_, parent(node), tree_hash(left(node)), tree_hash(right(node)));
      std::ranges::copy(View(value), hashes_.begin() + static_cast<ptrdiff_t>(node * size));
    }
  }
  return true;
}

void RatchetTree::index_leaf(LeafIndex leaf) {
  if (const Leaf* here = leaves_[leaf].get()) {
    keys_.insert(key_tag(KeyKind::kEncryption, here->encryption_key()), KeyKind::kEncryption,
                 leaf_node(leaf));
    keys_.insert(key_tag(KeyKind::kSignature, here->signature_key()), KeyKind::kSignature,
                 leaf_node(leaf));
  }
}

void RatchetTree::unindex_leaf(LeafIndex leaf) {
  if (const Leaf* here = leaves_[leaf].get()) {
    keys_.erase(key_tag(KeyKind::kEncryption, here->encryption_key()), KeyKind::kEncryption,
                leaf_node(leaf));
    keys_.erase(key_tag(KeyKind::kSignature, here->signature_key()), KeyKind::kSignature,
                leaf_node(leaf));
  }
}

void RatchetTree::index_parent(NodeIndex node) {
  if (const Parent* here = parent(node)) {
    keys_.insert(key_tag(KeyKind::kEncryption, here->encryption_key), KeyKind::kEncryption, node);
  }
}

void RatchetTree::unindex_parent(NodeIndex node) {
  if (const Parent* here = parent(node)) {
    keys_.erase(key_tag(KeyKind::kEncryption, here->encryption_key), KeyKind::kEncryption, node);
  }
}

void RatchetTree::apply(TreeDiff&& diff) {
  assert(diff.base_ == this && diff.dirty_.empty());
  const bool indexed = diff.all_keys_ && diff.next_indexed_ == diff.changes_.size();
  for (const TreeDiff::Change& change : diff.changes_) {
    if (!change.content || change.node >= node_count()) {
      continue;
    }
    if (is_leaf(change.node)) {
      if (!indexed) {
        unindex_leaf(leaf_of(change.node));
      }
      leaves_[leaf_of(change.node)] = nullptr;
    } else {
      if (!indexed) {
        unindex_parent(change.node);
      }
      parents_[change.node / 2] = nullptr;
    }
  }
  resize(diff.width_);
  if (indexed) {
    keys_ = std::move(*diff.all_keys_);
  }
  const size_t size = suite_->hash_size;
  for (TreeDiff::Change& change : diff.changes_) {
    if (change.node >= node_count()) {
      continue;  // cut off
    }
    std::copy_n(change.hash.begin(), size,
                hashes_.begin() + static_cast<ptrdiff_t>(change.node * size));
    if (!change.content) {
      continue;
    }
    if (is_leaf(change.node)) {
      leaves_[leaf_of(change.node)] = std::move(change.leaf);
      if (!indexed) {
        index_leaf(leaf_of(change.node));
      }
    } else {
      parents_[change.node / 2] = std::move(change.parent);
      if (!indexed) {
        index_parent(change.node);
      }
    }
  }
  member_count_ = diff.member_count_;
  last_leaf_ = diff.last_leaf_;
  first_free_ = diff.first_free_;
  credentials_ = std::move(diff.credentials_);
  std::erase_if(credentials_, [](const CredentialUse& use) { return use.members == 0; });
}

size_t RatchetTree::encoded_size() const { return TreeDiff(*this).encoded_size(); }

Bytes RatchetTree::encode() const { return TreeDiff(*this).encode(); }

size_t TreeDiff::encoded_size() const {
  size_t nodes = 0;
  for (NodeIndex node = 0; node <= leaf_node(last_leaf_); ++node) {
    if (is_leaf(node)) {
      const Leaf* here = leaf(leaf_of(node)).get();
      nodes += here == nullptr ? 1 : 2 + here->encoded().size();
    } else if (const Parent* here = parent(node)) {
      nodes += 2 + vector_size(here->encryption_key.size()) +
               vector_size(here->parent_hash.size()) +
               vector_size(here->unmerged_leaves.size() * sizeof(LeafIndex));
    } else {
      nodes += 1;
    }
  }
  return vector_size(nodes);
}

Bytes TreeDiff::encode() const {
  Bytes out;
  out.reserve(encoded_size() + 4);
  TreeEncoder encoder(*this, out);
  Budget budget = Budget::unlimited();
  encoder.step(budget);
  return out;
}

TreeEncoder::TreeEncoder(const TreeDiff& tree, Bytes& out)
    : tree_(&tree), writer_(out), content_(writer_.begin_vector()) {}

bool TreeEncoder::step(Budget& budget) {
  for (; next_node_ <= leaf_node(tree_->last_leaf()); ++next_node_) {
    if (budget.take(1, 1) == 0) {
      return false;
    }
    write_node(next_node_);
  }
  if (!done_) {
    writer_.end_vector(content_);
    done_ = true;
  }
  return true;
}

void TreeEncoder::write_node(NodeIndex node) {
  if (is_leaf(node)) {
    const Leaf* here = tree_->leaf(leaf_of(node)).get();
    writer_.write_integer(here != nullptr, 1);
    if (here != nullptr) {
      writer_.write_integer(kLeafNodeType, 1);
      writer_.write_bytes(here->encoded());
    }
    return;
  }
  const Parent* here = tree_->parent(node);
  writer_.write_integer(here != nullptr, 1);
  if (here != nullptr) {
    writer_.write_integer(kParentNodeType, 1);
    write_parent(writer_, *here, {});
  }
}

size_t RatchetTree::memory_bytes() const {
  constexpr size_t kControlBlock = 16;
  size_t bytes = leaves_.capacity() * sizeof(LeafPtr) +
                 parents_.capacity() * sizeof(parents_[0]) + hashes_.capacity() +
                 keys_.memory_bytes();
  for (const LeafPtr& leaf : leaves_) {
    bytes += leaf == nullptr ? 0 : leaf->memory_bytes() + kControlBlock;
  }
  for (const auto& parent : parents_) {
    bytes += parent == nullptr ? 0
                               : sizeof(Parent) + kControlBlock +
                                     parent->unmerged_leaves.capacity() * sizeof(LeafIndex);
  }
  return bytes;
}

}  // namespace slipway::mls
