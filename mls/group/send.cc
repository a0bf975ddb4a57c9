// Making handshake messages and own leaves.
#include "group/state.h"

namespace slipway::mls {

ContentView own_content(const GroupState& group, ContentType type, View body,
                        View authenticated_data) {
  ContentView content;
  content.group_id = group.group_id();
  content.epoch = group.epoch();
  content.sender = {SenderType::kMember, group.self()};
  content.authenticated_data = authenticated_data;
  content.type = type;
  content.body = body;
  return content;
}

Result<Signature> sign_own(const GroupState& group, const SignatureKey& signer,
                           WireFormat wire_format, const ContentView& content) {
  return sign_content(signer, wire_format, content, group.now.encoded_context);
}

Status write_handshake(GroupState& group, WireFormat wire_format, const ContentView& content,
                       const AuthView& auth, Bytes& out) {
  const Suite& suite = *group.suite;
  if (wire_format == WireFormat::kPublicMessage) {
    return write_public(suite, content, auth, group.now.secrets.membership_key,
                        group.now.encoded_context, out);
  }
  if (wire_format != WireFormat::kPrivateMessage) {
    return fail(ErrorCode::kInvalidArgument,
                "sending a handshake message: neither PublicMessage nor PrivateMessage");
  }
  const size_t padding = group.policy->padding(content.type, content.body.size());
  MLS_ASSIGN(const MessageKey key, group.now.messages.next(group.self(), RatchetKind::kHandshake));
  group.changes.note({group.epoch(), group.self(), RatchetKind::kHandshake});
  return seal_private(suite, content, auth, group.now.secrets.sender_data_secret, key, padding,
                      *group.random, out);
}

Result<LeafNode> changed_own_leaf(const LeafNode& before, const LeafChange& change) {
  LeafNode leaf = before;
  if (change.credential) {
    leaf.credential = *change.credential;
  }
  if (change.capabilities) {
    leaf.capabilities = *change.capabilities;
  }
  if (change.extensions) {
    leaf.extensions = *change.extensions;
  }
  if (change.signer != nullptr) {
    leaf.signature_key = to_bytes(change.signer->public_key());
  }
  if (change.credential || change.capabilities || change.extensions) {
    MLS_TRY(check_leaf_options(leaf.capabilities, leaf.extensions, leaf.credential));
  }
  leaf.lifetime = {};
  leaf.parent_hash.clear();
  return leaf;
}

}  // namespace slipway::mls
