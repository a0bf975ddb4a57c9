// The commit itself and the epoch that it leads to, once proposals and path are done.
#include <algorithm>

#include "group/commit_build.h"

namespace slipway::mls {

Result<bool> CommitBuild::do_epoch_phase(Budget& budget) {
  switch (phase_) {
    case Phase::kEncode: return encode_proposals(budget);
    case Phase::kSign: {
      if (!signing_) {
        signing_.emplace(sign_content_steps(group_->signer, wire_format_, content(),
                                            group_->now.encoded_context));
      }
      MLS_ASSIGN(const bool done, signing_->step(budget));
      if (done) {
        signature_ = signing_->signature();
        signing_.reset();
      }
      return done;
    }
    case Phase::kTranscript: {
      if (!hashing_) {
        hashing_.emplace(confirmed_transcript_steps(*group_->suite, group_->now.interim_transcript_hash,
                                                    wire_format_, content(), signature_));
      }
      if (!hashing_->step(budget)) {
        return false;
      }
      confirmed_hash_ = hashing_->finish();
      hashing_.reset();
      return true;
    }
    case Phase::kEpoch: {
      MLS_TRY(make_epoch());
      budget.draw(Budget::kPublicKeyOp);
      return true;
    }
    case Phase::kSummary: {
      summarise();
      budget.draw(staged_->summary.added.size() / 16);
      return true;
    }
    case Phase::kTag: {
      if (wire_format_ != WireFormat::kPublicMessage || external_) {
        return true;
      }
      if (!hashing_) {
        hashing_.emplace(membership_tag_steps(*group_->suite, group_->now.secrets.membership_key, content(),
                                              auth(), group_->now.encoded_context));
      }
      return hashing_->step(budget);
    }
    default: {
      MLS_TRY(write_message());
      budget.draw(message_.size() / Budget::kCopiedBytes);
      return true;
    }
  }
}

bool CommitBuild::encode_proposals(Budget& budget) {
  constexpr uint8_t kProposal = 1;
  constexpr uint8_t kReference = 2;
  constexpr size_t kEncodeCost = 2;
  const std::vector<Candidate>& all = applier_->list().all;
  Writer writer(commit_);
  if (next_ == 0) {
    constexpr size_t kProposalBytes = 64;
    constexpr size_t kSealedBytes = 256;
    commit_.reserve(packages_.size() + all.size() * kProposalBytes + sealed_path_.size() * kSealedBytes);
    proposals_begin_ = writer.begin_vector();
  }
  for (; next_ < all.size(); ++next_) {
    if (budget.take(1, kEncodeCost) == 0) {
      return false;
    }
    if (all[next_].by_reference) {
      writer(kReference, all[next_].ref);
    } else {
      writer(kProposal, *all[next_].proposal);
    }
  }
  writer.end_vector(proposals_begin_);
  encode_path();
  budget.draw(sealed_path_.size() / 8);
  return true;
}

void CommitBuild::encode_path() {
  Writer writer(commit_);
  writer.write_integer(has_path_, 1);
  if (!has_path_) {
    return;
  }
  writer.write_bytes(leaf_->encoded());
  const size_t list = writer.begin_vector();
  size_t at = 0;
  for (uint32_t step = 0; step < path_.steps.size(); ++step) {
    writer.write_vector(path_.derived.keys[step].public_key());
    const size_t ciphertexts = writer.begin_vector();
    for (; at < recipients_.size() && recipients_[at].step == step; ++at) {
      writer(sealed_path_[at].enc, sealed_path_[at].ciphertext);
    }
    writer.end_vector(ciphertexts);
  }
  writer.end_vector(list);
}

ContentView CommitBuild::content() const {
  ContentView view = own_content(*group_, ContentType::kCommit, commit_, authenticated_data_);
  if (external_) {
    view.sender = {SenderType::kNewMemberCommit, 0};
  }
  return view;
}

AuthView CommitBuild::auth() const { return {signature_, staged_->next.confirmation_tag}; }

Status CommitBuild::make_epoch() {
  const Suite& suite = *group_->suite;
  ResolvedPsks psks;
  MLS_TRY(resolve_psks(group_, group_->config.psks, applier_->list().psk_ids(), psks));
  encoded_psks_.clear();
  Writer psk_writer(encoded_psks_);
  psk_writer(psks.ids);
  GroupContext context = group_->now.context;
  ++context.epoch;
  context.tree_hash = to_bytes(diff().root_hash());
  context.extensions = applier_->extensions();
  context.confirmed_transcript_hash = to_bytes(confirmed_hash_);
  Secret commit_secret =
      has_path_ ? std::move(path_.derived.commit_secret) : Secret::zeros(suite.hash_size);
  Secret init_secret =
      external_ ? std::move(external_->init_secret) : group_->now.secrets.init_secret.clone();
  NextEpoch next = next_epoch(suite, std::move(context), std::move(init_secret),
                              std::move(commit_secret), psks.fold(suite), diff().width(),
                              group_->limits());
  staged_ = std::make_unique<StagedState>(group_->tree);
  staged_->token = token_;
  staged_->next = std::move(next.state);
  joiner_secret_ = std::move(next.joiner_secret);
  welcome_secret_ = std::move(next.welcome_secret);
  return {};
}

void CommitBuild::summarise() {
  CommitSummary& summary = staged_->summary;
  summary.epoch = group_->epoch() + 1;
  summary.sender = content().sender;
  summary.committer = self_;
  summary.has_path = has_path_;
  summary.authenticated_data = authenticated_data_;
  std::vector<LeafIndex> joiners = sorted_joiners_;
  if (external_) {
    joiners.insert(std::ranges::lower_bound(joiners, self_), self_);
  }
  summarise_members(diff(), joiners, summary);
  summarise_list(applier_->list(), summary);
}

// A PrivateMessage is sealed with the ratchet's next key, which is used up when the message is handed out.
Status CommitBuild::write_message() {
  const Suite& suite = *group_->suite;
  message_.clear();
  if (wire_format_ == WireFormat::kPublicMessage) {
    HashValue tag;
    if (hashing_) {
      tag = hashing_->finish();
      hashing_.reset();
    }
    return write_public_tagged(content(), auth(), tag, message_);
  }
  if (wire_format_ != WireFormat::kPrivateMessage) {
    return fail(ErrorCode::kInvalidArgument,
                "making a commit: neither PublicMessage nor PrivateMessage");
  }
  SecretTree& messages = group_->now.messages;
  const uint64_t generation = messages.next_generation(self_, RatchetKind::kHandshake);
  if (generation > UINT32_MAX) {
    return fail(ErrorCode::kWrongState, "making a commit: all generations are used");
  }
  MLS_ASSIGN(message_key_, messages.find(self_, RatchetKind::kHandshake, static_cast<uint32_t>(generation)));
  const size_t padding = group_->policy->padding(ContentType::kCommit, commit_.size());
  return seal_private(suite, content(), auth(), group_->now.secrets.sender_data_secret,
                      message_key_->message_key, padding, *group_->random, message_);
}

Result<CommitResult> CommitBuild::finish(std::unique_ptr<StagedState>& staged) {
  if (message_key_) {
    SecretTree& messages = group_->now.messages;
    if (messages.next_generation(self_, RatchetKind::kHandshake) != message_key_->message_key.generation) {
      MLS_TRY(write_message());  // a proposal of ours took the key meanwhile
    }
    messages.accept(std::move(*message_key_));
    group_->changes.note({group_->epoch(), self_, RatchetKind::kHandshake});
  }
  CommitResult result;
  result.commit = std::move(message_);
  result.welcome = std::move(welcome_);
  if (!result.welcome.empty() && !options_.tree_in_welcome) {
    result.tree = std::move(tree_);
  }
  result.epoch = staged_->next.context.epoch;
  result.added = applier_->joiners();
  result.left_out = std::move(left_out_);
  std::ranges::move(applier_->left_out(), std::back_inserter(result.left_out));
  if (has_path_) {
    staged_->keys.push_back({node_math::leaf_node(self_), std::move(leaf_key_)});
    for (size_t i = 0; i < path_.steps.size(); ++i) {
      staged_->keys.push_back({path_.steps[i].node, std::move(path_.derived.keys[i])});
    }
    if (leaf_signer_) {
      staged_->signer = std::move(*leaf_signer_);
    }
  }
  staged_->diff = std::move(diff());
  staged = std::move(staged_);
  return result;
}

}  // namespace slipway::mls
