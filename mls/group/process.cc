// Messages from others, of every kind.
#include <algorithm>

#include "group/receive.h"

namespace slipway::mls {

StagedCommit::StagedCommit() = default;
StagedCommit::StagedCommit(std::unique_ptr<StagedState> state) : state_(std::move(state)) {}
StagedCommit::~StagedCommit() = default;
StagedCommit::StagedCommit(StagedCommit&&) noexcept = default;
StagedCommit& StagedCommit::operator=(StagedCommit&&) noexcept = default;

const CommitSummary& StagedCommit::summary() const {
  static const CommitSummary none;
  return state_ != nullptr ? state_->summary : none;
}

ReceivedProposal as_received(const Candidate& candidate) {
  return {candidate.ref, candidate.sender, candidate.proposal, candidate.authenticated_data};
}

Result<Candidate> take_proposal(GroupState& group, OpenedHandshake& opened, uint64_t now_s) {
  Candidate candidate = make_candidate(
      std::make_shared<Proposal>(std::move(std::get<Proposal>(opened.body))),
      opened.content.sender);
  candidate.by_reference = true;
  candidate.ref = proposal_ref(*group.suite, opened.wire_format, opened.content, opened.auth);
  candidate.authenticated_data = to_bytes(opened.content.authenticated_data);
  MLS_TRY(verify_candidate(group, candidate));
  candidate.verified = true;
  MLS_TRY(check_single(group, candidate, now_s));
  if (!group.policy->check_proposal(
          {ProposalStage::kReceive, candidate.proposal.get(), candidate.sender})) {
    return fail(ErrorCode::kPolicyRefused, "receiving a proposal: the policy refused it");
  }
  return candidate;
}

Status check_room(const GroupState& group, const Sender& sender) {
  const auto same_sender = [&](const Candidate& other) { return other.sender == sender; };
  if (group.waiting.size() >= group.limits().proposals_per_epoch ||
      static_cast<size_t>(std::ranges::count_if(group.waiting, same_sender)) >=
          group.limits().proposals_per_sender) {
    return fail(ErrorCode::kTooMany, "keeping a proposal: as many wait as the limit allows");
  }
  return {};
}

Status store_proposal(GroupState& group, Candidate candidate) {
  const auto same_ref = [&](const Candidate& other) { return other.ref == candidate.ref; };
  if (std::ranges::any_of(group.waiting, same_ref)) {
    return {};
  }
  MLS_TRY(check_room(group, candidate.sender));
  group.waiting.push_back(std::move(candidate));
  group.changes.waiting = true;
  return {};
}

struct ProcessBuild {
  GroupState* group = nullptr;
  EpochToken token;
  uint64_t now_s = 0;
  Bytes message;
  std::optional<Incoming> ready;
  std::optional<HandshakeOpener> opener;
  bool opened = false;
  std::optional<CommitReceiver> receiver;

  Result<bool> step(Budget& budget);
  Result<Incoming> finish();
};

Result<bool> ProcessBuild::step(Budget& budget) {
  if (ready) {
    return true;
  }
  if (!opened) {
    MLS_ASSIGN(opened, opener->step(budget));
    if (!opened) {
      return false;
    }
    if (opener->own()) {
      ready = std::move(opener->own());
      return true;
    }
    if (std::holds_alternative<CommitOutline>(opener->opened().body)) {
      receiver.emplace(*group, opener->opened(), now_s);
    }
  }
  return receiver ? receiver->step(budget) : true;
}

Result<Incoming> ProcessBuild::finish() {
  if (ready) {
    return std::move(*ready);
  }
  if (receiver) {
    return StagedCommit(receiver->take());
  }
  OpenedHandshake& proposal = opener->opened();
  MLS_ASSIGN(Candidate candidate, take_proposal(*group, proposal, now_s));
  const ReceivedProposal received = as_received(candidate);
  MLS_TRY(store_proposal(*group, std::move(candidate)));
  if (proposal.key) {
    group->changes.note({group->epoch(), proposal.key->leaf, RatchetKind::kHandshake});
    group->now.messages.accept(std::move(*proposal.key));
  }
  return received;
}

ProcessOperation::ProcessOperation(std::unique_ptr<ProcessBuild> build) : build_(std::move(build)) {}
ProcessOperation::~ProcessOperation() = default;
ProcessOperation::ProcessOperation(ProcessOperation&&) noexcept = default;
ProcessOperation& ProcessOperation::operator=(ProcessOperation&&) noexcept = default;

Result<bool> ProcessOperation::step(size_t public_key_ops) {
  if (build_ == nullptr) {
    return fail(ErrorCode::kWrongState, "processing a message: finished before");
  }
  if (build_->ready) {
    return true;
  }
  if (build_->token != build_->group->token) {
    return fail(ErrorCode::kWrongState, "processing a message: the group has moved on meanwhile");
  }
  Budget budget = Budget::public_key_ops(public_key_ops);
  return build_->step(budget);
}

Result<Incoming> ProcessOperation::finish() {
  MLS_ASSIGN(const bool done, step(0));
  if (!done) {
    return fail(ErrorCode::kWrongState, "processing a message: steps are left to do");
  }
  const std::unique_ptr<ProcessBuild> build = std::move(build_);
  return build->finish();
}

namespace {

bool is_application(View message, const Limits& limits) {
  const auto peek = peek_message(message, limits);
  if (!peek || peek->wire_format != WireFormat::kPrivateMessage) {
    return false;
  }
  const auto view = read_private(peek->body, limits);
  return view && view->content_type == ContentType::kApplication;
}

}  // namespace

Result<ProcessOperation> Group::start_process(View message, uint64_t now_s) {
  auto build = std::make_unique<ProcessBuild>();
  build->group = state_.get();
  build->token = state_->token;
  build->now_s = now_s;
  if (is_application(message, state_->limits())) {
    ApplicationMessage received;
    MessageInfo info;
    const Status status = unprotect(message, received.plaintext, info);
    if (!status && status.error().code == ErrorCode::kOwnMessage) {
      build->ready = OwnMessage{ContentType::kApplication};
      return ProcessOperation(std::move(build));
    }
    MLS_TRY(status);
    received.authenticated_data = to_bytes(info.authenticated_data);
    received.epoch = info.epoch;
    received.generation = info.generation;
    received.sender = info.sender;
    received.leaf = info.leaf;
    received.identity = to_bytes(info.identity);
    build->ready = std::move(received);
    return ProcessOperation(std::move(build));
  }
  if (message.size() > state_->limits().handshake_message_bytes) {
    return fail(ErrorCode::kTooLarge, "processing a message: larger than the limit");
  }
  build->message = to_bytes(message);
  build->opener.emplace(*state_, build->message);
  return ProcessOperation(std::move(build));
}

Result<Incoming> Group::process(View message, uint64_t now_s) {
  MLS_ASSIGN(ProcessOperation operation, start_process(message, now_s));
  while (true) {
    MLS_ASSIGN(const bool done, operation.step(SIZE_MAX));
    if (done) {
      return operation.finish();
    }
  }
}

Status Group::apply(StagedCommit&& commit) {
  if (commit.state_ == nullptr || commit.state_->token != state_->token) {
    return fail(ErrorCode::kWrongState,
                "applying a commit: it was staged by another group or in another epoch");
  }
  const std::unique_ptr<StagedState> staged = std::move(commit.state_);
  apply_staged(*state_, std::move(*staged));
  return {};
}

}  // namespace slipway::mls
