// Who sent a handshake message (RFC 9420, 6.1 to 6.3, 12.1.8).
#include "group/receive.h"

namespace slipway::mls {

namespace {

Status decode_body(OpenedHandshake& opened, const Limits& limits) {
  if (opened.content.type == ContentType::kProposal) {
    MLS_ASSIGN(opened.body, decode<Proposal>(opened.content.body, limits));
  } else {
    MLS_ASSIGN(opened.body, decode<CommitOutline>(opened.content.body, limits));
  }
  return {};
}

Status check_epoch(const GroupState& group, View group_id, uint64_t epoch) {
  if (!equal(group_id, group.group_id())) {
    return fail(ErrorCode::kUnknownGroup, "reading a handshake message: of another group");
  }
  MLS_TRY(group.check_active());
  if (epoch < group.epoch()) {
    return fail(ErrorCode::kEpochTooOld, "reading a handshake message: its epoch has ended");
  }
  if (epoch > group.epoch()) {
    return fail(ErrorCode::kEpochInFuture,
                "reading a handshake message: of an epoch that we do not know yet");
  }
  return {};
}

// Key of the sender of a message from outside.
Result<Bytes> outside_key(const GroupState& group, const OpenedHandshake& opened) {
  const Sender& sender = opened.content.sender;
  if (sender.type == SenderType::kExternal) {
    MLS_ASSIGN(auto senders, decode_extension<ExternalSenders>(group.now.context.extensions,
                                                               ExtensionType::kExternalSenders,
                                                               group.limits()));
    if (!senders || sender.index >= senders->senders.size()) {
      return fail(ErrorCode::kInvalidSender,
                  "reading a proposal: its sender is none of the group's external senders");
    }
    return std::move(senders->senders[sender.index].signature_key);
  }
  if (const auto* proposal = std::get_if<Proposal>(&opened.body)) {
    const auto* add = proposal->as<AddProposal>();
    if (add == nullptr) {
      return fail(ErrorCode::kInvalidSender,
                  "reading a proposal: somebody outside proposes other than to be added");
    }
    return add->key_package.leaf_node.signature_key;
  }
  const auto* commit = std::get_if<CommitOutline>(&opened.body);
  if (commit == nullptr || !commit->path) {
    return fail(ErrorCode::kMissingPath, "reading an external commit: it has no path");
  }
  return commit->path->leaf_node.signature_key;
}

Status check_external_type(const OpenedHandshake& opened) {
  const auto* proposal = std::get_if<Proposal>(&opened.body);
  if (opened.content.sender.type != SenderType::kExternal || proposal == nullptr) {
    return {};
  }
  if (proposal->as<UpdateProposal>() != nullptr || proposal->as<ExternalInitProposal>() != nullptr) {
    return fail(ErrorCode::kInvalidSender,
                "reading a proposal: external senders may not propose this");
  }
  return {};
}

bool is_own_commit(const GroupState& group, View message) {
  return group.pending && equal(commit_fingerprint(*group.suite, message), group.pending->fingerprint);
}

}  // namespace

Result<bool> HandshakeOpener::step(Budget& budget) {
  return run_phases(phase_, budget, [this](Budget& left) { return do_phase(left); });
}

Result<bool> HandshakeOpener::do_phase(Budget& budget) {
  switch (phase_) {
    case Phase::kRead: {
      MLS_TRY(read());
      budget.draw(1 + message_.size() / Budget::kCopiedBytes);
      return true;
    }
    case Phase::kTag: {
      if (!tag_) {
        return true;
      }
      if (!tag_->step(budget)) {
        return false;
      }
      if (!equal_secret(tag_->finish(), membership_tag_)) {
        return fail(ErrorCode::kBadMembershipTag, "checking a PublicMessage: its sender was no member");
      }
      return true;
    }
    case Phase::kSender: {
      MLS_TRY(find_sender());
      return true;
    }
    case Phase::kSignature: return own_ ? true : verifying_->step(budget);
    case Phase::kDone: break;
  }
  return true;
}

Status HandshakeOpener::read() {
  MLS_ASSIGN(const MessagePeek peek, peek_message(message_, group_->limits()));
  if (peek.wire_format == WireFormat::kPrivateMessage) {
    return open_private_message(peek.body);
  }
  if (peek.wire_format != WireFormat::kPublicMessage) {
    return fail(ErrorCode::kWrongContentType,
                "processing a message: a group takes PublicMessage and PrivateMessage only");
  }
  MLS_ASSIGN(const PublicMessageView view, read_public(peek.body, group_->limits()));
  MLS_TRY(check_epoch(*group_, view.content.group_id, view.content.epoch));
  opened_.wire_format = WireFormat::kPublicMessage;
  opened_.content = view.content;
  opened_.auth = view.auth;
  membership_tag_ = view.membership_tag;
  if (view.content.sender.type == SenderType::kMember) {
    tag_.emplace(membership_tag_steps(*group_->suite, group_->now.secrets.membership_key, opened_.content,
                                      opened_.auth, group_->now.encoded_context));
  }
  return {};
}

Status HandshakeOpener::open_private_message(View body) {
  const Suite& suite = *group_->suite;
  MLS_ASSIGN(const PrivateMessageView view, read_private(body, group_->limits()));
  MLS_TRY(check_epoch(*group_, view.group_id, view.epoch));
  MLS_ASSIGN(const SenderData sender,
             open_sender_data(suite, view, group_->now.secrets.sender_data_secret));
  opened_.wire_format = WireFormat::kPrivateMessage;
  opened_.content.type = view.content_type;
  opened_.content.sender = {SenderType::kMember, sender.leaf_index};
  if (sender.leaf_index == group_->self() || group_->tree.leaf(sender.leaf_index) == nullptr) {
    return {};  // find_sender() says what there is to say
  }
  MLS_ASSIGN(opened_.key, group_->now.messages.find(sender.leaf_index, RatchetKind::kHandshake,
                                                    sender.generation));
  MLS_ASSIGN(const PrivateContentView content,
             open_private(suite, view, sender, opened_.key->message_key, opened_.buffer, group_->limits()));
  opened_.content = content.content;
  opened_.auth = content.auth;
  return {};
}

Status HandshakeOpener::find_sender() {
  const Suite& suite = *group_->suite;
  const Sender& sender = opened_.content.sender;
  Bytes key;
  if (sender.type == SenderType::kMember) {
    const LeafPtr& leaf = group_->tree.leaf(sender.index);
    if (leaf == nullptr) {
      return fail(ErrorCode::kInvalidSender, "reading a handshake message: its sender is no member");
    }
    if (sender.index == group_->self()) {
      own_ = is_own_commit(*group_, message_) ? Incoming(OwnCommit{})
                                              : Incoming(OwnMessage{opened_.content.type});
      return {};
    }
    MLS_TRY(decode_body(opened_, group_->limits()));
    key = to_bytes(leaf->signature_key());
  } else {
    MLS_TRY(decode_body(opened_, group_->limits()));
    MLS_TRY(check_external_type(opened_));
    MLS_ASSIGN(key, outside_key(*group_, opened_));
    MLS_TRY(validate_signature_public_key(suite, key));
  }
  verifying_.emplace(verify_content_steps(suite, key, opened_.wire_format, opened_.content,
                                          opened_.auth.signature, group_->now.encoded_context));
  return {};
}

}  // namespace slipway::mls
