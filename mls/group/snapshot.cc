// Writing snapshots: versioned bytes, with a check sum, of all that a group needs to go on; and the small ones
// that say what has changed since.
#include "group/snapshot.h"

namespace slipway::mls {

namespace {

void write_header(SecretWriter& writer, SnapshotKind kind, const Suite& suite) {
  writer(kSnapshotMagic, kSnapshotVersion, kind, suite.id);
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

}  // namespace slipway::mls
