#include "fake_group.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <string>
#include <tuple>

namespace slipway::sim {

namespace {

enum class Kind : std::uint64_t { kSaved = 0x5341, kKeyPackage = 0x4b50, kCommit = 0x434d, kWelcome = 0x5745, kData = 0x4441 };

class Writer {
 public:
  explicit Writer(Kind kind) { put(static_cast<std::uint64_t>(kind)); }
  void put(std::uint64_t value) {
    const auto at = bytes_.size();
    bytes_.resize(at + sizeof value);
    std::memcpy(bytes_.data() + at, &value, sizeof value);
  }
  void put(const Name& name) {
    for (const std::uint64_t component : name.component) {
      put(component);
    }
    put(name.id.high);
    put(name.id.low);
  }
  void put(std::span<const std::byte> bytes) { bytes_.insert(bytes_.end(), bytes.begin(), bytes.end()); }
  SharedBytes take() { return std::make_shared<const Bytes>(std::move(bytes_)); }

 private:
  Bytes bytes_;
};

class Reader {
 public:
  explicit Reader(std::span<const std::byte> bytes) : bytes_(bytes) {}
  std::uint64_t number() {
    std::uint64_t value = 0;
    if (bytes_.size() < sizeof value) {
      ok_ = false;
      return 0;
    }
    std::memcpy(&value, bytes_.data(), sizeof value);
    bytes_ = bytes_.subspan(sizeof value);
    return value;
  }
  Name name() {
    Name name;
    for (std::uint64_t& component : name.component) {
      component = number();
    }
    name.id.high = number();
    name.id.low = number();
    return name;
  }
  [[nodiscard]] bool is(Kind kind) { return number() == static_cast<std::uint64_t>(kind) && ok_; }
  [[nodiscard]] bool ok() const { return ok_; }
  [[nodiscard]] std::span<const std::byte> rest() const { return bytes_; }

 private:
  std::span<const std::byte> bytes_;
  bool ok_ = true;
};

constexpr std::uint64_t kMost = 4'096;  // leaves that a message may list

std::uint64_t mix(std::uint64_t a, std::uint64_t b) {
  std::uint64_t z = (a ^ (b + 0x9E3779B97F4A7C15u + (a << 6) + (a >> 2))) * 0xBF58476D1CE4E5B9u;
  return z ^ (z >> 29);
}

std::uint64_t headers_hash(const SessionMessage& m) {
  std::uint64_t hash = NameHash{}(m.source.hashed());
  hash = mix(hash, NameHash{}(m.destination.hashed()));
  hash = mix(hash, static_cast<std::uint64_t>(m.type) << 8 | static_cast<std::uint64_t>(m.session_type));
  return mix(hash, std::uint64_t{m.session_id} << 32 | m.message_id);
}

}  // namespace

const FakeGroup::Leaf* FakeGroup::leaf_of(const Epoch& epoch, const Name& name) const {
  const auto at = std::ranges::find(epoch.leaves, name, &Leaf::name);
  return at == epoch.leaves.end() ? nullptr : &*at;
}

void FakeGroup::enter(Epoch epoch) {
  epochs_.push_back(std::move(epoch));
  if (epochs_.size() > kKeptEpochs) {
    const std::uint64_t oldest = epochs_[1].number;
    std::erase_if(opened_, [oldest](const auto& key) { return std::get<0>(key) < oldest; });
    epochs_.pop_front();
  }
}

void FakeGroup::log() {
  if (log_ != nullptr) {
    std::vector<Name> members;
    for (const Leaf& leaf : epochs_.back().leaves) {
      members.push_back(leaf.name);
    }
    log_->note(group_id_, epochs_.back().secret, std::move(members));
  }
}

void GroupLog::breach(const FullName& source, const Name& reader, std::uint64_t epoch) {
  breaches_ += hashed_text(reader) + " opened data of " + source.shown() + " of epoch " + std::to_string(epoch) + "; ";
}

void GroupLog::encrypted(std::uint64_t secret, std::uint64_t leaf, std::uint64_t generation) {
  if (!used_.emplace(secret, leaf, generation).second) {
    breaches_ += "a key was used twice, generation " + std::to_string(generation) + "; ";
  }
}

bool GroupLog::was_member(std::uint64_t group, std::uint64_t secret, const Name& name) const {
  const auto at = log_.find({group, secret});
  return at != log_.end() && std::ranges::find(at->second, name) != at->second.end();
}

std::expected<void, std::string> FakeGroup::create() {
  group_id_ = random_.next64() | 1;
  own_key_ = random_.next64();
  enter({0, random_.next64(), {{self_, own_key_}}});
  log();
  return {};
}

std::expected<GroupCommit, std::string> FakeGroup::commit(Change change, bool welcome) {
  const Epoch& now = epochs_.back();
  Epoch next{now.number + 1, 0, now.leaves};
  const std::uint64_t nonce = random_.next64();
  next.secret = mix(now.secret, nonce);
  Writer commit(Kind::kCommit);
  commit.put(group_id_);
  commit.put(now.number);
  commit.put(mix(now.secret, 1));  // only members of this epoch can have made it
  commit.put(nonce);
  for (const auto& list : {change.out, change.in}) {
    commit.put(list.size());
    for (const Leaf& leaf : list) {
      commit.put(leaf.name);
      commit.put(leaf.key);
    }
  }
  for (const Leaf& leaf : change.out) {
    std::erase_if(next.leaves, [&](const Leaf& l) { return l.key == leaf.key; });
  }
  next.leaves.insert(next.leaves.end(), change.in.begin(), change.in.end());
  GroupCommit result{commit.take(), nullptr};
  if (welcome) {
    Writer out(Kind::kWelcome);
    out.put(group_id_);
    out.put(next.number);
    out.put(next.secret);
    out.put(change.in.size());
    for (const Leaf& leaf : change.in) {
      out.put(leaf.key);
    }
    out.put(next.leaves.size());
    for (const Leaf& leaf : next.leaves) {
      out.put(leaf.name);
      out.put(leaf.key);
    }
    result.welcome = out.take();
  }
  enter(std::move(next));
  log();
  return result;
}

std::expected<GroupCommit, std::string> FakeGroup::add(std::span<const JoiningMember> members) {
  if (refuses()) {
    return std::unexpected("in no mood");
  }
  if (epochs_.empty()) {
    return std::unexpected("no group yet");
  }
  Change change;
  for (const JoiningMember& member : members) {
    Reader package(member.key_package ? std::span<const std::byte>(*member.key_package) : std::span<const std::byte>{});
    if (!package.is(Kind::kKeyPackage) || !(package.name() == member.name.hashed())) {
      return std::unexpected("the key package is not of this member");
    }
    if (const Leaf* leaf = leaf_of(epochs_.back(), member.name.hashed())) {
      if (!member.returns) {
        return std::unexpected("the member has a leaf already");
      }
      change.out.push_back(*leaf);
    }
    change.in.push_back({member.name.hashed(), package.number()});
    if (!package.ok()) {
      return std::unexpected("the key package is cut off");
    }
  }
  return commit(std::move(change), true);
}

std::expected<GroupCommit, std::string> FakeGroup::remove(const FullName& member) {
  const Leaf* leaf = epochs_.empty() ? nullptr : leaf_of(epochs_.back(), member.hashed());
  if (epochs_.empty() || refuses()) {
    return std::unexpected("no group yet, or in no mood");
  }
  return leaf == nullptr ? GroupCommit{} : commit({{*leaf}, {}}, false);
}

std::expected<GroupCommit, std::string> FakeGroup::replace(const JoiningMember& member) {
  if (refuses()) {
    return std::unexpected("in no mood");
  }
  const Leaf* leaf = epochs_.empty() ? nullptr : leaf_of(epochs_.back(), member.name.hashed());
  Reader package(member.key_package ? std::span<const std::byte>(*member.key_package) : std::span<const std::byte>{});
  if (leaf == nullptr || !package.is(Kind::kKeyPackage) || !(package.name() == member.name.hashed())) {
    return std::unexpected("no leaf of this member, or a key package of another");
  }
  const std::uint64_t key = package.number();
  if (!package.ok()) {
    return std::unexpected("the key package is cut off");
  }
  return commit({{*leaf}, {{member.name.hashed(), key}}}, true);
}

std::expected<GroupCommit, std::string> FakeGroup::refresh() {
  if (refuses()) {
    return std::unexpected("in no mood");
  }
  if (epochs_.empty()) {
    return std::unexpected("no group yet");
  }
  const Leaf old{self_, own_key_};
  const std::uint64_t key = random_.next64();
  auto result = commit({{old}, {{self_, key}}}, false);
  own_key_ = key;
  generation_ = 0;
  return result;
}

std::expected<SharedBytes, std::string> FakeGroup::key_package() {
  const std::uint64_t key = random_.next64();
  key_packages_.push_back(key);
  if (key_packages_.size() > 8) {
    key_packages_.erase(key_packages_.begin());
  }
  Writer out(Kind::kKeyPackage);
  out.put(self_);
  out.put(key);
  return out.take();
}

std::expected<void, std::string> FakeGroup::join(const Bytes& welcome, std::span<const FullName> members) {
  Reader in(welcome);
  if (!in.is(Kind::kWelcome)) {
    return std::unexpected("no welcome");
  }
  const std::uint64_t group = in.number();
  Epoch epoch{in.number(), 0, {}};
  epoch.secret = in.number();
  std::optional<std::uint64_t> key;
  for (std::uint64_t i = 0, count = std::min(in.number(), kMost); i < count && in.ok(); ++i) {
    const std::uint64_t candidate = in.number();
    if (std::ranges::find(key_packages_, candidate) != key_packages_.end()) {
      key = candidate;
    }
  }
  for (std::uint64_t i = 0, count = std::min(in.number(), kMost); i < count && in.ok(); ++i) {
    const Name name = in.name();
    epoch.leaves.push_back({name, in.number()});
  }
  if (!in.ok() || !key) {
    return std::unexpected("the welcome is for no key package of ours");
  }
  const auto listed = [&](const Leaf& leaf) { return std::ranges::any_of(members, [&](const FullName& m) { return m.hashed() == leaf.name; }); };
  if (!std::ranges::all_of(epoch.leaves, listed)) {
    return std::unexpected("somebody has a leaf and is no member");
  }
  std::erase(key_packages_, *key);
  if (group != group_id_) {
    epochs_.clear();
    opened_.clear();
  }
  group_id_ = group;
  own_key_ = *key;
  generation_ = 0;
  removed_ = false;
  enter(std::move(epoch));
  return {};
}

std::expected<CommitEffect, std::string> FakeGroup::process(const Bytes& bytes, std::span<const FullName> named) {
  Reader in(bytes);
  if (!in.is(Kind::kCommit) || epochs_.empty() || removed_) {
    return std::unexpected("no commit, or no member");
  }
  const Epoch& now = epochs_.back();
  if (in.number() != group_id_ || in.number() != now.number || in.number() != mix(now.secret, 1)) {
    return std::unexpected("a commit of another group or epoch");
  }
  Epoch next{now.number + 1, mix(now.secret, in.number()), now.leaves};
  bool removed = false;
  for (std::uint64_t i = 0, count = std::min(in.number(), kMost); i < count && in.ok(); ++i) {
    in.name();
    const std::uint64_t key = in.number();
    removed = removed || key == own_key_;
    std::erase_if(next.leaves, [key](const Leaf& leaf) { return leaf.key == key; });
  }
  for (std::uint64_t i = 0, count = std::min(in.number(), kMost); i < count && in.ok(); ++i) {
    const Name name = in.name();
    next.leaves.push_back({name, in.number()});
    if (std::ranges::none_of(named, [&](const FullName& m) { return m.hashed() == name; })) {
      return std::unexpected("somebody gets a leaf and is no member");
    }
  }
  if (!in.ok()) {
    return std::unexpected("the commit is cut off");
  }
  removed_ = removed;
  if (removed_) {
    return CommitEffect::kRemovedSelf;
  }
  enter(std::move(next));
  return CommitEffect::kNewEpoch;
}

SharedBytes FakeGroup::save() {
  if (epochs_.empty()) {
    return nullptr;
  }
  const Epoch& now = epochs_.back();  // what was sent in earlier epochs opens no more
  Writer out(Kind::kSaved);
  for (const std::uint64_t value : {group_id_, own_key_, generation_, now.number, now.secret, std::uint64_t{now.leaves.size()}}) {
    out.put(value);
  }
  for (const Leaf& leaf : now.leaves) {
    out.put(leaf.name);
    out.put(leaf.key);
  }
  return out.take();
}

std::expected<void, std::string> FakeGroup::restore(const Bytes& saved) {
  Reader in(saved);
  if (!in.is(Kind::kSaved)) {
    return std::unexpected("no saved group");
  }
  group_id_ = in.number();
  own_key_ = in.number();
  generation_ = in.number();
  Epoch epoch{in.number(), 0, {}};
  epoch.secret = in.number();
  for (std::uint64_t i = 0, count = std::min(in.number(), kMost); i < count && in.ok(); ++i) {
    const Name name = in.name();
    epoch.leaves.push_back({name, in.number()});
  }
  if (!in.ok()) {
    return std::unexpected("the saved group is cut off");
  }
  epochs_ = {std::move(epoch)};
  return {};
}

std::expected<void, std::string> FakeGroup::protect(SessionMessage& message) {
  auto* content = std::get_if<AppPayload>(&message.payload);
  if (epochs_.empty() || removed_ || content == nullptr) {
    return std::unexpected("no member of a group");
  }
  const Epoch& now = epochs_.back();
  message.identity = "fake";
  Writer out(Kind::kData);
  out.put(group_id_);
  out.put(now.number);
  out.put(own_key_);
  out.put(++generation_);
  if (log_ != nullptr) {
    log_->encrypted(now.secret, own_key_, generation_);
  }
  out.put(mix(now.secret, headers_hash(message)));
  if (content->blob) {
    out.put(std::span<const std::byte>(*content->blob));
  }
  content->blob = out.take();
  return {};
}

std::expected<std::uint64_t, std::string> FakeGroup::unprotect(SessionMessage& message) {
  auto* content = std::get_if<AppPayload>(&message.payload);
  if (content == nullptr || !content->blob || removed_) {
    return std::unexpected("nothing to decrypt, or no member");
  }
  Reader in(*content->blob);
  if (!in.is(Kind::kData) || in.number() != group_id_) {
    return std::unexpected("not of this group");
  }
  const std::uint64_t number = in.number();
  const std::uint64_t key = in.number();
  const std::uint64_t generation = in.number();
  const std::uint64_t tag = in.number();
  const auto epoch = std::ranges::find(epochs_, number, &Epoch::number);
  if (!in.ok() || epoch == epochs_.end()) {
    return std::unexpected("of another epoch");
  }
  const Leaf* leaf = leaf_of(*epoch, message.source.hashed());
  if (leaf == nullptr || leaf->key != key || tag != mix(epoch->secret, headers_hash(message))) {
    return std::unexpected("forged");
  }
  if (!opened_.emplace(number, key, generation).second) {
    return std::unexpected("opened before");
  }
  if (log_ != nullptr && (!log_->was_member(group_id_, epoch->secret, self_) || !log_->was_member(group_id_, epoch->secret, message.source.hashed()))) {
    log_->breach(message.source, self_, number);
  }
  content->blob = std::make_shared<const Bytes>(in.rest().begin(), in.rest().end());
  return number;
}

}  // namespace slipway::sim
