// Framing (RFC 9420, 6): signing and verifying content, membership tags, PublicMessage, and sealing
// and opening PrivateMessage.
//
// Works on borrowed bytes: content is a ContentView whose `body` is the raw application data, or the
// encoded Proposal or Commit. Neither protecting nor opening allocates, once the caller's buffers have
// the capacity. Checks of epoch, group and sender against a group are the group's; all others are here.
// Any thread (a key object: one at a time).
#pragma once

#include "crypto/long_hash.h"
#include "crypto/signature_steps.h"
#include "key_schedule/secret_tree.h"
#include "message/mls_message.h"

namespace slipway::mls {

struct ContentView {
  View group_id;
  uint64_t epoch = 0;
  Sender sender;
  View authenticated_data;
  ContentType type = ContentType::kApplication;
  View body;
};

struct AuthView {
  View signature;
  View confirmation_tag;  // commits only
};

// `content` as a view over an owned one whose body was encoded into `body`.
ContentView view_of(const FramedContent& content, Bytes& body);
// Encodes FramedContent.
void write_content(Writer& writer, const ContentView& content);
// AuthenticatedContent, e.g. to make a ProposalRef of it.
Bytes encode_authenticated(WireFormat wire_format, const ContentView& content, const AuthView& auth);
HashValue proposal_ref(const Suite& suite, WireFormat wire_format, const ContentView& content,
                       const AuthView& auth);

// FramedContentTBS. `group_context` is the encoded context of the content's epoch; it is used for
// senders member and new_member_commit only.
Result<Signature> sign_content(const SignatureKey& key, WireFormat wire_format,
                               const ContentView& content, View group_context);
// kBadSignature
Status verify_content(const SignaturePublicKey& key, WireFormat wire_format,
                      const ContentView& content, View signature, View group_context);
Status verify_content_once(const Suite& suite, View public_key, WireFormat wire_format,
                           const ContentView& content, View signature, View group_context);

// The same for content of megabytes, in steps. What of it is long, and the key, stay where they are.
SignSteps sign_content_steps(const SignatureKey& key, WireFormat wire_format, const ContentView& content,
                             View group_context);
VerifySteps verify_content_steps(const Suite& suite, View public_key, WireFormat wire_format,
                                 const ContentView& content, View signature, View group_context);

// --- PublicMessage (6.2) ---

// Appends an MLSMessage to `out`. Application data is refused: kWrongContentType. The membership tag is
// made for senders of type member only.
Status write_public(const Suite& suite, const ContentView& content, const AuthView& auth,
                    View membership_key, View group_context, Bytes& out);

// With the membership tag given, as the steps made it; empty for senders that have none.
Status write_public_tagged(const ContentView& content, const AuthView& auth, View membership_tag, Bytes& out);
LongHash membership_tag_steps(const Suite& suite, View membership_key, const ContentView& content,
                              const AuthView& auth, View group_context);

struct PublicMessageView {
  ContentView content;
  AuthView auth;
  View membership_tag;
};
// `message_body` is what peek_message gave. Refuses application data, sender types that may not send
// the content (6: external and new_member_proposal only proposals, new_member_commit only commits).
// The body is framed right, but decode<Proposal or Commit> it to know that it is well formed.
Result<PublicMessageView> read_public(View message_body, const Limits& limits = kDefaultLimits);
// For sender member; kBadMembershipTag.
Status check_membership_tag(const Suite& suite, const PublicMessageView& message,
                            View membership_key, View group_context);

// --- PrivateMessage (6.3) ---

struct SenderData {
  uint32_t leaf_index = 0;
  uint32_t generation = 0;
  std::array<uint8_t, 4> reuse_guard{};

  template <class A, class Self>
  static void fields(A& a, Self& v) {
    a(v.leaf_index, v.generation, v.reuse_guard);
  }
};

// Key and nonce that hide the sender data of a message with this ciphertext (6.3.2).
struct SenderDataKey {
  Secret key;
  Secret nonce;
};
SenderDataKey make_sender_data_key(const Suite& suite, View sender_data_secret, View ciphertext);

// Appends an MLSMessage to `out`. `key` is the next of the sender's ratchet and must not be used
// again, whether this succeeds or not. `padding` zero bytes follow the content.
Status seal_private(const Suite& suite, const ContentView& content, const AuthView& auth,
                    View sender_data_secret, const MessageKey& key, size_t padding, Random& random,
                    Bytes& out);

Result<PrivateMessageView> read_private(View message_body, const Limits& limits = kDefaultLimits);
// kDecryptionFailed: not of this epoch, or forged. The leaf index is not checked yet.
Result<SenderData> open_sender_data(const Suite& suite, const PrivateMessageView& message,
                                    View sender_data_secret);

struct PrivateContentView {
  ContentView content;  // body and auth lie in the buffer, the rest in the message
  AuthView auth;
  size_t padding = 0;
};
// Decrypts into `buffer` (replaced). kDecryptionFailed; kMalformed if the content is cut short or the
// padding is not zero. The signature remains to be verified with WireFormat::kPrivateMessage.
Result<PrivateContentView> open_private(const Suite& suite, const PrivateMessageView& message,
                                        const SenderData& sender_data, const MessageKey& key,
                                        Bytes& buffer, const Limits& limits = kDefaultLimits);

}  // namespace slipway::mls
