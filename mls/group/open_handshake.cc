// Who sent a handshake message (RFC 9420, 6.1 to 6.3, 12.1.8).
#include "group/receive.h"

namespace slipway::mls {

namespace {

Status decode_body(OpenedHandshake& opened, const Limits& limits) {
  if (opened.content.type == ContentType::kProposal) {
    MLS_ASSIGN(opened.body, decode<Proposal>(opened.content.body, limits));
  } else {
    MLS_ASSIGN(opened.body, decode<Commit>(opened.content.body, limits));
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
  const auto* commit = std::get_if<Commit>(&opened.body);
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

Result<HandshakeOrOwn> open_public(GroupState& group, View message, const MessagePeek& peek) {
  MLS_ASSIGN(const PublicMessageView view, read_public(peek.body, group.limits()));
  MLS_TRY(check_epoch(group, view.content.group_id, view.content.epoch));
  OpenedHandshake opened;
  opened.wire_format = WireFormat::kPublicMessage;
  opened.content = view.content;
  opened.auth = view.auth;
  const Suite& suite = *group.suite;
  if (view.content.sender.type != SenderType::kMember) {
    MLS_TRY(decode_body(opened, group.limits()));
    MLS_TRY(check_external_type(opened));
    MLS_ASSIGN(const Bytes key, outside_key(group, opened));
    MLS_TRY(validate_signature_public_key(suite, key));
    MLS_TRY(verify_content_once(suite, key, opened.wire_format, opened.content,
                                opened.auth.signature, group.now.encoded_context));
    return opened;
  }
  MLS_TRY(check_membership_tag(suite, view, group.now.secrets.membership_key,
                               group.now.encoded_context));
  const LeafIndex sender = view.content.sender.index;
  const LeafPtr& leaf = group.tree.leaf(sender);
  if (leaf == nullptr) {
    return fail(ErrorCode::kInvalidSender, "reading a handshake message: its sender is no member");
  }
  if (sender == group.self()) {
    return is_own_commit(group, message) ? HandshakeOrOwn(OwnCommit{})
                                         : HandshakeOrOwn(OwnMessage{view.content.type});
  }
  MLS_TRY(decode_body(opened, group.limits()));
  MLS_TRY(verify_content_once(suite, leaf->signature_key(), opened.wire_format, opened.content,
                              opened.auth.signature, group.now.encoded_context));
  return opened;
}

Result<HandshakeOrOwn> open_private_handshake(GroupState& group, View message,
                                              const MessagePeek& peek) {
  MLS_ASSIGN(const PrivateMessageView view, read_private(peek.body, group.limits()));
  MLS_TRY(check_epoch(group, view.group_id, view.epoch));
  const Suite& suite = *group.suite;
  MLS_ASSIGN(const SenderData sender,
             open_sender_data(suite, view, group.now.secrets.sender_data_secret));
  const LeafPtr& leaf = group.tree.leaf(sender.leaf_index);
  if (leaf == nullptr) {
    return fail(ErrorCode::kInvalidSender, "reading a handshake message: its sender is no member");
  }
  if (sender.leaf_index == group.self()) {
    return is_own_commit(group, message) ? HandshakeOrOwn(OwnCommit{})
                                         : HandshakeOrOwn(OwnMessage{view.content_type});
  }
  OpenedHandshake opened;
  opened.wire_format = WireFormat::kPrivateMessage;
  MLS_ASSIGN(opened.key, group.now.messages.find(sender.leaf_index, RatchetKind::kHandshake,
                                                 sender.generation));
  MLS_ASSIGN(const PrivateContentView content,
             open_private(suite, view, sender, opened.key->message_key, opened.buffer,
                          group.limits()));
  opened.content = content.content;
  opened.auth = content.auth;
  MLS_TRY(verify_content_once(suite, leaf->signature_key(), opened.wire_format, opened.content,
                              opened.auth.signature, group.now.encoded_context));
  MLS_TRY(decode_body(opened, group.limits()));
  return opened;
}

}  // namespace

Result<HandshakeOrOwn> open_handshake(GroupState& group, View message, const MessagePeek& peek) {
  switch (peek.wire_format) {
    case WireFormat::kPublicMessage: return open_public(group, message, peek);
    case WireFormat::kPrivateMessage: return open_private_handshake(group, message, peek);
    default:
      return fail(ErrorCode::kWrongContentType,
                  "processing a message: a group takes PublicMessage and PrivateMessage only");
  }
}

}  // namespace slipway::mls
