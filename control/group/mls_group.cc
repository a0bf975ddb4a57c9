#include "group/mls_group.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "group/secret_bytes.h"
#include "key_schedule/framing.h"
#include "session/session_bounds.h"
#include "wire/header_protection.h"

namespace slipway {

namespace {

constexpr std::uint64_t kKeyPackageLifetime_s = 365 * 86'400;
constexpr std::uint64_t kClockTolerance_s = 60;       // a joiner's clock may be ahead of ours, as upstream allows
constexpr std::size_t kKeyPackagesKept = 8;           // given out and not used; the oldest go first
constexpr mls::LeafIndex kModeratorLeaf = 0;          // who creates the group, and alone commits
constexpr std::size_t kMaxCiphertextBytes = kMaxSessionPayloadBytes + kMaxSessionPayloadBytes / 8 + (64u << 10);  // padding, headers

mls::View view(const Bytes& bytes) { return {reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()}; }
mls::View view(const SharedBytes& bytes) { return bytes ? view(*bytes) : mls::View{}; }
SharedBytes shared(mls::View bytes) {
  const auto* data = reinterpret_cast<const std::byte*>(bytes.data());
  return std::make_shared<const Bytes>(data, data + bytes.size());
}

const mls::Suite* suite_for(const mls::SignatureKey& key) {
  constexpr std::size_t kEd25519KeyBytes = 32;
  return mls::find_suite(key.public_key().size() == kEd25519KeyBytes ? mls::CipherSuite::kX25519Aes128Sha256Ed25519
                                                                     : mls::CipherSuite::kP256Aes128Sha256P256);
}

mls::Limits session_limits() {
  mls::Limits limits;
  limits.application_message_bytes = kMaxCiphertextBytes;
  limits.handshake_message_bytes = kMaxCiphertextBytes;
  limits.tree_leaves = 2 * kMaxSessionMembers;
  limits.welcome_secrets = kMaxSessionMembers;
  limits.proposals_per_commit = 2 * kMaxSessionMembers;
  limits.generations_ahead = 8'192;  // a sender that repeats what is lost on the way uses up a key each time
  return limits;
}

}  // namespace

MlsGroup::MlsGroup(GroupIdentity& identity, const MlsGroupOptions& options)
    : identity_(identity),
      options_(options),
      suite_(suite_for(identity.signature_key())),
      policy_(std::make_unique<MlsPolicy>(identity, options.strict_expiry)) {
  config_.policy = policy_.get();
  config_.random = options.random;
  config_.parallel = options.parallel;
  config_.hasten_senders = options.hasten_senders;
  config_.limits = session_limits();
}

std::unexpected<std::string> MlsGroup::failed(const std::string& doing, const mls::Error& error) {
  const std::string why = policy_->take_refusal();
  return std::unexpected(doing + ": " + error.text + " (" + std::string(mls::error_name(error.code)) + ")" + (why.empty() ? "" : ": " + why));
}

template <class Operation>
mls::Status MlsGroup::run(Operation& operation) {
  for (;;) {
    MLS_ASSIGN(const bool done, operation.step(options_.step_operations));
    if (done) {
      return {};
    }
    if (options_.between_steps) {
      options_.between_steps();
    }
  }
}

mls::LeafOptions MlsGroup::own_leaf() {
  return {mls::basic_credential(mls::as_view(identity_.fresh_token())), mls::simple_capabilities({suite_->id}), {}};
}

// A fresh token, and the key that is in it.
mls::LeafChange MlsGroup::fresh_leaf() {
  mls::LeafChange change{.credential = mls::basic_credential(mls::as_view(identity_.fresh_token()))};
  const mls::SignatureKey& key = identity_.signature_key();
  if (group_ && !std::ranges::equal(group_->member(group_->own_leaf())->signature_key(), key.public_key())) {
    change.signer = &key;
  }
  return change;
}

// --- the moderator -----------------------------------------------------------------------------------------------

std::expected<void, std::string> MlsGroup::create() {
  auto created = mls::Group::create(config_, {.suite = suite_,
                                              .signer = &identity_.signature_key(),
                                              .leaf = own_leaf(),
                                              .lifetime = mls::lifetime_from(identity_.now_s(), kKeyPackageLifetime_s)});
  if (!created) {
    return failed("creating the group", created.error());
  }
  group_ = std::move(*created);
  senders_.clear();
  return {};
}

NameId MlsGroup::owner_at(mls::LeafIndex index, const mls::LeafPtr& leaf) {
  if (index >= senders_.size()) {
    senders_.resize(index + 1);
  }
  Sender& known = senders_[index];
  if (known.leaf != leaf) {
    known = {leaf, policy_->owner_of(*leaf)};
  }
  return known.id;
}

std::optional<mls::LeafIndex> MlsGroup::leaf_of(NameId owner) {
  for (mls::LeafIndex index = 0; group_ && index < group_->leaf_count(); ++index) {
    if (const mls::LeafPtr& leaf = group_->member(index); leaf && owner_at(index, leaf) == owner) {
      return index;
    }
  }
  return std::nullopt;
}

// The key package must belong to the name that it came from; everything else the group checks.
std::expected<void, std::string> MlsGroup::check_joiner(const JoiningMember& member) {
  const std::string doing = "letting in " + member.name.shown();
  const auto package = mls::decode_key_package(view(member.key_package), config_.limits);
  if (!package) {
    return failed(doing, package.error());
  }
  const NameId owner = policy_->owner_of(*mls::Leaf::from(package->leaf_node));
  if (owner.is_null() || owner != member.name.id()) {
    const std::string why = policy_->take_refusal();
    return std::unexpected(doing + ": its key package is of another identity" + (why.empty() ? "" : ": " + why));
  }
  return {};
}

std::expected<GroupCommit, std::string> MlsGroup::commit(mls::CommitOptions options, const std::string& doing) {
  if (!group_) {
    return std::unexpected(doing + ": there is no group yet");
  }
  policy_->trim();
  options.now_s = identity_.now_s() + kClockTolerance_s;
  auto operation = group_->start_commit(options);
  if (!operation) {
    return failed(doing, operation.error());
  }
  if (auto done = run(*operation); !done) {
    return failed(doing, done.error());
  }
  auto result = operation->finish();
  if (!result) {
    return failed(doing, result.error());
  }
  if (auto accepted = group_->accept_commit(); !accepted) {
    return failed(doing, accepted.error());
  }
  return GroupCommit{shared(result->commit), result->welcome.empty() ? nullptr : shared(result->welcome)};
}

std::expected<GroupCommit, std::string> MlsGroup::add(std::span<const JoiningMember> members) {
  mls::CommitOptions options;
  for (const JoiningMember& member : members) {
    if (const auto leaf = member.returns ? leaf_of(member.name.id()) : std::nullopt) {
      options.remove.push_back(*leaf);
      options.leaf = fresh_leaf();
    }
    if (auto fits = check_joiner(member); !fits) {
      return std::unexpected(std::move(fits.error()));
    }
    options.add.push_back(view(member.key_package));
  }
  return commit(std::move(options), members.size() == 1 ? "letting in " + members.front().name.shown() : "letting in members");
}

std::expected<GroupCommit, std::string> MlsGroup::remove(const FullName& member) {
  const std::string doing = "taking out " + member.shown();
  const auto leaf = leaf_of(member.id());
  if (!leaf) {
    return GroupCommit{};
  }
  mls::CommitOptions options;
  options.remove = {*leaf};
  options.leaf = fresh_leaf();
  return commit(std::move(options), doing);
}

std::expected<GroupCommit, std::string> MlsGroup::replace(const JoiningMember& member) {
  const std::string doing = "letting in again " + member.name.shown();
  const auto leaf = leaf_of(member.name.id());
  if (!leaf) {
    return std::unexpected(doing + ": it has no leaf in the group");
  }
  if (auto fits = check_joiner(member); !fits) {
    return std::unexpected(std::move(fits.error()));
  }
  mls::CommitOptions options;
  options.add = {view(member.key_package)};
  options.remove = {*leaf};
  options.leaf = fresh_leaf();
  return commit(std::move(options), doing);
}

std::expected<GroupCommit, std::string> MlsGroup::refresh() {
  mls::CommitOptions options;
  options.leaf = fresh_leaf();
  return commit(std::move(options), "renewing our keys");
}

// --- a participant -----------------------------------------------------------------------------------------------

std::expected<SharedBytes, std::string> MlsGroup::key_package() {
  mls::Random& random = config_.random != nullptr ? *config_.random : mls::system_random();
  auto made = mls::make_key_package(*suite_, identity_.signature_key(), own_leaf(),
                                    mls::lifetime_from(identity_.now_s(), kKeyPackageLifetime_s), random);
  if (!made) {
    return failed("making a key package", made.error());
  }
  if (key_packages_.size() >= kKeyPackagesKept) {
    key_packages_.erase(key_packages_.begin());
  }
  key_packages_.push_back(std::make_unique<mls::PrivateKeyPackage>(std::move(*made)));
  return shared(key_packages_.back()->message);
}

// Nobody reads along who is on no roster.
std::optional<mls::LeafIndex> MlsGroup::stranger_among(std::span<const mls::MemberChange> leaves, std::span<const FullName> listed) {
  if (leaves.empty()) {
    return std::nullopt;
  }
  std::vector<NameId> ids;
  for (const FullName& member : listed) {
    ids.push_back(member.id());
  }
  const auto less = [](const NameId& a, const NameId& b) { return std::tie(a.high, a.low) < std::tie(b.high, b.low); };
  std::ranges::sort(ids, less);
  for (const mls::MemberChange& in : leaves) {
    const NameId owner = policy_->owner_of(*in.after);
    if (owner.is_null() || !std::ranges::binary_search(ids, owner, less)) {
      return in.index;
    }
  }
  return std::nullopt;
}

std::unexpected<std::string> MlsGroup::stranger(const std::string& doing, mls::LeafIndex leaf) {
  return std::unexpected(doing + ": leaf " + std::to_string(leaf) + " belongs to nobody whom the moderator has named as a member");
}

std::expected<void, std::string> MlsGroup::join(const Bytes& welcome, std::span<const FullName> members) {
  const std::string doing = "joining";
  policy_->trim();
  std::vector<const mls::PrivateKeyPackage*> packages;
  for (const auto& package : key_packages_) {
    packages.push_back(package.get());
  }
  auto operation = mls::Group::start_join(config_, {.now_s = identity_.now_s(),
                                                    .welcome = view(welcome),
                                                    .key_packages = packages,
                                                    .signer = &identity_.signature_key()});
  if (!operation) {
    return failed(doing, operation.error());
  }
  if (auto done = run(*operation); !done) {
    return failed(doing, done.error());
  }
  const std::size_t used = operation->key_package_used();
  auto joined = operation->finish();
  if (!joined) {
    return failed(doing, joined.error());
  }
  std::vector<mls::MemberChange> leaves;
  for (mls::LeafIndex index = 0; index < joined->leaf_count(); ++index) {
    if (const mls::LeafPtr& leaf = joined->member(index)) {
      leaves.push_back({index, nullptr, leaf});
    }
  }
  if (const auto unknown = stranger_among(leaves, members)) {
    return stranger(doing, *unknown);
  }
  group_ = std::move(*joined);
  senders_.clear();
  key_packages_.erase(key_packages_.begin() + static_cast<std::ptrdiff_t>(used));
  return {};
}

std::expected<CommitEffect, std::string> MlsGroup::process(const Bytes& commit, std::span<const FullName> named) {
  const std::string doing = "following a commit";
  if (!group_) {
    return std::unexpected(doing + ": there is no group yet");
  }
  policy_->trim();
  auto operation = group_->start_process(view(commit), identity_.now_s());
  if (!operation) {
    return failed(doing, operation.error());
  }
  if (auto done = run(*operation); !done) {
    return failed(doing, done.error());
  }
  auto incoming = operation->finish();
  if (!incoming) {
    return failed(doing, incoming.error());
  }
  auto* staged = std::get_if<mls::StagedCommit>(&*incoming);
  if (staged == nullptr || staged->summary().sender.type != mls::SenderType::kMember || staged->summary().committer != kModeratorLeaf) {
    return std::unexpected(doing + ": it is no commit of the moderator");
  }
  if (const auto unknown = stranger_among(staged->summary().added, named)) {
    return stranger(doing, *unknown);
  }
  const bool removed = staged->summary().removes_me;
  if (auto applied = group_->apply(std::move(*staged)); !applied) {
    return failed(doing, applied.error());
  }
  return removed ? CommitEffect::kRemovedSelf : CommitEffect::kNewEpoch;
}

// --- over a restart ------------------------------------------------------------------------------------------------

SharedBytes MlsGroup::save() {
  if (!group_) {
    return nullptr;
  }
  const mls::SecretBytes snapshot = group_->save();
  return secret_bytes(snapshot);
}

std::expected<void, std::string> MlsGroup::restore(const Bytes& saved) {
  const std::string doing = "restoring the group";
  auto operation = mls::Group::start_restore(config_, view(saved));
  if (!operation) {
    return failed(doing, operation.error());
  }
  if (auto done = run(*operation); !done) {
    return failed(doing, done.error());
  }
  auto restored = operation->finish();
  if (!restored) {
    return failed(doing, restored.error());
  }
  if (!restored->active() || restored->suite().id != suite_->id) {
    return std::unexpected(doing + ": it is over, or its cipher suite is not that of our key");
  }
  group_ = std::move(*restored);
  senders_.clear();
  return {};
}

// --- data ----------------------------------------------------------------------------------------------------------

std::expected<void, std::string> MlsGroup::protect(SessionMessage& message) {
  auto* content = std::get_if<AppPayload>(&message.payload);
  if (!group_ || content == nullptr) {
    return std::unexpected("encrypting a message: there is no group yet, or it is no message");
  }
  message.identity = identity_.token();
  const std::string headers = header_aad(message);
  if (auto done = group_->protect(view(content->blob), mls::as_view(headers), scratch_); !done) {
    return failed("encrypting a message", done.error());
  }
  content->blob = shared(scratch_);
  return {};
}

std::expected<std::uint64_t, std::string> MlsGroup::unprotect(SessionMessage& message) {
  const char* doing = "decrypting a message";
  auto* content = std::get_if<AppPayload>(&message.payload);
  if (!group_ || content == nullptr) {
    return std::unexpected(std::string(doing) + ": there is no group yet, or it is no message");
  }
  const mls::View sealed = view(content->blob);
  const auto peek = mls::peek_message(sealed, config_.limits);
  if (!peek || peek->wire_format != mls::WireFormat::kPrivateMessage) {
    return std::unexpected(std::string(doing) + ": it is not encrypted");
  }
  const auto outside = mls::read_private(peek->body, config_.limits);
  if (!outside) {
    return failed(doing, outside.error());
  }
  if (!mls::equal(outside->authenticated_data, mls::as_view(header_aad(message)))) {
    return std::unexpected(std::string(doing) + ": its headers are not those that it was sent with");
  }
  mls::MessageInfo info;
  if (auto opened = group_->unprotect(sealed, scratch_, info); !opened) {
    return failed(doing, opened.error());
  }
  if (owner_at(info.sender, info.leaf) != message.source.id()) {
    return std::unexpected(std::string(doing) + ": it was encrypted by another member than it says");
  }
  content->blob = shared(scratch_);
  return info.epoch;
}

}  // namespace slipway
