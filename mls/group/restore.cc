// Restoring groups from snapshots, step by step.
#include <algorithm>

#include "base/phases.h"
#include "group/snapshot.h"

namespace slipway::mls {

namespace {

std::unexpected<Error> bad_snapshot() {
  return fail(ErrorCode::kBadSnapshot, "restoring a group: not a snapshot of this version, or damaged");
}

// The reader's errors stick.
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

// All of an epoch but its secret tree, which follows.
Status read_epoch_head(Reader& reader, const Suite& suite, EpochState& epoch) {
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
  return {};
}

Status read_epoch(Reader& reader, const Suite& suite, EpochState& epoch) {
  MLS_TRY(read_epoch_head(reader, suite, epoch));
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

// A snapshot's head, what lies behind it, and the check sum.
struct Opened {
  SnapshotKind kind{};
  const Suite* suite = nullptr;
  View body;
  View summed;
  View sum;
};

Result<Opened> open_snapshot(View bytes) {
  Reader reader(bytes);
  Opened opened;
  uint32_t magic = 0;
  uint8_t version = 0;
  CipherSuite id{};
  reader(magic, version, opened.kind, id);
  opened.suite = find_suite(id);
  if (!reader.ok() || magic != kSnapshotMagic || version != kSnapshotVersion || opened.suite == nullptr ||
      (opened.kind != SnapshotKind::kWhole && opened.kind != SnapshotKind::kChanges) ||
      reader.remaining() < opened.suite->hash_size) {
    return bad_snapshot();
  }
  opened.sum = bytes.last(opened.suite->hash_size);
  opened.summed = bytes.first(bytes.size() - opened.sum.size());
  opened.body = reader.rest().first(reader.remaining() - opened.sum.size());
  return opened;
}

}  // namespace

struct RestoreBuild {
  enum class Phase : uint8_t {
    kSums,
    kHead,
    kMessages,
    kKeys,
    kTree,
    kHashes,
    kResumption,
    kPast,
    kWaiting,
    kChanges,
    kClients,
    kDone
  };

  std::unique_ptr<GroupState> group;
  Phase phase = Phase::kSums;
  size_t next = 0;                 // position within a phase
  std::vector<SecretBytes> files;  // the whole snapshot, and the changes after it
  std::vector<Opened> parts;       // of `files`
  std::optional<LongHash> summing;
  Reader reader{{}};               // of the whole
  std::optional<SecretTree::Restore> messages;
  std::optional<TreeDecoder> tree;
  // While a past epoch is read.
  Reader past_list{{}};
  std::optional<PastEpoch> past;
  Reader replaced{{}};

  Status start(const GroupConfig& config, View snapshot, std::span<const View> later);
  Result<bool> step(Budget& budget);
  Result<bool> do_phase(Budget& budget);
  Result<bool> check_sums(Budget& budget);
  Status read_head();
  Status read_own_keys();
  Status read_resumption();
  Result<bool> read_past(Budget& budget);
  Result<bool> read_one_past(Budget& budget);
  Status read_rest();
  Result<bool> index_clients(Budget& budget);
};

Status RestoreBuild::start(const GroupConfig& config, View snapshot, std::span<const View> later) {
  const auto take = [&](View bytes) -> Status {
    MLS_ASSIGN(const Opened opened, open_snapshot(bytes));
    if (opened.kind == SnapshotKind::kWhole) {
      files.clear();  // all before it is of no interest
    } else if (files.empty()) {
      return bad_snapshot();
    }
    files.emplace_back(bytes.begin(), bytes.end());
    return {};
  };
  MLS_TRY(take(snapshot));
  for (const View bytes : later) {
    MLS_TRY(take(bytes));
  }
  for (const SecretBytes& file : files) {
    MLS_ASSIGN(Opened opened, open_snapshot(file));
    parts.push_back(opened);
  }
  group = std::make_unique<GroupState>(config, *parts[0].suite);
  reader = Reader(parts[0].body, group->config.limits);
  return {};
}

Result<bool> RestoreBuild::step(Budget& budget) {
  return run_phases(phase, budget, [this](Budget& left) { return do_phase(left); }, &next);
}

Result<bool> RestoreBuild::do_phase(Budget& budget) {
  switch (phase) {
    case Phase::kSums: return check_sums(budget);
    case Phase::kHead: {
      MLS_TRY(read_head());
      return true;
    }
    case Phase::kMessages: {
      if (!messages) {
        return true;
      }
      MLS_ASSIGN(const bool done, messages->step(budget));
      if (done) {
        group->now.messages = messages->take();
        messages.reset();
      }
      return done;
    }
    case Phase::kKeys: {
      MLS_TRY(read_own_keys());
      budget.draw((group->keys.keys().size() + 1) * Budget::kPublicKeyOp);
      return true;
    }
    case Phase::kTree: {
      MLS_ASSIGN(const bool done, tree->step(budget));
      if (done) {
        group->tree = tree->take();
        tree.reset();
      }
      return done;
    }
    case Phase::kHashes: return group->tree.hash_some(budget.units());
    case Phase::kResumption: {
      MLS_TRY(read_resumption());
      return true;
    }
    case Phase::kPast: return read_past(budget);
    case Phase::kWaiting: {
      MLS_TRY(read_rest());
      return true;
    }
    case Phase::kChanges: {
      for (; next + 1 < parts.size(); ++next) {
        if (budget.take(1, Budget::kPublicKeyOp) == 0) {
          return false;
        }
        MLS_TRY(apply_changes(*group, parts[next + 1].body));
      }
      return true;
    }
    case Phase::kClients: return index_clients(budget);
    case Phase::kDone: break;
  }
  return true;
}

Result<bool> RestoreBuild::check_sums(Budget& budget) {
  for (; next < parts.size(); ++next) {
    const Opened& part = parts[next];
    if (!summing) {
      summing.emplace(part.suite->kdf).add(part.summed);
    }
    if (!summing->step(budget)) {
      return false;
    }
    if (!equal(summing->finish(), part.sum)) {
      return bad_snapshot();
    }
    summing.reset();
  }
  return true;
}

Status RestoreBuild::read_head() {
  const Suite& suite = *group->suite;
  group->active = read_flag(reader);
  reader(group->reinit);
  if (read_flag(reader)) {
    MLS_TRY(read_epoch_head(reader, suite, group->now));
    MLS_ASSIGN(messages, SecretTree::Restore::start(suite, reader, group->config.limits));
  } else {
    reader(group->now.context);
    group->active = false;
  }
  return reader.status();
}

Status RestoreBuild::read_own_keys() {
  const Suite& suite = *group->suite;
  LeafIndex self = 0;
  reader(self);
  group->keys = PrivatePath(self);
  std::vector<NodeKey> keys;
  MLS_TRY(read_keys(reader, suite, keys));
  group->keys.reserve(keys.size());
  for (NodeKey& key : keys) {
    group->keys.set(key.node, std::move(key.key));
  }
  std::optional<SignatureKey> signer;
  MLS_TRY(read_signer(reader, suite, signer));
  if (signer) {
    group->signer = std::move(*signer);
  }
  const View encoded = reader.read_vector();
  MLS_TRY(reader.status());
  tree.emplace(suite, group->config.limits);
  return tree->start(encoded);
}

Status RestoreBuild::read_resumption() {
  const bool member = !group->now.messages.empty();
  if (member && (!equal(group->tree.root_hash(), group->now.context.tree_hash) ||
                 group->tree.leaf(group->self()) == nullptr || !group->signer)) {
    return bad_snapshot();
  }
  Reader resumption(reader.read_vector(), group->limits());
  while (!resumption.at_end()) {
    const uint64_t epoch = resumption.read_integer(8);
    group->resumption.push_back({epoch, read_secret(resumption, group->suite->hash_size)});
    MLS_TRY(resumption.status());
  }
  past_list = Reader(reader.read_vector(), group->limits());
  return reader.status();
}

Result<bool> RestoreBuild::read_past(Budget& budget) {
  while (past || !past_list.at_end()) {
    MLS_ASSIGN(const bool done, read_one_past(budget));
    if (!done) {
      return false;
    }
    group->past.push_back(std::move(*past));
    past.reset();
  }
  MLS_TRY(past_list.status());
  return true;
}

Result<bool> RestoreBuild::read_one_past(Budget& budget) {
  const Suite& suite = *group->suite;
  if (!past) {
    past.emplace();
    past_list(past->epoch, past->encoded_context);
    past->sender_data_secret = read_secret(past_list, suite.hash_size);
    MLS_TRY(past_list.status());
    MLS_ASSIGN(messages, SecretTree::Restore::start(suite, past_list, group->config.limits));
  }
  if (messages) {
    MLS_ASSIGN(const bool done, messages->step(budget));
    if (!done) {
      return false;
    }
    past->messages = messages->take();
    messages.reset();
    replaced = Reader(past_list.read_vector(), group->limits());
  }
  while (!replaced.at_end()) {
    if (budget.take(1, 1) == 0) {
      return false;
    }
    LeafIndex index = 0;
    View encoded;
    replaced(index, encoded);
    MLS_TRY(replaced.status());
    LeafPtr leaf;
    if (!encoded.empty()) {
      MLS_ASSIGN(leaf, Leaf::parse(encoded, group->limits()));
    }
    past->replaced.emplace_back(index, std::move(leaf));
  }
  MLS_TRY(past_list.status());
  return true;
}

Status RestoreBuild::read_rest() {
  if (read_flag(reader)) {
    PredecessorLink link;
    reader(link.usage, link.group_id, link.epoch);
    link.psk = read_secret(reader, group->suite->hash_size);
    group->predecessor = std::move(link);
  }
  const View waiting = reader.read_vector();
  MLS_TRY(reader.finish());
  return read_waiting(waiting, *group);
}

Result<bool> RestoreBuild::index_clients(Budget& budget) {
  for (; next < group->tree.width(); ++next) {
    if (budget.take(1, 1) == 0) {
      return false;
    }
    group->index_client(static_cast<LeafIndex>(next));
  }
  return true;
}

RestoreOperation::RestoreOperation(std::unique_ptr<RestoreBuild> build) : build_(std::move(build)) {}
RestoreOperation::~RestoreOperation() = default;
RestoreOperation::RestoreOperation(RestoreOperation&&) noexcept = default;
RestoreOperation& RestoreOperation::operator=(RestoreOperation&&) noexcept = default;

Result<bool> RestoreOperation::step(size_t public_key_ops) {
  if (build_ == nullptr) {
    return fail(ErrorCode::kWrongState, "restoring a group: finished before");
  }
  Budget budget = Budget::public_key_ops(public_key_ops);
  return build_->step(budget);
}

Result<Group> RestoreOperation::finish() {
  if (build_ == nullptr || build_->phase != RestoreBuild::Phase::kDone) {
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
