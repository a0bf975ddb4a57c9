#include "key_schedule/secret_tree.h"

#include <unordered_map>

namespace slipway::mls {

StoredKey::StoredKey(const MessageKey& key) : generation_(key.generation), bytes_{} {
  assert(key.key.size() <= kMaxKeyBytes && key.nonce.size() == kAeadNonceBytes);
  std::copy_n(key.key.data(), key.key.size(), bytes_.data());
  std::copy_n(key.nonce.data(), kAeadNonceBytes, bytes_.data() + kMaxKeyBytes);
}

StoredKey::StoredKey(StoredKey&& other) noexcept
    : generation_(other.generation_), bytes_(other.bytes_) {
  wipe(other.bytes_);
}

StoredKey& StoredKey::operator=(StoredKey&& other) noexcept {
  if (this != &other) {
    generation_ = other.generation_;
    bytes_ = other.bytes_;
    wipe(other.bytes_);
  }
  return *this;
}

MessageKey StoredKey::load(const Suite& suite) const {
  View bytes(bytes_);
  return {Secret(bytes.first(suite.aead_key_size)), Secret(bytes.subspan(kMaxKeyBytes)), generation_};
}

namespace {

constexpr uint64_t kGenerations = uint64_t{1} << 32;

struct Ratchet {
  Secret secret;                    // of `generation`; empty once all are used
  uint64_t generation = 0;
  std::vector<StoredKey> skipped;   // by generation, ascending
};

struct Leaf {
  std::array<Ratchet, 2> ratchets;  // by RatchetKind
};

// When each skipped key was stored, over all ratchets. Entries of keys that are gone stay until they
// come to the front or the queue is tidied.
struct StoredAt {
  uint32_t leaf;
  RatchetKind kind;
  uint32_t generation;
};

// A queue of them that takes no memory while it is empty, as a deque would.
class StoreOrder {
 public:
  bool empty() const { return first_ == entries_.size(); }
  size_t size() const { return entries_.size() - first_; }
  auto begin() const { return entries_.begin() + static_cast<ptrdiff_t>(first_); }
  auto end() const { return entries_.end(); }
  void push_back(const StoredAt& entry) { entries_.push_back(entry); }
  StoredAt take_front() {
    const StoredAt front = entries_[first_++];
    if (first_ > 1024 && first_ * 2 > entries_.size()) {
      erase_if([](const StoredAt&) { return false; });
    }
    return front;
  }
  template <class Unwanted>
  void erase_if(Unwanted&& unwanted) {
    entries_.erase(entries_.begin(), begin());
    first_ = 0;
    std::erase_if(entries_, unwanted);
  }

 private:
  std::vector<StoredAt> entries_;
  size_t first_ = 0;
};

// Of Limits, what a tree must remember.
struct TreeLimits {
  size_t generations_ahead;
  size_t skipped_per_ratchet;
  size_t skipped_per_epoch;
  explicit TreeLimits(const Limits& limits = kDefaultLimits)
      : generations_ahead(limits.generations_ahead),
        skipped_per_ratchet(limits.skipped_per_ratchet),
        skipped_per_epoch(limits.skipped_per_epoch) {}
};

MessageKey message_key(const Suite& suite, View secret, uint32_t generation) {
  return {derive_tree_secret(suite, secret, "key", generation, suite.aead_key_size),
          derive_tree_secret(suite, secret, "nonce", generation, kAeadNonceBytes), generation};
}
Secret next_secret(const Suite& suite, View secret, uint32_t generation) {
  return derive_tree_secret(suite, secret, "secret", generation, suite.hash_size);
}

std::vector<StoredKey>::iterator find_stored(Ratchet& ratchet, uint32_t generation) {
  auto at = std::lower_bound(ratchet.skipped.begin(), ratchet.skipped.end(), generation,
                             [](const StoredKey& key, uint32_t g) { return key.generation() < g; });
  return at != ratchet.skipped.end() && at->generation() == generation ? at : ratchet.skipped.end();
}

// Index in an array tree of the node at `level` above a leaf (appendix C).
uint32_t ancestor(uint32_t leaf, unsigned level) {
  return ((leaf >> level) << (level + 1)) + (1u << level) - 1;
}

std::unexpected<Error> bad_snapshot() {
  return fail(ErrorCode::kBadSnapshot, "restoring a secret tree: the snapshot is damaged");
}

}  // namespace

struct SecretTree::State {
  const Suite* suite;
  TreeLimits limits;
  uint32_t leaf_count = 0;
  std::unordered_map<uint32_t, Secret> nodes;  // not split yet, by node index
  std::unordered_map<uint32_t, Leaf> leaves;   // that have sent
  StoreOrder order;
  size_t stored = 0;

  unsigned root_level() const {
    unsigned level = 0;
    while ((uint64_t{1} << level) < leaf_count) {
      ++level;
    }
    return level;
  }

  // The ratchets of a leaf, made on the first use; null if the leaf is out of range.
  Leaf* leaf(uint32_t index) {
    auto at = leaves.find(index);
    return at != leaves.end() ? &at->second : index < leaf_count ? split_to(index) : nullptr;
  }
  const Leaf* leaf_if_any(uint32_t index) const {
    auto at = leaves.find(index);
    return at != leaves.end() ? &at->second : nullptr;
  }

  Leaf* split_to(uint32_t index);
  void store(uint32_t leaf_index, RatchetKind kind, Ratchet& ratchet, std::vector<StoredKey> keys);
  void drop_oldest();
  bool is_stored(const StoredAt& entry);
  void tidy_order();
};

// Takes the secret of the lowest ancestor that is left, and leaves those of the siblings on the way.
Leaf* SecretTree::State::split_to(uint32_t index) {
  unsigned level = 0;
  auto at = nodes.find(ancestor(index, 0));
  while (at == nodes.end() && level < root_level()) {
    at = nodes.find(ancestor(index, ++level));
  }
  if (at == nodes.end()) {
    return nullptr;  // a restored tree that lacks a part
  }
  Secret secret = std::move(at->second);
  nodes.erase(at);
  while (level > 0) {
    --level;
    uint32_t own = ancestor(index, level);
    uint32_t sibling = ancestor(index ^ (1u << level), level);
    std::string_view own_side = own < sibling ? "left" : "right";
    std::string_view other_side = own < sibling ? "right" : "left";
    nodes[sibling] = expand_with_label(*suite, secret, "tree", as_view(other_side), suite->hash_size);
    secret = expand_with_label(*suite, secret, "tree", as_view(own_side), suite->hash_size);
  }
  Leaf& made = leaves[index];
  made.ratchets[0].secret = expand_with_label(*suite, secret, "handshake", {}, suite->hash_size);
  made.ratchets[1].secret = expand_with_label(*suite, secret, "application", {}, suite->hash_size);
  return &made;
}

void SecretTree::State::store(uint32_t leaf_index, RatchetKind kind, Ratchet& ratchet,
                              std::vector<StoredKey> keys) {
  for (StoredKey& key : keys) {
    order.push_back({leaf_index, kind, key.generation()});
    ratchet.skipped.push_back(std::move(key));
    ++stored;
  }
  if (ratchet.skipped.size() > limits.skipped_per_ratchet) {
    size_t excess = ratchet.skipped.size() - limits.skipped_per_ratchet;
    ratchet.skipped.erase(ratchet.skipped.begin(),
                          ratchet.skipped.begin() + static_cast<ptrdiff_t>(excess));
    stored -= excess;
  }
  while (stored > limits.skipped_per_epoch && !order.empty()) {
    drop_oldest();
  }
  if (order.size() > 2 * stored + 1024) {
    tidy_order();
  }
}

void SecretTree::State::drop_oldest() {
  const StoredAt oldest = order.take_front();
  Ratchet& ratchet = leaves.at(oldest.leaf).ratchets[static_cast<size_t>(oldest.kind)];
  auto at = find_stored(ratchet, oldest.generation);
  if (at != ratchet.skipped.end()) {
    ratchet.skipped.erase(at);
    --stored;
  }
}

bool SecretTree::State::is_stored(const StoredAt& entry) {
  auto at = leaves.find(entry.leaf);
  if (at == leaves.end()) {
    return false;
  }
  Ratchet& ratchet = at->second.ratchets[static_cast<size_t>(entry.kind)];
  return find_stored(ratchet, entry.generation) != ratchet.skipped.end();
}

void SecretTree::State::tidy_order() {
  order.erase_if([this](const StoredAt& entry) { return !is_stored(entry); });
}

SecretTree::SecretTree() = default;
SecretTree::~SecretTree() = default;
SecretTree::SecretTree(SecretTree&&) noexcept = default;
SecretTree& SecretTree::operator=(SecretTree&&) noexcept = default;

SecretTree::SecretTree(const Suite& suite, Secret encryption_secret, uint32_t leaf_count,
                       const Limits& limits)
    : state_(std::make_unique<State>()) {
  assert(leaf_count > 0 && leaf_count <= (1u << 30) && encryption_secret.size() == suite.hash_size);
  state_->suite = &suite;
  state_->limits = TreeLimits(limits);
  state_->leaf_count = leaf_count;
  state_->nodes[ancestor(0, state_->root_level())] = std::move(encryption_secret);
}

uint32_t SecretTree::leaf_count() const { return state_ ? state_->leaf_count : 0; }
size_t SecretTree::skipped_keys() const { return state_ ? state_->stored : 0; }

Result<MessageKey> SecretTree::next(uint32_t leaf_index, RatchetKind kind) {
  Leaf* leaf = state_ ? state_->leaf(leaf_index) : nullptr;
  if (leaf == nullptr) {
    return fail(ErrorCode::kInvalidSender, "taking a message key: the leaf is not in the tree");
  }
  Ratchet& ratchet = leaf->ratchets[static_cast<size_t>(kind)];
  if (ratchet.generation >= kGenerations) {
    return fail(ErrorCode::kWrongState, "taking a message key: all generations are used, commit first");
  }
  uint32_t generation = static_cast<uint32_t>(ratchet.generation);
  MessageKey key = message_key(*state_->suite, ratchet.secret, generation);
  ratchet.secret = next_secret(*state_->suite, ratchet.secret, generation);
  ++ratchet.generation;
  return key;
}

uint64_t SecretTree::next_generation(uint32_t leaf_index, RatchetKind kind) const {
  const Leaf* leaf = state_ ? state_->leaf_if_any(leaf_index) : nullptr;
  return leaf != nullptr ? leaf->ratchets[static_cast<size_t>(kind)].generation : 0;
}

Result<FoundKey> SecretTree::find(uint32_t leaf_index, RatchetKind kind, uint32_t generation) {
  Leaf* leaf = state_ ? state_->leaf(leaf_index) : nullptr;
  if (leaf == nullptr) {
    return fail(ErrorCode::kInvalidSender, "finding a message key: the leaf is not in the tree");
  }
  const Suite& suite = *state_->suite;
  Ratchet& ratchet = leaf->ratchets[static_cast<size_t>(kind)];
  FoundKey found;
  found.leaf = leaf_index;
  found.kind = kind;
  if (generation < ratchet.generation) {
    auto stored = find_stored(ratchet, generation);
    if (stored == ratchet.skipped.end()) {
      return fail(ErrorCode::kGenerationGone,
                  "finding a message key: its generation was used, or is too old");
    }
    found.message_key = stored->load(suite);
    found.from_skipped = true;
    return found;
  }
  uint64_t ahead = generation - ratchet.generation;
  if (ahead > state_->limits.generations_ahead) {
    return fail(ErrorCode::kGenerationTooFarAhead,
                "finding a message key: its generation is too far ahead");
  }
  found.skipped.reserve(ahead);
  Secret secret = ratchet.secret.clone();
  for (uint32_t i = static_cast<uint32_t>(ratchet.generation); i != generation; ++i) {
    found.skipped.emplace_back(message_key(suite, secret, i));
    secret = next_secret(suite, secret, i);
  }
  found.message_key = message_key(suite, secret, generation);
  found.next_secret = next_secret(suite, secret, generation);
  return found;
}

void SecretTree::accept(FoundKey found) {
  Leaf* leaf = state_->leaf(found.leaf);
  assert(leaf != nullptr);
  Ratchet& ratchet = leaf->ratchets[static_cast<size_t>(found.kind)];
  uint32_t generation = found.message_key.generation;
  if (found.from_skipped) {
    auto stored = find_stored(ratchet, generation);
    if (stored != ratchet.skipped.end()) {
      ratchet.skipped.erase(stored);
      --state_->stored;
    }
    return;
  }
  assert(generation >= ratchet.generation &&
         found.skipped.size() == generation - ratchet.generation);
  ratchet.secret = std::move(found.next_secret);
  ratchet.generation = uint64_t{generation} + 1;
  if (!found.skipped.empty()) {
    state_->store(found.leaf, found.kind, ratchet, std::move(found.skipped));
  }
}

// --- Snapshot ---

namespace {

void write_ratchet(SecretWriter& writer, const Suite& suite, const Ratchet& ratchet) {
  writer(ratchet.generation, ratchet.secret);
  size_t list = writer.begin_vector();
  for (const StoredKey& stored : ratchet.skipped) {
    MessageKey key = stored.load(suite);
    writer(key.generation, key.key, key.nonce);
  }
  writer.end_vector(list);
}

// Bounds that are tighter now than when the snapshot was made cost the oldest keys, not the snapshot.
Status read_ratchet(Reader& reader, const Suite& suite, const TreeLimits& limits, Ratchet& ratchet) {
  View secret, list;
  reader(ratchet.generation, secret, list);
  if (!reader.ok() || secret.size() != suite.hash_size || ratchet.generation > kGenerations) {
    return bad_snapshot();
  }
  ratchet.secret = Secret(secret);
  Reader keys(list);
  while (!keys.at_end()) {
    uint32_t generation = 0;
    View key, nonce;
    keys(generation, key, nonce);
    bool ascends = ratchet.skipped.empty() || ratchet.skipped.back().generation() < generation;
    if (!keys.ok() || key.size() != suite.aead_key_size || nonce.size() != kAeadNonceBytes || !ascends ||
        generation >= ratchet.generation) {
      return bad_snapshot();
    }
    ratchet.skipped.emplace_back(MessageKey{Secret(key), Secret(nonce), generation});
  }
  if (ratchet.skipped.size() > limits.skipped_per_ratchet) {
    ratchet.skipped.erase(ratchet.skipped.begin(),
                          ratchet.skipped.end() - static_cast<ptrdiff_t>(limits.skipped_per_ratchet));
  }
  return {};
}

}  // namespace

void SecretTree::save(SecretWriter& writer) const {
  writer(state_->leaf_count);
  size_t list = writer.begin_vector();
  for (const auto& [index, secret] : state_->nodes) {
    writer(index, secret);
  }
  writer.end_vector(list);
  list = writer.begin_vector();
  for (const auto& [index, leaf] : state_->leaves) {
    writer(index);
    write_ratchet(writer, *state_->suite, leaf.ratchets[0]);
    write_ratchet(writer, *state_->suite, leaf.ratchets[1]);
  }
  writer.end_vector(list);
  list = writer.begin_vector();
  for (const StoredAt& entry : state_->order) {
    if (state_->is_stored(entry)) {
      writer(entry.leaf, entry.kind, entry.generation);
    }
  }
  writer.end_vector(list);
}

Result<SecretTree> SecretTree::restore(const Suite& suite, Reader& reader, const Limits& limits) {
  MLS_ASSIGN(Restore restoring, Restore::start(suite, reader, limits));
  Budget budget = Budget::unlimited();
  MLS_TRY(restoring.step(budget));
  return restoring.take();
}

Result<SecretTree::Restore> SecretTree::Restore::start(const Suite& suite, Reader& reader,
                                                       const Limits& limits) {
  Restore made;
  made.tree_.state_ = std::make_unique<State>();
  State& state = *made.tree_.state_;
  state.suite = &suite;
  state.limits = TreeLimits(limits);
  View node_list, leaf_list, order_list;
  reader(state.leaf_count, node_list, leaf_list, order_list);
  if (!reader.ok() || state.leaf_count == 0 || state.leaf_count > (1u << 30)) {
    return bad_snapshot();
  }
  made.nodes_ = Reader(node_list);
  made.leaves_ = Reader(leaf_list);
  made.entries_ = Reader(order_list);
  return made;
}

Result<bool> SecretTree::Restore::step(Budget& budget) {
  constexpr size_t kLeafCost = 3;
  State& state = *tree_.state_;
  const auto read_all = [&](Reader& reader, size_t cost, auto read) -> Result<bool> {
    while (!reader.at_end()) {
      if (budget.take(1, cost) == 0) {
        return false;
      }
      const size_t stored = state.stored;
      MLS_TRY((this->*read)());
      budget.draw(state.stored - stored);
    }
    return true;
  };
  MLS_ASSIGN(bool done, read_all(nodes_, 1, &Restore::read_node));
  if (done) {
    MLS_ASSIGN(done, read_all(leaves_, kLeafCost, &Restore::read_leaf));
  }
  if (done) {
    MLS_ASSIGN(done, read_all(entries_, 1, &Restore::read_entry));
  }
  if (!done) {
    return false;
  }
  if (state.order.size() != state.stored) {
    return bad_snapshot();
  }
  while (state.stored > state.limits.skipped_per_epoch && !state.order.empty()) {
    state.drop_oldest();
  }
  return true;
}

Status SecretTree::Restore::read_node() {
  uint32_t index = 0;
  View secret;
  nodes_(index, secret);
  if (!nodes_.ok() || secret.size() != tree_.state_->suite->hash_size) {
    return bad_snapshot();
  }
  tree_.state_->nodes[index] = Secret(secret);
  return {};
}

Status SecretTree::Restore::read_leaf() {
  State& state = *tree_.state_;
  uint32_t index = 0;
  leaves_(index);
  if (!leaves_.ok() || index >= state.leaf_count || state.leaves.contains(index)) {
    return bad_snapshot();
  }
  for (Ratchet& ratchet : state.leaves[index].ratchets) {
    MLS_TRY(read_ratchet(leaves_, *state.suite, state.limits, ratchet));
    state.stored += ratchet.skipped.size();
  }
  return {};
}

Status SecretTree::Restore::read_entry() {
  StoredAt entry{};
  entries_(entry.leaf, entry.kind, entry.generation);
  if (!entries_.ok() || entry.kind > RatchetKind::kApplication) {
    return bad_snapshot();
  }
  if (tree_.state_->is_stored(entry)) {
    tree_.state_->order.push_back(entry);
  }
  return {};
}

void SecretTree::save_ratchet(uint32_t leaf_index, RatchetKind kind, SecretWriter& writer) const {
  const Leaf* leaf = state_->leaf_if_any(leaf_index);
  assert(leaf != nullptr);
  writer(leaf_index, kind);
  write_ratchet(writer, *state_->suite, leaf->ratchets[static_cast<size_t>(kind)]);
}

Status SecretTree::restore_ratchet(Reader& reader) {
  uint32_t leaf_index = 0;
  RatchetKind kind{};
  reader(leaf_index, kind);
  Leaf* leaf = reader.ok() && kind <= RatchetKind::kApplication ? state_->leaf(leaf_index) : nullptr;
  if (leaf == nullptr) {
    return bad_snapshot();
  }
  Ratchet restored;
  MLS_TRY(read_ratchet(reader, *state_->suite, state_->limits, restored));
  Ratchet& ratchet = leaf->ratchets[static_cast<size_t>(kind)];
  state_->stored -= ratchet.skipped.size();
  ratchet.secret = std::move(restored.secret);
  ratchet.generation = restored.generation;
  ratchet.skipped.clear();
  state_->order.erase_if([&](const StoredAt& entry) {
    return entry.leaf == leaf_index && entry.kind == kind;
  });
  state_->store(leaf_index, kind, ratchet, std::move(restored.skipped));
  return {};
}

}  // namespace slipway::mls
