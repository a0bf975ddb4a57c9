// Own commits, as callers see them.
#include "group/commit_build.h"

namespace slipway::mls {

CommitOperation::CommitOperation(std::unique_ptr<CommitBuild> build) : build_(std::move(build)) {}
CommitOperation::~CommitOperation() = default;
CommitOperation::CommitOperation(CommitOperation&&) noexcept = default;
CommitOperation& CommitOperation::operator=(CommitOperation&&) noexcept = default;

Result<bool> CommitOperation::step(size_t public_key_ops) {
  if (build_ == nullptr || build_->token() != build_->group()->token) {
    return fail(ErrorCode::kWrongState, "making a commit: the group has moved on meanwhile");
  }
  Budget budget = Budget::public_key_ops(public_key_ops);
  return build_->step(budget);
}

Result<CommitResult> CommitOperation::finish() {
  MLS_ASSIGN(const bool done, step(0));
  if (!done) {
    return fail(ErrorCode::kWrongState, "making a commit: steps are left to do");
  }
  const std::unique_ptr<CommitBuild> build = std::move(build_);
  GroupState& group = *build->group();
  if (group.pending) {
    return fail(ErrorCode::kPendingCommit, "making a commit: another one waits for its fate");
  }
  PendingCommit pending;
  MLS_ASSIGN(CommitResult result, build->finish(pending.staged));
  pending.fingerprint = commit_fingerprint(*group.suite, result.commit);
  group.pending = std::move(pending);
  group.changes.waiting = true;
  return result;
}

Result<CommitOperation> Group::start_commit(const CommitOptions& options) {
  auto build = std::make_unique<CommitBuild>(*state_, options);
  MLS_TRY(build->start());
  return CommitOperation(std::move(build));
}

Result<CommitResult> Group::commit(const CommitOptions& options) {
  MLS_ASSIGN(CommitOperation operation, start_commit(options));
  while (true) {
    MLS_ASSIGN(const bool done, operation.step(SIZE_MAX));
    if (done) {
      return operation.finish();
    }
  }
}

const CommitSummary* Group::pending_commit() const {
  return state_->pending ? &state_->pending->staged->summary : nullptr;
}

Status Group::accept_commit() {
  if (!state_->pending) {
    return fail(ErrorCode::kNoPendingCommit, "accepting a commit: none waits");
  }
  const std::unique_ptr<StagedState> staged = std::move(state_->pending->staged);
  apply_staged(*state_, std::move(*staged));
  return {};
}

Status Group::refuse_commit() {
  if (!state_->pending) {
    return fail(ErrorCode::kNoPendingCommit, "refusing a commit: none waits");
  }
  state_->pending.reset();
  state_->changes.waiting = true;
  return {};
}

Result<Bytes> commit_externally(GroupState& group, ExternalPart external,
                                const CommitOptions& options) {
  CommitBuild build(group, options);
  MLS_TRY(build.start_external(std::move(external)));
  Budget budget = Budget::unlimited();
  while (true) {
    MLS_ASSIGN(const bool done, build.step(budget));
    if (done) {
      break;
    }
  }
  std::unique_ptr<StagedState> staged;
  MLS_ASSIGN(CommitResult result, build.finish(staged));
  group.keys = PrivatePath(staged->summary.committer);
  apply_staged(group, std::move(*staged));
  group.past.clear();
  return std::move(result.commit);
}

}  // namespace slipway::mls
