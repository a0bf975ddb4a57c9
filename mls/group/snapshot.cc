// Snapshots: versioned bytes, with a check sum, of all that a group needs to go on; and the small ones that
// say what has changed since.
#include <algorithm>

#include "group/receive.h"

namespace slipway::mls {

namespace {

constexpr uint32_t kMagic = 0x534d4c53;  // "SMLS"
constexpr uint8_t kVersion = 1;
enum class SnapshotKind : uint8_t { kWhole = 1, kChanges = 2 };
enum class ChangeKind : uint8_t { kRatchet = 1, kWaiting = 2 };

std::unexpected<Error> bad_snapshot() {
  return fail(ErrorCode::kBadSnapshot, "restoring a group: not a snapshot of this version, or damaged");
}

// ---- Writing.

void write_header(SecretWriter& writer, SnapshotKind kind, const Suite& suite) {
  writer(kMagic, kVersion, kind, suite.id);
}

void write_check_sum(const Suite& suite, SecretBytes& out) {
  const HashValue sum = hash(suite, View(out));
  out.insert(out.end(), View(sum).begin(), View(sum).end());
}

void write_epoch(SecretWriter& writer, const EpochState& epoch) {
  const EpochSecrets& secrets = epoch.secrets;
  writer(epoch.context, epoch.interim_transcript_hash, epoch.confirmation_tag,
         secrets.sender_data_secret, secrets.exporter_secret, secrets.epoch_authenticator,
         secrets.external_secret, secrets.confirmation_key, secrets.membership_key,
         secrets.resumption_psk, secrets.init_secret);
  epoch.messages.save(writer);
}

void write_keys(SecretWriter& writer, const std::vector<NodeKey>& keys) {
  const size_t list = writer.begin_vector();
  for (const NodeKey& key : keys) {
    writer(key.node);
    writer.write_vector(key.key.private_key());
  }
  writer.end_vector(list);
}

void write_signer(SecretWriter& writer, const std::optional<SignatureKey>& signer) {
  writer.write_vector(signer ? signer->private_key() : View{});
}

void write_pending(SecretWriter& writer, const PendingCommit& pending) {
  const StagedState& staged = *pending.staged;
  const CommitSummary& summary = staged.summary;
  writer(pending.fingerprint, staged.diff.save());
  write_epoch(writer, staged.next);
  write_keys(writer, staged.keys);
  write_signer(writer, staged.signer);
  std::vector<uint32_t> joiners;
  for (const MemberChange& change : summary.added) {
    joiners.push_back(change.index);
  }
  writer(joiners, summary.committer, static_cast<uint8_t>(summary.has_path),
         summary.authenticated_data, summary.psks, summary.proposal_refs, summary.reinit);
  writer(static_cast<uint8_t>(summary.extensions.has_value()));
  const size_t list = writer.begin_vector();
  for (const UnknownProposal& custom : summary.custom) {
    writer(custom.type, custom.data);
  }
  writer.end_vector(list);
}

// Proposals, own Updates and the own commit that waits.
void write_waiting(SecretWriter& writer, const GroupState& group) {
  const size_t section = writer.begin_vector();
  size_t list = writer.begin_vector();
  for (const Candidate& candidate : group.waiting) {
    writer(candidate.sender, candidate.ref, candidate.authenticated_data, *candidate.proposal);
  }
  writer.end_vector(list);
  list = writer.begin_vector();
  for (const OwnUpdate& update : group.own_updates) {
    writer(update.ref);
    writer.write_vector(update.leaf_key.private_key());
    write_signer(writer, update.signer);
  }
  writer.end_vector(list);
  writer(static_cast<uint8_t>(group.pending.has_value()));
  if (group.pending) {
    write_pending(writer, *group.pending);
  }
  writer.end_vector(section);
}

void write_past(SecretWriter& writer, const GroupState& group) {
  const size_t list = writer.begin_vector();
  for (const PastEpoch& past : group.past) {
    writer(past.epoch, past.encoded_context, past.sender_data_secret);
    past.messages.save(writer);
    const size_t replaced = writer.begin_vector();
    for (const auto& [index, leaf] : past.replaced) {
      writer(index);
      writer.write_vector(leaf != nullptr ? leaf->encoded() : View{});
    }
    writer.end_vector(replaced);
  }
  writer.end_vector(list);
}

void write_whole(SecretWriter& writer, const GroupState& group) {
  writer(static_cast<uint8_t>(group.active), group.reinit);
  const bool has_secrets = !group.now.messages.empty();
  writer(static_cast<uint8_t>(has_secrets));
  if (has_secrets) {
    write_epoch(writer, group.now);
  } else {
    writer(group.now.context);
  }
  writer(group.self());
  write_keys(writer, group.keys.keys());
  writer.write_vector(group.signer.private_key());
  writer(group.tree.encode());
  const size_t list = writer.begin_vector();
  for (const ResumptionSecret& entry : group.resumption) {
    writer(entry.epoch, entry.psk);
  }
  writer.end_vector(list);
  write_past(writer, group);
  writer(static_cast<uint8_t>(group.predecessor.has_value()));
  if (group.predecessor) {
    writer(group.predecessor->usage, group.predecessor->group_id, group.predecessor->epoch,
           group.predecessor->psk);
  }
  write_waiting(writer, group);
}

// ---- Reading. The reader's errors stick; `good` collects what it cannot see.

bool read_flag(Reader& reader) { return reader.read_integer(1) == 1; }

Secret read_secret(Reader& reader, size_t size) {
  const View bytes = reader.read_vector();
  if (bytes.size() != size) {
    reader.fail(ErrorCode::kBadSnapshot, "restoring a group: a secret has a wrong length");
    return {};
  }
  return Secret(bytes);
}

HashValue read_hash(Reader& reader, const Suite& suite) {
  const View bytes = reader.read_vector();
  if (bytes.size() != suite.hash_size) {
    reader.fail(ErrorCode::kBadSnapshot, "restoring a group: a hash has a wrong length");
    return {};
  }
  return HashValue(bytes);
}

Status read_epoch(Reader& reader, const Suite& suite, EpochState& epoch) {
  reader(epoch.context);
  epoch.interim_transcript_hash = read_hash(reader, suite);
  epoch.confirmation_tag = read_hash(reader, suite);
  EpochSecrets& secrets = epoch.secrets;
  for (Secret* secret :
       {&secrets.sender_data_secret, &secrets.exporter_secret, &secrets.epoch_authenticator,
        &secrets.external_secret, &secrets.confirmation_key, &secrets.membership_key,
        &secrets.resumption_psk, &secrets.init_secret}) {
    *secret = read_secret(reader, suite.hash_size);
  }
  MLS_TRY(reader.status());
  epoch.encoded_context = encode(epoch.context);
  MLS_ASSIGN(epoch.messages, SecretTree::restore(suite, reader, reader.limits()));
  return {};
}

Status read_keys(Reader& reader, const Suite& suite, std::vector<NodeKey>& keys) {
  Reader list(reader.read_vector(), reader.limits());
  while (!list.at_end()) {
    NodeIndex node = 0;
    list(node);
    const View bytes = list.read_vector();
    MLS_TRY(list.status());
    MLS_ASSIGN(KemKey key, KemKey::import(suite, bytes));
    keys.push_back({node, std::move(key)});
  }
  return list.status();
}

Status read_signer(Reader& reader, const Suite& suite, std::optional<SignatureKey>& signer) {
  const View bytes = reader.read_vector();
  if (!bytes.empty()) {
    MLS_ASSIGN(signer, SignatureKey::import(suite, bytes));
  }
  return {};
}

Status read_pending(Reader& reader, GroupState& group) {
  const Suite& suite = *group.suite;
  PendingCommit pending;
  pending.fingerprint = read_hash(reader, suite);
  const View diff = reader.read_vector();
  MLS_TRY(reader.status());
  pending.staged = std::make_unique<StagedState>(group.tree);
  StagedState& staged = *pending.staged;
  staged.token = group.token;
  MLS_ASSIGN(staged.diff, TreeDiff::restore(group.tree, diff, reader.limits()));
  MLS_TRY(read_epoch(reader, suite, staged.next));
  MLS_TRY(read_keys(reader, suite, staged.keys));
  MLS_TRY(read_signer(reader, suite, staged.signer));
  CommitSummary& summary = staged.summary;
  std::vector<uint32_t> joiners;
  uint8_t has_path = 0;
  reader(joiners, summary.committer, has_path, summary.authenticated_data, summary.psks,
         summary.proposal_refs, summary.reinit);
  if (read_flag(reader)) {
    summary.extensions = staged.next.context.extensions;
  }
  Reader custom(reader.read_vector(), reader.limits());
  while (!custom.at_end() && custom.ok()) {
    UnknownProposal proposal;
    custom(proposal.type, proposal.data);
    summary.custom.push_back(std::move(proposal));
  }
  MLS_TRY(custom.status());
  summary.has_path = has_path != 0;
  summary.epoch = staged.next.context.epoch;
  summary.sender = {SenderType::kMember, summary.committer};
  summarise_members(staged.diff, joiners, summary);
  if (!equal(staged.diff.root_hash(), staged.next.context.tree_hash)) {
    return bad_snapshot();
  }
  group.pending = std::move(pending);
  return reader.status();
}

Status read_waiting(View section, GroupState& group) {
  Reader reader(section, group.limits());
  group.waiting.clear();
  group.own_updates.clear();
  group.pending.reset();
  Reader list(reader.read_vector(), group.limits());
  while (!list.at_end()) {
    Sender sender;
    auto proposal = std::make_shared<Proposal>();
    View ref;
    Bytes authenticated_data;
    list(sender, ref, authenticated_data, *proposal);
    MLS_TRY(list.status());
    if (ref.size() != group.suite->hash_size) {
      return bad_snapshot();
    }
    Candidate candidate = make_candidate(std::move(proposal), sender);
    candidate.by_reference = true;
    candidate.verified = true;
    candidate.ref.assign(ref);
    candidate.authenticated_data = std::move(authenticated_data);
    group.waiting.push_back(std::move(candidate));
  }
  Reader updates(reader.read_vector(), group.limits());
  while (!updates.at_end()) {
    OwnUpdate update;
    update.ref = read_hash(updates, *group.suite);
    const View key = updates.read_vector();
    MLS_TRY(updates.status());
    MLS_ASSIGN(update.leaf_key, KemKey::import(*group.suite, key));
    MLS_TRY(read_signer(updates, *group.suite, update.signer));
    MLS_TRY(updates.status());
    group.own_updates.push_back(std::move(update));
  }
  if (read_flag(reader)) {
    MLS_TRY(read_pending(reader, group));
  }
  return reader.finish();
}

Status read_past(Reader& reader, GroupState& group) {
  const Suite& suite = *group.suite;
  Reader list(reader.read_vector(), group.limits());
  while (!list.at_end()) {
    PastEpoch past;
    list(past.epoch, past.encoded_context);
    past.sender_data_secret = read_secret(list, suite.hash_size);
    MLS_TRY(list.status());
    MLS_ASSIGN(past.messages, SecretTree::restore(suite, list, group.limits()));
    Reader replaced(list.read_vector(), group.limits());
    while (!replaced.at_end()) {
      LeafIndex index = 0;
      View encoded;
      replaced(index, encoded);
      MLS_TRY(replaced.status());
      LeafPtr leaf;
      if (!encoded.empty()) {
        MLS_ASSIGN(leaf, Leaf::parse(encoded, group.limits()));
      }
      past.replaced.emplace_back(index, std::move(leaf));
    }
    MLS_TRY(replaced.status());
    group.past.push_back(std::move(past));
  }
  return list.status();
}

// Header and check sum; what lies between.
Result<View> open_snapshot(View bytes, SnapshotKind& kind, const Suite*& suite) {
  Reader reader(bytes);
  uint32_t magic = 0;
  uint8_t version = 0;
  CipherSuite id{};
  reader(magic, version, kind, id);
  suite = find_suite(id);
  if (!reader.ok() || magic != kMagic || version != kVersion || suite == nullptr ||
      (kind != SnapshotKind::kWhole && kind != SnapshotKind::kChanges) ||
      reader.remaining() < suite->hash_size) {
    return bad_snapshot();
  }
  const View sum = bytes.last(suite->hash_size);
  if (!equal(hash(*suite, bytes.first(bytes.size() - sum.size())), sum)) {
    return bad_snapshot();
  }
  return reader.rest().first(reader.remaining() - sum.size());
}

Status apply_changes(GroupState& group, View body) {
  Reader reader(body, group.limits());
  while (!reader.at_end()) {
    const auto kind = static_cast<ChangeKind>(reader.read_integer(1));
    if (kind == ChangeKind::kWaiting) {
      const View section = reader.read_vector();
      MLS_TRY(reader.status());
      MLS_TRY(read_waiting(section, group));
    } else if (kind == ChangeKind::kRatchet) {
      const uint64_t epoch = reader.read_integer(8);
      PastEpoch* past = group.past_epoch(epoch);
      if (epoch != group.epoch() && past == nullptr) {
        return bad_snapshot();
      }
      SecretTree& tree = past != nullptr ? past->messages : group.now.messages;
      if (tree.empty()) {
        return bad_snapshot();
      }
      MLS_TRY(tree.restore_ratchet(reader));
    } else {
      return bad_snapshot();
    }
    MLS_TRY(reader.status());
  }
  return {};
}

}  // namespace

SecretBytes Group::save() {
  SecretBytes out;
  out.reserve(state_->tree.encoded_size() + 16384);
  SecretWriter writer(out);
  write_header(writer, SnapshotKind::kWhole, *state_->suite);
  write_whole(writer, *state_);
  write_check_sum(*state_->suite, out);
  state_->changes.clear();
  return out;
}

SecretBytes Group::save_changes() {
  GroupState& group = *state_;
  if (group.changes.whole) {
    return save();
  }
  SecretBytes out;
  out.reserve(1024);
  SecretWriter writer(out);
  write_header(writer, SnapshotKind::kChanges, *group.suite);
  for (const ChangeLog::Ratchet& ratchet : group.changes.ratchets) {
    const PastEpoch* past = group.past_epoch(ratchet.epoch);
    if (past == nullptr && ratchet.epoch != group.epoch()) {
      continue;  // of an epoch that is gone
    }
    writer(ChangeKind::kRatchet, ratchet.epoch);
    const SecretTree& tree = past != nullptr ? past->messages : group.now.messages;
    tree.save_ratchet(ratchet.leaf, ratchet.kind, writer);
  }
  if (group.changes.waiting) {
    writer(ChangeKind::kWaiting);
    write_waiting(writer, group);
  }
  write_check_sum(*group.suite, out);
  group.changes.clear();
  return out;
}

// ---- Restoring.

struct RestoreBuild {
  std::unique_ptr<GroupState> group;
  SecretBytes rest;  // of the whole snapshot: sections that need the hashes
  std::vector<SecretBytes> changes;
  bool done = false;

  Status start(const GroupConfig& config, View snapshot, std::span<const View> later);
  Status read_first(Reader& reader);
  Status finish();
};

Status RestoreBuild::start(const GroupConfig& config, View snapshot, std::span<const View> later) {
  SnapshotKind kind{};
  const Suite* suite = nullptr;
  MLS_ASSIGN(View body, open_snapshot(snapshot, kind, suite));
  if (kind != SnapshotKind::kWhole) {
    return bad_snapshot();
  }
  for (const View bytes : later) {
    const Suite* other = nullptr;
    MLS_ASSIGN(const View next, open_snapshot(bytes, kind, other));
    if (kind == SnapshotKind::kWhole) {
      body = next;
      suite = other;
      changes.clear();
    } else {
      changes.emplace_back(next.begin(), next.end());
    }
  }
  group = std::make_unique<GroupState>(config, *suite);
  Reader reader(body, group->config.limits);
  MLS_TRY(read_first(reader));
  rest.assign(reader.rest().begin(), reader.rest().end());
  return {};
}

Status RestoreBuild::read_first(Reader& reader) {
  const Suite& suite = *group->suite;
  group->active = read_flag(reader);
  reader(group->reinit);
  if (read_flag(reader)) {
    MLS_TRY(read_epoch(reader, suite, group->now));
  } else {
    reader(group->now.context);
    group->active = false;
  }
  LeafIndex self = 0;
  reader(self);
  group->keys = PrivatePath(self);
  std::vector<NodeKey> keys;
  MLS_TRY(read_keys(reader, suite, keys));
  for (NodeKey& key : keys) {
    group->keys.set(key.node, std::move(key.key));
  }
  std::optional<SignatureKey> signer;
  MLS_TRY(read_signer(reader, suite, signer));
  if (signer) {
    group->signer = std::move(*signer);
  }
  const View tree = reader.read_vector();
  MLS_TRY(reader.status());
  MLS_ASSIGN(group->tree, RatchetTree::decode(suite, tree, group->limits()));
  return {};
}

Status RestoreBuild::finish() {
  const Suite& suite = *group->suite;
  const bool member = !group->now.messages.empty();
  if (member && (!equal(group->tree.root_hash(), group->now.context.tree_hash) ||
                 group->tree.leaf(group->self()) == nullptr || !group->signer)) {
    return bad_snapshot();
  }
  Reader reader(rest, group->limits());
  Reader resumption(reader.read_vector(), group->limits());
  while (!resumption.at_end()) {
    const uint64_t epoch = resumption.read_integer(8);
    group->resumption.push_back({epoch, read_secret(resumption, suite.hash_size)});
    MLS_TRY(resumption.status());
  }
  MLS_TRY(read_past(reader, *group));
  if (read_flag(reader)) {
    PredecessorLink link;
    reader(link.usage, link.group_id, link.epoch);
    link.psk = read_secret(reader, suite.hash_size);
    group->predecessor = std::move(link);
  }
  const View waiting = reader.read_vector();
  MLS_TRY(reader.finish());
  MLS_TRY(read_waiting(waiting, *group));
  for (const SecretBytes& body : changes) {
    MLS_TRY(apply_changes(*group, body));
  }
  group->index_clients();
  return {};
}

RestoreOperation::RestoreOperation(std::unique_ptr<RestoreBuild> build) : build_(std::move(build)) {}
RestoreOperation::~RestoreOperation() = default;
RestoreOperation::RestoreOperation(RestoreOperation&&) noexcept = default;
RestoreOperation& RestoreOperation::operator=(RestoreOperation&&) noexcept = default;

Result<bool> RestoreOperation::step(size_t public_key_ops) {
  if (build_ == nullptr) {
    return fail(ErrorCode::kWrongState, "restoring a group: finished before");
  }
  if (build_->done) {
    return true;
  }
  Budget budget = Budget::public_key_ops(public_key_ops);
  if (!build_->group->tree.hash_some(budget.units()) || budget.used_up()) {
    return false;
  }
  MLS_TRY(build_->finish());
  build_->done = true;
  return true;
}

Result<Group> RestoreOperation::finish() {
  if (build_ == nullptr || !build_->done) {
    return fail(ErrorCode::kWrongState, "restoring a group: steps are left to do");
  }
  const std::unique_ptr<RestoreBuild> build = std::move(build_);
  return GroupAccess::make(std::move(build->group));
}

Result<RestoreOperation> Group::start_restore(const GroupConfig& config, View snapshot,
                                              std::span<const View> changes) {
  auto build = std::make_unique<RestoreBuild>();
  MLS_TRY(build->start(config, snapshot, changes));
  return RestoreOperation(std::move(build));
}

Result<Group> Group::restore(const GroupConfig& config, View snapshot,
                             std::span<const View> changes) {
  MLS_ASSIGN(RestoreOperation operation, start_restore(config, snapshot, changes));
  while (true) {
    MLS_ASSIGN(const bool done, operation.step(SIZE_MAX));
    if (done) {
      return operation.finish();
    }
  }
}

}  // namespace slipway::mls
