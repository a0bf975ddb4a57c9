// Application messages: protect and unprotect. In steady state nothing here allocates beyond what the
// caller's buffers lack.
#include "group/state.h"

namespace slipway::mls {

Status Group::protect(View plaintext, View authenticated_data, Bytes& out) {
  GroupState& group = *state_;
  MLS_TRY(group.check_active());
  if (plaintext.size() + authenticated_data.size() > group.limits().application_message_bytes) {
    return fail(ErrorCode::kTooLarge, "protecting a message: larger than the limit");
  }
  const ContentView content =
      own_content(group, ContentType::kApplication, plaintext, authenticated_data);
  MLS_ASSIGN(const Signature signature,
             sign_own(group, group.signer, WireFormat::kPrivateMessage, content));
  const size_t padding = group.policy->padding(ContentType::kApplication, plaintext.size());
  MLS_ASSIGN(const MessageKey key, group.now.messages.next(group.self(), RatchetKind::kApplication));
  group.changes.note({group.epoch(), group.self(), RatchetKind::kApplication});
  out.clear();
  return seal_private(*group.suite, content, {signature, {}}, group.now.secrets.sender_data_secret,
                      key, padding, *group.random, out);
}

Result<Bytes> Group::protect(View plaintext, View authenticated_data) {
  Bytes out;
  MLS_TRY(protect(plaintext, authenticated_data, out));
  return out;
}

namespace {

// What an application message of some epoch is read with.
struct ReadingEpoch {
  SecretTree* messages;
  View sender_data_secret;
  View group_context;
};

Result<ReadingEpoch> reading_epoch(GroupState& group, uint64_t epoch) {
  if (epoch == group.epoch()) {
    return ReadingEpoch{&group.now.messages, group.now.secrets.sender_data_secret,
                        group.now.encoded_context};
  }
  if (epoch > group.epoch()) {
    return fail(ErrorCode::kEpochInFuture, "reading a message: of an epoch that we do not know yet");
  }
  if (PastEpoch* past = group.past_epoch(epoch)) {
    return ReadingEpoch{&past->messages, past->sender_data_secret, past->encoded_context};
  }
  return fail(ErrorCode::kEpochTooOld, "reading a message: its epoch is no longer kept");
}

}  // namespace

Status Group::unprotect(View message, Bytes& plaintext, MessageInfo& info) {
  GroupState& group = *state_;
  const Suite& suite = *group.suite;
  MLS_ASSIGN(const MessagePeek peek, peek_message(message, group.limits()));
  if (peek.wire_format != WireFormat::kPrivateMessage) {
    return fail(ErrorCode::kWrongContentType, "reading a message: not a PrivateMessage");
  }
  MLS_ASSIGN(const PrivateMessageView view, read_private(peek.body, group.limits()));
  if (view.content_type != ContentType::kApplication) {
    return fail(ErrorCode::kWrongContentType, "reading a message: no application data");
  }
  if (!equal(view.group_id, group.group_id())) {
    return fail(ErrorCode::kUnknownGroup, "reading a message: of another group");
  }
  if (!group.active && !group.reinit) {
    return group.check_active();
  }
  MLS_ASSIGN(const ReadingEpoch epoch, reading_epoch(group, view.epoch));
  MLS_ASSIGN(const SenderData sender,
             open_sender_data(suite, view, epoch.sender_data_secret));
  const LeafPtr leaf = sender.leaf_index < epoch.messages->leaf_count()
                           ? group.leaf_at(view.epoch, sender.leaf_index)
                           : nullptr;
  if (leaf == nullptr) {
    return fail(ErrorCode::kInvalidSender, "reading a message: its sender is no member");
  }
  if (sender.leaf_index == group.self()) {
    return fail(ErrorCode::kOwnMessage, "reading a message: we sent it");
  }
  MLS_ASSIGN(FoundKey found, epoch.messages->find(sender.leaf_index, RatchetKind::kApplication,
                                                  sender.generation));
  const WipeGuard wipe_scratch(group.scratch);
  MLS_ASSIGN(const PrivateContentView opened,
             open_private(suite, view, sender, found.message_key, group.scratch, group.limits()));
  Status status;
  const SignaturePublicKey* key = group.sender_keys.get(suite, sender.leaf_index, leaf, group.config.hasten_senders, status);
  MLS_TRY(status);
  MLS_TRY(verify_content(*key, WireFormat::kPrivateMessage, opened.content, opened.auth.signature,
                         epoch.group_context));
  epoch.messages->accept(std::move(found));
  group.changes.note({view.epoch, sender.leaf_index, RatchetKind::kApplication});
  plaintext.assign(opened.content.body.begin(), opened.content.body.end());
  info.epoch = view.epoch;
  info.generation = sender.generation;
  info.sender = sender.leaf_index;
  info.leaf = leaf;
  info.identity = group.policy->identity(*leaf);
  info.authenticated_data = view.authenticated_data;
  return {};
}

}  // namespace slipway::mls
