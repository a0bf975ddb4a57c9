#include "key_schedule/framing.h"

#include "crypto/aead.h"
#include "crypto/hash.h"
#include "key_schedule/content_pieces.h"

namespace slipway::mls {
namespace {

using internal::ContentPieces;

constexpr std::string_view kContentLabel = "FramedContentTBS";

// Senders outside the group's members do not sign its context, except one that joins by its commit.
bool signs_context(SenderType type) {
  return type == SenderType::kMember || type == SenderType::kNewMemberCommit;
}
View context_of(const ContentView& content, View group_context) {
  return signs_context(content.sender.type) ? group_context : View();
}

// FramedContentAuthData.
template <class W>
void write_auth(W& writer, ContentType type, const AuthView& auth) {
  writer.write_vector(auth.signature);
  if (type == ContentType::kCommit) {
    writer.write_vector(auth.confirmation_tag);
  }
}
void read_auth(Reader& reader, ContentType type, AuthView& auth) {
  reader.bounded(auth.signature, &Limits::signature_bytes);
  if (type == ContentType::kCommit) {
    reader.bounded(auth.confirmation_tag, kMaxHashBytes);
  }
}
size_t auth_size(ContentType type, const AuthView& auth) {
  return vector_size(auth.signature.size()) +
         (type == ContentType::kCommit ? vector_size(auth.confirmation_tag.size()) : 0);
}

// A commit's outer parts: enough to know where it ends.
struct PathOutline {
  LeafNodeView leaf_node;
  View nodes;
  template <class A, class Self>
  static void fields(A& a, Self& v) {
    a(v.leaf_node, v.nodes);
  }
};

// The body of a proposal or commit, as bytes.
View read_handshake_body(Reader& reader, ContentType type) {
  View before = reader.rest();
  if (type == ContentType::kProposal) {
    Proposal proposal;
    reader(proposal);
  } else {
    View proposals;
    std::optional<PathOutline> path;
    reader(proposals, path);
  }
  return before.first(before.size() - reader.remaining());
}

// Who may send what (6, 12.1.8).
Status check_sender_fits(const Sender& sender, ContentType type) {
  switch (sender.type) {
    case SenderType::kMember: return {};
    case SenderType::kExternal:
    case SenderType::kNewMemberProposal:
      if (type == ContentType::kProposal) {
        return {};
      }
      return fail(ErrorCode::kInvalidSender, "reading a message: its sender may send proposals only");
    case SenderType::kNewMemberCommit:
      if (type == ContentType::kCommit) {
        return {};
      }
      return fail(ErrorCode::kInvalidSender, "reading a message: a joiner may send commits only");
  }
  return fail(ErrorCode::kMalformed, "reading a message: unknown sender type");
}

HashValue membership_tag(const Suite& suite, View membership_key, const ContentView& content,
                         const AuthView& auth, View group_context) {
  ContentPieces pieces(WireFormat::kPublicMessage, content);
  InlineBytes<4> tag_header;
  if (content.type == ContentType::kCommit) {
    tag_header = length_header(auth.confirmation_tag.size());
  }
  return mac(suite, membership_key,
             {pieces.head(), content.group_id, pieces.middle(), content.authenticated_data, pieces.tail(),
              content.body, group_context, length_header(auth.signature.size()), auth.signature,
              tag_header, content.type == ContentType::kCommit ? auth.confirmation_tag : View()});
}

}  // namespace

ContentView view_of(const FramedContent& content, Bytes& body) {
  ContentView view{content.group_id, content.epoch, content.sender, content.authenticated_data,
                   content.content_type(), {}};
  if (const auto* application = std::get_if<ApplicationData>(&content.body)) {
    view.body = application->data;
    return view;
  }
  body.clear();
  std::visit([&body](const auto& part) { encode_to(body, part); }, content.body);
  view.body = body;
  return view;
}

void write_content(Writer& writer, const ContentView& content) {
  ContentPieces pieces(WireFormat{}, content);
  for (View piece : {pieces.head_of_content(), content.group_id, pieces.middle(),
                     content.authenticated_data, pieces.tail(), content.body}) {
    writer.write_bytes(piece);
  }
}

Bytes encode_authenticated(WireFormat wire_format, const ContentView& content, const AuthView& auth) {
  Bytes out;
  Writer writer(out);
  writer(wire_format);
  write_content(writer, content);
  write_auth(writer, content.type, auth);
  return out;
}

HashValue proposal_ref(const Suite& suite, WireFormat wire_format, const ContentView& content,
                       const AuthView& auth) {
  return ref_hash(suite, kProposalRefLabel, encode_authenticated(wire_format, content, auth));
}

Result<Signature> sign_content(const SignatureKey& key, WireFormat wire_format,
                               const ContentView& content, View group_context) {
  ContentPieces pieces(wire_format, content);
  return key.sign(kContentLabel,
                  {pieces.head(), content.group_id, pieces.middle(), content.authenticated_data,
                   pieces.tail(), content.body, context_of(content, group_context)});
}

Status verify_content(const SignaturePublicKey& key, WireFormat wire_format,
                      const ContentView& content, View signature, View group_context) {
  ContentPieces pieces(wire_format, content);
  return key.verify(kContentLabel,
                    {pieces.head(), content.group_id, pieces.middle(), content.authenticated_data,
                     pieces.tail(), content.body, context_of(content, group_context)},
                    signature);
}

Status verify_content_once(const Suite& suite, View public_key, WireFormat wire_format,
                           const ContentView& content, View signature, View group_context) {
  ContentPieces pieces(wire_format, content);
  return verify_once(suite, public_key, kContentLabel,
                     {pieces.head(), content.group_id, pieces.middle(), content.authenticated_data,
                      pieces.tail(), content.body, context_of(content, group_context)},
                     signature);
}

SignSteps sign_content_steps(const SignatureKey& key, WireFormat wire_format, const ContentView& content,
                             View group_context) {
  const ContentPieces pieces(wire_format, content);
  return SignSteps(key, kContentLabel,
                   {pieces.head(), content.group_id, pieces.middle(), content.authenticated_data,
                    pieces.tail(), content.body, context_of(content, group_context)});
}

VerifySteps verify_content_steps(const Suite& suite, View public_key, WireFormat wire_format,
                                 const ContentView& content, View signature, View group_context) {
  const ContentPieces pieces(wire_format, content);
  return VerifySteps(suite, public_key, kContentLabel,
                     {pieces.head(), content.group_id, pieces.middle(), content.authenticated_data,
                      pieces.tail(), content.body, context_of(content, group_context)},
                     signature);
}

LongHash membership_tag_steps(const Suite& suite, View membership_key, const ContentView& content,
                              const AuthView& auth, View group_context) {
  const ContentPieces pieces(WireFormat::kPublicMessage, content);
  LongHash hashing(suite.kdf, membership_key);
  hashing.add(pieces.head()).add(content.group_id).add(pieces.middle()).add(content.authenticated_data);
  hashing.add(pieces.tail()).add(content.body).add(group_context);
  hashing.add(length_header(auth.signature.size())).add(auth.signature);
  if (content.type == ContentType::kCommit) {
    hashing.add(length_header(auth.confirmation_tag.size())).add(auth.confirmation_tag);
  }
  return hashing;
}

Status write_public(const Suite& suite, const ContentView& content, const AuthView& auth,
                    View membership_key, View group_context, Bytes& out) {
  HashValue tag;
  if (content.sender.type == SenderType::kMember) {
    tag = membership_tag(suite, membership_key, content, auth, group_context);
  }
  return write_public_tagged(content, auth, tag, out);
}

Status write_public_tagged(const ContentView& content, const AuthView& auth, View membership_tag,
                           Bytes& out) {
  if (content.type == ContentType::kApplication) {
    return fail(ErrorCode::kWrongContentType,
                "writing a PublicMessage: application data must be a PrivateMessage");
  }
  MLS_TRY(check_sender_fits(content.sender, content.type));
  constexpr size_t kAroundBody = 1024;
  out.reserve(out.size() + content.body.size() + content.authenticated_data.size() + kAroundBody);
  Writer writer(out);
  writer(ProtocolVersion::kMls10, WireFormat::kPublicMessage);
  write_content(writer, content);
  write_auth(writer, content.type, auth);
  if (content.sender.type == SenderType::kMember) {
    writer.write_vector(membership_tag);
  }
  return {};
}

Result<PublicMessageView> read_public(View message_body, const Limits& limits) {
  Reader reader(message_body, limits);
  PublicMessageView message;
  ContentView& content = message.content;
  reader(content.group_id, content.epoch, content.sender, content.authenticated_data, content.type);
  MLS_TRY(reader.status());
  if (content.type == ContentType::kApplication) {
    return fail(ErrorCode::kWrongContentType, "reading a PublicMessage: it holds application data");
  }
  if (content.type != ContentType::kProposal && content.type != ContentType::kCommit) {
    return fail(ErrorCode::kMalformed, "reading a PublicMessage: unknown content type");
  }
  MLS_TRY(check_sender_fits(content.sender, content.type));
  content.body = read_handshake_body(reader, content.type);
  read_auth(reader, content.type, message.auth);
  if (content.sender.type == SenderType::kMember) {
    reader.bounded(message.membership_tag, kMaxHashBytes);
  }
  MLS_TRY(reader.finish());
  return message;
}

Status check_membership_tag(const Suite& suite, const PublicMessageView& message,
                            View membership_key, View group_context) {
  if (message.content.sender.type != SenderType::kMember ||
      !equal_secret(membership_tag(suite, membership_key, message.content, message.auth, group_context),
                    message.membership_tag)) {
    return fail(ErrorCode::kBadMembershipTag, "checking a PublicMessage: its sender was no member");
  }
  return {};
}

// --- PrivateMessage ---

namespace {

constexpr size_t kSenderDataBytes = 12;
constexpr size_t kSealedSenderDataBytes = kSenderDataBytes + kAeadTagBytes;
constexpr size_t kReuseGuardBytes = 4;

std::array<uint8_t, kAeadNonceBytes> guarded_nonce(View nonce,
                                                   const std::array<uint8_t, kReuseGuardBytes>& guard) {
  std::array<uint8_t, kAeadNonceBytes> out;
  std::copy_n(nonce.begin(), out.size(), out.begin());
  for (size_t i = 0; i < guard.size(); ++i) {
    out[i] ^= guard[i];
  }
  return out;
}

// Group id, epoch and content type are the additional data of the sender data; with the authenticated
// data behind them, that of the content. Both lie in the message in just this order.
struct EpochAndType {
  explicit EpochAndType(const PrivateMessageView& message) {
    for (size_t i = 0; i < 8; ++i) {
      bytes[i] = static_cast<uint8_t>(message.epoch >> (56 - 8 * i));
    }
    bytes[8] = static_cast<uint8_t>(message.content_type);
  }
  std::array<uint8_t, 9> bytes;
};

Status seal_sender_data(const Suite& suite, const SenderData& sender_data, View sender_data_secret,
                        View ciphertext, View aad, MutableView out) {
  std::array<uint8_t, kSenderDataBytes> plaintext;
  for (size_t i = 0; i < 4; ++i) {
    plaintext[i] = static_cast<uint8_t>(sender_data.leaf_index >> (24 - 8 * i));
    plaintext[4 + i] = static_cast<uint8_t>(sender_data.generation >> (24 - 8 * i));
    plaintext[8 + i] = sender_data.reuse_guard[i];
  }
  SenderDataKey key = make_sender_data_key(suite, sender_data_secret, ciphertext);
  return aead_seal(suite, key.key, key.nonce, {aad}, plaintext, out);
}

}  // namespace

SenderDataKey make_sender_data_key(const Suite& suite, View sender_data_secret, View ciphertext) {
  View sample = ciphertext.first(std::min(ciphertext.size(), suite.hash_size));
  return {expand_with_label(suite, sender_data_secret, "key", sample, suite.aead_key_size),
          expand_with_label(suite, sender_data_secret, "nonce", sample, kAeadNonceBytes)};
}

Status seal_private(const Suite& suite, const ContentView& content, const AuthView& auth,
                    View sender_data_secret, const MessageKey& key, size_t padding, Random& random,
                    Bytes& out) {
  if (content.sender.type != SenderType::kMember) {
    return fail(ErrorCode::kInvalidSender, "writing a PrivateMessage: its sender is no member");
  }
  SenderData sender_data{content.sender.index, key.generation, {}};
  MLS_TRY(random.fill_public(sender_data.reuse_guard));

  bool application = content.type == ContentType::kApplication;
  size_t body_size = application ? vector_size(content.body.size()) : content.body.size();
  size_t plain_size = body_size + auth_size(content.type, auth) + padding;
  size_t sealed_size = plain_size + kAeadTagBytes;
  if (padding > kMaxVectorLength || sealed_size > kMaxVectorLength) {
    return fail(ErrorCode::kTooLarge, "writing a PrivateMessage: longer than a vector can be");
  }

  size_t start = out.size();
  out.reserve(start + 4 + vector_size(content.group_id.size()) + 9 +
              vector_size(content.authenticated_data.size()) + vector_size(kSealedSenderDataBytes) +
              vector_size(sealed_size));
  Writer writer(out);
  writer(ProtocolVersion::kMls10, WireFormat::kPrivateMessage);
  size_t aad_at = out.size();
  writer(content.group_id, content.epoch, content.type);
  size_t sender_aad_end = out.size();
  writer(content.authenticated_data);
  size_t aad_end = out.size();
  writer.write_length(kSealedSenderDataBytes);
  size_t sender_data_at = out.size();
  out.resize(out.size() + kSealedSenderDataBytes);
  writer.write_length(sealed_size);
  size_t sealed_at = out.size();
  if (application) {
    writer.write_length(content.body.size());
  }
  writer.write_bytes(content.body);
  write_auth(writer, content.type, auth);
  out.resize(sealed_at + sealed_size);  // padding and room for the tag: zeros

  View whole(out);
  View aad = whole.subspan(aad_at, aad_end - aad_at);
  View sender_aad = whole.subspan(aad_at, sender_aad_end - aad_at);
  MutableView sealed = MutableView(out).subspan(sealed_at);
  Status status = aead_seal(suite, key.key, guarded_nonce(key.nonce, sender_data.reuse_guard), {aad},
                            sealed.first(plain_size), sealed);
  if (status) {
    status = seal_sender_data(suite, sender_data, sender_data_secret, sealed, sender_aad,
                              MutableView(out).subspan(sender_data_at, kSealedSenderDataBytes));
  }
  if (!status) {
    out.resize(start);
  }
  return status;
}

Result<PrivateMessageView> read_private(View message_body, const Limits& limits) {
  MLS_ASSIGN(auto message, decode<PrivateMessageView>(message_body, limits));
  if (message.content_type == ContentType::kApplication &&
      message_body.size() > limits.application_message_bytes) {
    return fail(ErrorCode::kTooLarge, "reading a PrivateMessage: larger than application messages may be");
  }
  return message;
}

Result<SenderData> open_sender_data(const Suite& suite, const PrivateMessageView& message,
                                    View sender_data_secret) {
  if (message.encrypted_sender_data.size() != kSealedSenderDataBytes) {
    return fail(ErrorCode::kDecryptionFailed, "opening sender data: of a length that it cannot have");
  }
  SenderDataKey key = make_sender_data_key(suite, sender_data_secret, message.ciphertext);
  std::array<uint8_t, kSenderDataBytes> plaintext;
  MLS_TRY(aead_open(suite, key.key, key.nonce,
                    {length_header(message.group_id.size()), message.group_id,
                     EpochAndType(message).bytes},
                    message.encrypted_sender_data, plaintext));
  return decode<SenderData>(plaintext);
}

Result<PrivateContentView> open_private(const Suite& suite, const PrivateMessageView& message,
                                        const SenderData& sender_data, const MessageKey& key,
                                        Bytes& buffer, const Limits& limits) {
  if (message.ciphertext.size() < kAeadTagBytes) {
    return fail(ErrorCode::kDecryptionFailed, "opening a PrivateMessage: shorter than its tag");
  }
  buffer.resize(message.ciphertext.size() - kAeadTagBytes);
  MLS_TRY(aead_open(suite, key.key, guarded_nonce(key.nonce, sender_data.reuse_guard),
                    {length_header(message.group_id.size()), message.group_id,
                     EpochAndType(message).bytes, length_header(message.authenticated_data.size()),
                     message.authenticated_data},
                    message.ciphertext, buffer));

  PrivateContentView out;
  out.content = {message.group_id, message.epoch, {SenderType::kMember, sender_data.leaf_index},
                 message.authenticated_data, message.content_type, {}};
  Reader reader(buffer, limits);
  if (message.content_type == ContentType::kApplication) {
    out.content.body = reader.read_vector();
  } else {
    out.content.body = read_handshake_body(reader, message.content_type);
  }
  read_auth(reader, message.content_type, out.auth);
  MLS_TRY(reader.status());
  // All of it is looked at, so that the time says nothing about where the first other byte is.
  uint8_t other = 0;
  for (uint8_t byte : reader.rest()) {
    other |= byte;
  }
  if (other != 0) {
    return fail(ErrorCode::kMalformed, "opening a PrivateMessage: padding is not zero");
  }
  out.padding = reader.remaining();
  return out;
}

}  // namespace slipway::mls
