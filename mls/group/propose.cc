// Proposals of ours, and those from outside a group (RFC 9420, 12.1).
#include <algorithm>

#include "group/receive.h"

namespace slipway::mls {

namespace {

// Frames a proposal and keeps it as waiting. `candidate` has been checked.
Result<Bytes> send_proposal(GroupState& group, Candidate candidate, const MessageOptions& options) {
  MLS_TRY(group.check_active());
  MLS_TRY(check_room(group, candidate.sender));
  MLS_TRY(check_single(group, candidate, options.now_s));
  if (!group.policy->check_proposal(
          {ProposalStage::kSend, candidate.proposal.get(), candidate.sender})) {
    return fail(ErrorCode::kPolicyRefused, "sending a proposal: the policy refused it");
  }
  const WireFormat wire_format =
      options.wire_format.value_or(group.policy->handshake_wire_format());
  const Bytes body = encode(*candidate.proposal);
  const ContentView content =
      own_content(group, ContentType::kProposal, body, options.authenticated_data);
  MLS_ASSIGN(const Signature signature, sign_own(group, group.signer, wire_format, content));
  Bytes out;
  MLS_TRY(write_handshake(group, wire_format, content, {signature, {}}, out));
  candidate.by_reference = true;
  candidate.verified = true;
  candidate.ref = proposal_ref(*group.suite, wire_format, content, {signature, {}});
  candidate.authenticated_data = to_bytes(options.authenticated_data);
  MLS_TRY(store_proposal(group, std::move(candidate)));
  return out;
}

template <class Body>
Candidate own_candidate(const GroupState& group, Body body) {
  Proposal proposal;
  proposal.body = std::move(body);
  return make_candidate(std::make_shared<Proposal>(std::move(proposal)),
                        {SenderType::kMember, group.self()});
}

}  // namespace

Result<Bytes> Group::propose_add(View key_package, uint64_t now_s, const MessageOptions& options) {
  MLS_ASSIGN(KeyPackage package, decode_key_package(key_package, state_->limits()));
  Candidate candidate = own_candidate(*state_, AddProposal{std::move(package)});
  MLS_TRY(verify_candidate(*state_, candidate));
  MLS_ASSIGN(const GroupRules rules, rules_of(extensions(), state_->limits()));
  MLS_TRY(check_leaf(*state_, rules, {LeafUse::kOwnAdd, candidate.leaf.get(), {}, now_s}));
  MessageOptions at_that_time = options;
  at_that_time.now_s = now_s;
  return send_proposal(*state_, std::move(candidate), at_that_time);
}

Result<Bytes> Group::propose_update(const LeafChange& change, const MessageOptions& options) {
  GroupState& group = *state_;
  MLS_TRY(group.check_active());
  const Suite& suite = *group.suite;
  OwnUpdate own;
  MLS_ASSIGN(own.leaf_key, KemKey::generate(suite, *group.random));
  MLS_ASSIGN(LeafNode leaf, changed_own_leaf(group.tree.leaf(group.self())->decode_all(), change));
  leaf.encryption_key = to_bytes(own.leaf_key.public_key());
  leaf.source = LeafNodeSource::kUpdate;
  const SignatureKey& signer = change.signer != nullptr ? *change.signer : group.signer;
  MLS_TRY(sign_leaf(suite, signer, leaf, group.group_id(), group.self()));
  if (change.signer != nullptr) {
    own.signer = change.signer->clone();
  }
  MLS_ASSIGN(Bytes message,
             send_proposal(group, own_candidate(group, UpdateProposal{std::move(leaf)}), options));
  own.ref = group.waiting.back().ref;
  group.own_updates.push_back(std::move(own));
  return message;
}

Result<Bytes> Group::propose_remove(LeafIndex leaf, const MessageOptions& options) {
  return send_proposal(*state_, own_candidate(*state_, RemoveProposal{leaf}), options);
}

namespace {

Result<Bytes> propose_psk(GroupState& group, PreSharedKeyId id, const MessageOptions& options) {
  MLS_TRY(group.check_active());
  id.nonce.resize(group.suite->hash_size);
  MLS_TRY(group.random->fill_public(id.nonce));
  ResolvedPsks known;
  MLS_TRY(resolve_psks(&group, group.config.psks, {id}, known));
  return send_proposal(group, own_candidate(group, PskProposal{std::move(id)}), options);
}

}  // namespace

Result<Bytes> Group::propose_external_psk(View psk_id, const MessageOptions& options) {
  return propose_psk(*state_, {.type = PskType::kExternal, .psk_id = to_bytes(psk_id)}, options);
}

Result<Bytes> Group::propose_resumption_psk(uint64_t epoch, const MessageOptions& options) {
  return propose_psk(*state_,
                     {.type = PskType::kResumption,
                      .usage = ResumptionPskUsage::kApplication,
                      .group_id = to_bytes(group_id()),
                      .epoch = epoch},
                     options);
}

Result<Bytes> Group::propose_extensions(Extensions extensions, const MessageOptions& options) {
  return send_proposal(
      *state_, own_candidate(*state_, GroupContextExtensionsProposal{std::move(extensions)}),
      options);
}

Result<Bytes> Group::propose_reinit(ReInitProposal reinit, const MessageOptions& options) {
  return send_proposal(*state_, own_candidate(*state_, std::move(reinit)), options);
}

Result<Bytes> Group::propose_custom(UnknownProposal proposal, const MessageOptions& options) {
  if (is_default(proposal.type)) {
    return fail(ErrorCode::kInvalidArgument,
                "sending a custom proposal: it has a type of the RFC's own");
  }
  return send_proposal(*state_, own_candidate(*state_, std::move(proposal)), options);
}

std::vector<ReceivedProposal> Group::waiting_proposals() const {
  std::vector<ReceivedProposal> all;
  all.reserve(state_->waiting.size());
  for (const Candidate& candidate : state_->waiting) {
    all.push_back(as_received(candidate));
  }
  return all;
}

Status Group::drop_proposal(View ref) {
  const auto same = [&](const auto& entry) { return equal(entry.ref, ref); };
  if (std::erase_if(state_->waiting, same) == 0) {
    return fail(ErrorCode::kInvalidArgument, "dropping a proposal: none with that reference waits");
  }
  std::erase_if(state_->own_updates, same);
  state_->changes.waiting = true;
  return {};
}

// ---- From outside.

namespace {

Result<Bytes> outside_proposal(const ExternalProposalOptions& options, const Sender& sender,
                               const Proposal& proposal) {
  if (options.suite == nullptr || options.signer == nullptr ||
      options.signer->suite() != options.suite->id) {
    return fail(ErrorCode::kInvalidArgument,
                "proposing from outside: suite and a signature key of that suite are needed");
  }
  const Bytes body = encode(proposal);
  const ContentView content{options.group_id, options.epoch,          sender,
                            options.authenticated_data, ContentType::kProposal, body};
  MLS_ASSIGN(const Signature signature,
             sign_content(*options.signer, WireFormat::kPublicMessage, content, {}));
  Bytes out;
  MLS_TRY(write_public(*options.suite, content, {signature, {}}, {}, {}, out));
  return out;
}

}  // namespace

Result<Bytes> external_proposal(const ExternalProposalOptions& options, uint32_t sender_index,
                                const Proposal& proposal) {
  if (proposal.as<UpdateProposal>() != nullptr || proposal.as<ExternalInitProposal>() != nullptr) {
    return fail(ErrorCode::kInvalidArgument,
                "proposing from outside: Update and ExternalInit are not for external senders");
  }
  return outside_proposal(options, {SenderType::kExternal, sender_index}, proposal);
}

Result<Bytes> new_member_proposal(const ExternalProposalOptions& options, View key_package) {
  MLS_ASSIGN(KeyPackage package, decode_key_package(key_package));
  if (options.signer == nullptr ||
      !equal(options.signer->public_key(), package.leaf_node.signature_key)) {
    return fail(ErrorCode::kInvalidArgument,
                "asking to be added: the signature key is not that of the key package");
  }
  Proposal proposal;
  proposal.body = AddProposal{std::move(package)};
  return outside_proposal(options, {SenderType::kNewMemberProposal, 0}, proposal);
}

}  // namespace slipway::mls
