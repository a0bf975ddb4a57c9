// Framing: what must be refused, with everything forged again that a member could forge; and that
// protecting and opening allocate nothing once the buffers are there.
#include "key_schedule/framing.h"

#include <gtest/gtest.h>

#include "allocation_count.h"
#include "crypto/aead.h"
#include "crypto/vector_header.h"
#include "key_schedule/epoch_secrets.h"
#include "key_schedule/psk.h"
#include "key_schedule/transcript.h"

namespace slipway::mls {
namespace {

template <class R>
void expect_code(const R& result, ErrorCode code) {
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, code) << result.error().text;
}

class Framing : public testing::TestWithParam<uint16_t> {
 protected:
  const Suite& suite_ = *find_suite(GetParam());
  Random& random_ = system_random();
  SignatureKey key_ = SignatureKey::generate(suite_, random_).value();
  SignaturePublicKey public_key_ = SignaturePublicKey::import(suite_, key_.public_key()).value();
  Secret sender_data_secret_{Bytes(suite_.hash_size, 1)};
  Secret membership_key_{Bytes(suite_.hash_size, 2)};
  Bytes group_id_ = Bytes(70, 3);
  Bytes context_ = Bytes(200, 4);
  Bytes aad_ = Bytes(90, 5);
  Bytes proposal_ = encode(Proposal{RemoveProposal{2}});
  Bytes commit_ = encode(Commit{});
  Bytes tag_ = Bytes(suite_.hash_size, 6);
  SecretTree sending_{suite_, Secret(Bytes(suite_.hash_size, 7)), 4};
  SecretTree receiving_{suite_, Secret(Bytes(suite_.hash_size, 7)), 4};
  Bytes buffer_;

  ContentView content(ContentType type, View body, Sender sender = {SenderType::kMember, 1}) const {
    return {group_id_, 11, sender, aad_, type, body};
  }
  AuthView sign(WireFormat format, const ContentView& what, Signature& signature) {
    signature = sign_content(key_, format, what, context_).value();
    return {signature, what.type == ContentType::kCommit ? View(tag_) : View()};
  }
  Bytes public_message(const ContentView& what) {
    Signature signature;
    AuthView auth = sign(WireFormat::kPublicMessage, what, signature);
    Bytes out;
    EXPECT_TRUE(write_public(suite_, what, auth, membership_key_, context_, out));
    return out;
  }
  Bytes private_message(const ContentView& what, size_t padding = 0) {
    Signature signature;
    AuthView auth = sign(WireFormat::kPrivateMessage, what, signature);
    Bytes out;
    MessageKey key = sending_.next(what.sender.index, ratchet_of(what.type)).value();
    EXPECT_TRUE(
        seal_private(suite_, what, auth, sender_data_secret_, key, padding, random_, out));
    return out;
  }
  Status receive_public(View message) {
    MLS_ASSIGN(auto peek, peek_message(message));
    if (peek.wire_format != WireFormat::kPublicMessage) {
      return fail(ErrorCode::kWrongContentType, "another wire format");
    }
    MLS_ASSIGN(auto opened, read_public(peek.body));
    if (opened.content.sender.type == SenderType::kMember) {
      MLS_TRY(check_membership_tag(suite_, opened, membership_key_, context_));
    }
    return verify_content(public_key_, WireFormat::kPublicMessage, opened.content,
                          opened.auth.signature, context_);
  }
  Result<PrivateContentView> receive_private(View message, const Limits& limits = kDefaultLimits) {
    MLS_ASSIGN(auto peek, peek_message(message));
    if (peek.wire_format != WireFormat::kPrivateMessage) {
      return fail(ErrorCode::kWrongContentType, "another wire format");
    }
    MLS_ASSIGN(auto view, read_private(peek.body, limits));
    MLS_ASSIGN(SenderData sender, open_sender_data(suite_, view, sender_data_secret_));
    MLS_ASSIGN(FoundKey found, receiving_.find(sender.leaf_index, ratchet_of(view.content_type),
                                               sender.generation));
    MLS_ASSIGN(auto opened,
               open_private(suite_, view, sender, found.message_key, buffer_, limits));
    MLS_TRY(verify_content(public_key_, WireFormat::kPrivateMessage, opened.content,
                           opened.auth.signature, context_));
    receiving_.accept(std::move(found));
    return opened;
  }
  // A PrivateMessage whose inside is `plaintext`, sealed as a member of bad will could.
  Bytes forged_private(ContentType type, View plaintext, std::optional<Bytes> sender_data = {}) {
    MessageKey key = sending_.next(1, ratchet_of(type)).value();
    PrivateMessage message{group_id_, 11, type, aad_, {}, Bytes(plaintext.size() + kAeadTagBytes)};
    Bytes aad, content_aad;
    Writer writer(aad);
    writer(message.group_id, message.epoch, message.content_type);
    content_aad = aad;
    Writer{content_aad}(message.authenticated_data);
    EXPECT_TRUE(aead_seal(suite_, key.key, key.nonce, {content_aad}, plaintext, message.ciphertext));
    SenderDataKey hiding = make_sender_data_key(suite_, sender_data_secret_, message.ciphertext);
    Bytes inner = sender_data ? *sender_data : encode(SenderData{1, key.generation, {}});
    message.encrypted_sender_data.resize(inner.size() + kAeadTagBytes);
    EXPECT_TRUE(aead_seal(suite_, hiding.key, hiding.nonce, {aad}, inner, message.encrypted_sender_data));
    return encode_message(WireFormat::kPrivateMessage, message);
  }
};

TEST_P(Framing, PublicMessagesOfEverySender) {
  for (Sender sender : {Sender{SenderType::kMember, 1}, Sender{SenderType::kExternal, 0},
                        Sender{SenderType::kNewMemberProposal, 0}}) {
    EXPECT_TRUE(receive_public(public_message(content(ContentType::kProposal, proposal_, sender))));
  }
  for (auto type : {SenderType::kMember, SenderType::kNewMemberCommit}) {
    EXPECT_TRUE(receive_public(public_message(content(ContentType::kCommit, commit_, {type, 0}))));
  }
}

TEST_P(Framing, SendersThatMayNotSendThis) {
  Signature none;
  auto refused = [&](ContentType type, View body, SenderType sender) {
    ContentView what = content(type, body, {sender, 0});
    Bytes out;
    AuthView auth = sign(WireFormat::kPublicMessage, what, none);
    expect_code(write_public(suite_, what, auth, membership_key_, context_, out),
                ErrorCode::kInvalidSender);
    EXPECT_TRUE(out.empty());
    PublicMessage forged;
    forged.content = {group_id_, 11, what.sender, aad_, {}};
    if (type == ContentType::kCommit) {
      forged.content.body = Commit{};
      forged.auth.confirmation_tag = tag_;
    } else {
      forged.content.body = Proposal{RemoveProposal{2}};
    }
    forged.auth.signature = to_bytes(none);
    expect_code(read_public(encode(forged)), ErrorCode::kInvalidSender);
  };
  refused(ContentType::kCommit, commit_, SenderType::kExternal);
  refused(ContentType::kCommit, commit_, SenderType::kNewMemberProposal);
  refused(ContentType::kProposal, proposal_, SenderType::kNewMemberCommit);

  ContentView external = content(ContentType::kProposal, proposal_, {SenderType::kExternal, 0});
  Bytes out;
  MessageKey key = sending_.next(1, RatchetKind::kHandshake).value();
  AuthView auth = sign(WireFormat::kPrivateMessage, external, none);
  expect_code(seal_private(suite_, external, auth, sender_data_secret_, key, 0, random_, out),
              ErrorCode::kInvalidSender);
}

TEST_P(Framing, EveryByteOfAPublicMessageCounts) {
  for (ContentView what : {content(ContentType::kProposal, proposal_),
                           content(ContentType::kCommit, commit_)}) {
    Bytes message = public_message(what);
    for (size_t i = 0; i < message.size(); ++i) {
      Bytes bad = message;
      bad[i] ^= 0x01;
      EXPECT_FALSE(receive_public(bad)) << "byte " << i << " of " << bad.size();
    }
    EXPECT_TRUE(receive_public(message));
  }
}

TEST_P(Framing, TagAndSignatureAreCheckedByThemselves) {
  ContentView what = content(ContentType::kProposal, proposal_);
  Bytes message = public_message(what);
  message.back() ^= 1;
  expect_code(receive_public(message), ErrorCode::kBadMembershipTag);
  // A tag that is right over a signature that is not: the sender is a member but not that one.
  Signature signature;
  AuthView auth = sign(WireFormat::kPrivateMessage, what, signature);  // the other wire format
  Bytes out;
  ASSERT_TRUE(write_public(suite_, what, auth, membership_key_, context_, out));
  expect_code(receive_public(out), ErrorCode::kBadSignature);
}

TEST_P(Framing, ContextIsSignedByMembersOnly) {
  auto verify = [&](Sender sender, ContentType type, View body) {
    ContentView what = content(type, body, sender);
    Signature signature = sign_content(key_, WireFormat::kPublicMessage, what, context_).value();
    return verify_content_once(suite_, key_.public_key(), WireFormat::kPublicMessage, what, signature,
                               as_view("another context"));
  };
  EXPECT_FALSE(verify({SenderType::kMember, 1}, ContentType::kProposal, proposal_));
  EXPECT_FALSE(verify({SenderType::kNewMemberCommit, 0}, ContentType::kCommit, commit_));
  EXPECT_TRUE(verify({SenderType::kExternal, 0}, ContentType::kProposal, proposal_));
  EXPECT_TRUE(verify({SenderType::kNewMemberProposal, 0}, ContentType::kProposal, proposal_));
}

TEST_P(Framing, PrivateMessagesOfEveryContent) {
  Bytes data(300, 8);
  struct {
    ContentType type;
    View body;
  } cases[] = {{ContentType::kApplication, data}, {ContentType::kApplication, {}},
               {ContentType::kProposal, proposal_}, {ContentType::kCommit, commit_}};
  for (auto [type, body] : cases) {
    for (size_t padding : {0, 1, 100}) {
      Bytes message = private_message(content(type, body), padding);
      auto opened = receive_private(message);  // points into it
      ASSERT_TRUE(opened) << opened.error().text;
      EXPECT_TRUE(equal(opened->content.body, body));
      EXPECT_TRUE(equal(opened->content.authenticated_data, aad_));
      EXPECT_EQ(opened->padding, padding);
      EXPECT_EQ(opened->auth.confirmation_tag.empty(), type != ContentType::kCommit);
    }
  }
}

TEST_P(Framing, EveryByteOfAPrivateMessageCounts) {
  Bytes data(20, 8);
  Bytes message = private_message(content(ContentType::kApplication, data), 5);
  for (size_t i = 0; i < message.size(); ++i) {
    Bytes bad = message;
    bad[i] ^= 0x01;
    EXPECT_FALSE(receive_private(bad)) << "byte " << i << " of " << bad.size();
  }
  EXPECT_TRUE(receive_private(message)) << "the key must still be there";
  expect_code(receive_private(message), ErrorCode::kGenerationGone);
}

TEST_P(Framing, SignatureThatIsNotTheSendersUsesNoKey) {
  auto other = SignatureKey::generate(suite_, random_).value();
  Bytes data(20, 8);
  ContentView what = content(ContentType::kApplication, data);
  Signature signature = sign_content(other, WireFormat::kPrivateMessage, what, context_).value();
  MessageKey key = sending_.next(1, RatchetKind::kApplication).value();
  Bytes bad, good;
  ASSERT_TRUE(seal_private(suite_, what, {signature, {}}, sender_data_secret_, key, 0, random_, bad));
  expect_code(receive_private(bad), ErrorCode::kBadSignature);
  signature = sign_content(key_, WireFormat::kPrivateMessage, what, context_).value();
  ASSERT_TRUE(seal_private(suite_, what, {signature, {}}, sender_data_secret_, key, 0, random_, good));
  EXPECT_TRUE(receive_private(good));
}

TEST_P(Framing, ReuseGuardIsFresh) {
  Bytes data(20, 8);
  ContentView what = content(ContentType::kApplication, data);
  Signature signature;
  AuthView auth = sign(WireFormat::kPrivateMessage, what, signature);
  MessageKey key = sending_.next(1, RatchetKind::kApplication).value();
  Bytes first, second;
  ASSERT_TRUE(seal_private(suite_, what, auth, sender_data_secret_, key, 0, random_, first));
  ASSERT_TRUE(seal_private(suite_, what, auth, sender_data_secret_, key, 0, random_, second));
  EXPECT_NE(first, second);
}

TEST_P(Framing, PaddingThatIsNotZero) {
  Bytes data(10, 8);
  ContentView what = content(ContentType::kApplication, data);
  Signature signature;
  AuthView auth = sign(WireFormat::kPrivateMessage, what, signature);
  Bytes plaintext;
  Writer writer(plaintext);
  writer(data, auth.signature);
  size_t unpadded = plaintext.size();
  plaintext.resize(unpadded + 30);
  EXPECT_TRUE(receive_private(forged_private(ContentType::kApplication, plaintext)));
  for (size_t i = unpadded; i < plaintext.size(); ++i) {
    Bytes bad = plaintext;
    bad[i] = 1;
    expect_code(receive_private(forged_private(ContentType::kApplication, bad)), ErrorCode::kMalformed);
  }
}

TEST_P(Framing, ContentCutShort) {
  Bytes data(10, 8);
  ContentView what = content(ContentType::kApplication, data);
  Signature signature;
  AuthView auth = sign(WireFormat::kPrivateMessage, what, signature);
  Bytes plaintext;
  Writer writer(plaintext);
  writer(data, auth.signature);
  for (size_t size = 0; size < plaintext.size(); ++size) {
    expect_code(receive_private(forged_private(ContentType::kApplication, View(plaintext).first(size))),
                ErrorCode::kMalformed);
  }
  for (ContentType type : {ContentType::kProposal, ContentType::kCommit}) {
    EXPECT_FALSE(receive_private(forged_private(type, {})));
    EXPECT_FALSE(receive_private(forged_private(type, Bytes(3, 0xff))));
  }
}

TEST_P(Framing, SenderDataOfOtherLengths) {
  Bytes plaintext(80);
  for (size_t size : {0, 11, 13, 40}) {
    Bytes message = forged_private(ContentType::kApplication, plaintext, Bytes(size));
    expect_code(receive_private(message), ErrorCode::kDecryptionFailed);
  }
  Bytes far = encode(SenderData{99, 0, {}});
  expect_code(receive_private(forged_private(ContentType::kApplication, plaintext, far)),
              ErrorCode::kInvalidSender);
}

TEST_P(Framing, CiphertextsShorterThanATag) {
  PrivateMessage message{group_id_, 11, ContentType::kApplication, aad_, {}, Bytes(15)};
  Bytes aad;
  Writer{aad}(message.group_id, message.epoch, message.content_type);
  SenderDataKey hiding = make_sender_data_key(suite_, sender_data_secret_, message.ciphertext);
  message.encrypted_sender_data.resize(12 + kAeadTagBytes);
  ASSERT_TRUE(aead_seal(suite_, hiding.key, hiding.nonce, {aad}, encode(SenderData{}),
                        message.encrypted_sender_data));
  expect_code(receive_private(encode_message(WireFormat::kPrivateMessage, message)),
              ErrorCode::kDecryptionFailed);
}

TEST_P(Framing, ApplicationMessagesBeyondTheirBound) {
  Bytes data(1000, 8);
  Bytes message = private_message(content(ContentType::kApplication, data));
  Limits limits;
  limits.application_message_bytes = 1000;
  expect_code(receive_private(message, limits), ErrorCode::kTooLarge);
  EXPECT_TRUE(receive_private(message));
}

TEST_P(Framing, NothingAllocatesOnceTheBuffersAreThere) {
  if (!test::kCountsAllocations) {
    GTEST_SKIP() << "a sanitizer owns malloc";
  }
  Bytes data(1024, 8);
  ContentView what = content(ContentType::kApplication, data);
  Bytes message;
  auto once = [&] {
    message.clear();
    Signature signature = sign_content(key_, WireFormat::kPrivateMessage, what, context_).value();
    MessageKey key = sending_.next(1, RatchetKind::kApplication).value();
    ASSERT_TRUE(
        seal_private(suite_, what, {signature, {}}, sender_data_secret_, key, 9, random_, message));
    ASSERT_TRUE(receive_private(message));
  };
  message.reserve(2048);
  buffer_.reserve(2048);
  once();
  test::forget_allocations();
  test::count_allocations(true);
  for (int i = 0; i < 10; ++i) {
    once();
  }
  test::count_allocations(false);
  EXPECT_EQ(test::allocations_counted().by_new, 0u) << "the cryptographic library's own calls are not meant";
}

TEST_P(Framing, OwnedAndBorrowedContentEncodeAlike) {
  std::variant<ApplicationData, Proposal, Commit> bodies[] = {
      ApplicationData{Bytes(100, 1)}, Proposal{RemoveProposal{2}}, Commit{}};
  for (auto& body : bodies) {
    FramedContent owned{group_id_, 11, {SenderType::kMember, 1}, aad_, body};
    Bytes encoded, scratch;
    Writer writer(encoded);
    write_content(writer, view_of(owned, scratch));
    EXPECT_EQ(encoded, encode(owned));
    AuthenticatedContent authenticated{WireFormat::kPrivateMessage, owned, {Bytes(64, 1), {}}};
    if (owned.content_type() == ContentType::kCommit) {
      authenticated.auth.confirmation_tag = tag_;
    }
    EXPECT_EQ(encode_authenticated(WireFormat::kPrivateMessage, view_of(owned, scratch),
                                   {authenticated.auth.signature, authenticated.auth.confirmation_tag}),
              encode(authenticated));
  }
}

TEST_P(Framing, ConfirmationTagsOfOtherEpochs) {
  Bytes confirmed(suite_.hash_size, 1);
  HashValue tag = make_confirmation_tag(suite_, membership_key_, confirmed);
  EXPECT_TRUE(check_confirmation_tag(suite_, membership_key_, confirmed, tag));
  expect_code(check_confirmation_tag(suite_, sender_data_secret_, confirmed, tag),
              ErrorCode::kBadConfirmationTag);
  expect_code(check_confirmation_tag(suite_, membership_key_, confirmed, View(tag).first(8)),
              ErrorCode::kBadConfirmationTag);
  expect_code(check_confirmation_tag(suite_, membership_key_, confirmed, {}),
              ErrorCode::kBadConfirmationTag);
}

TEST_P(Framing, ExportsAreBounded) {
  Secret exporter(Bytes(suite_.hash_size, 1));
  EXPECT_EQ(export_secret(suite_, exporter, "label", {}, 255 * suite_.hash_size)->size(),
            255 * suite_.hash_size);
  expect_code(export_secret(suite_, exporter, "label", {}, 255 * suite_.hash_size + 1),
              ErrorCode::kInvalidArgument);
  EXPECT_TRUE(export_secret(suite_, exporter, "label", {}, 0)->empty());
}

TEST_P(Framing, NoPskGivesZeros) {
  EXPECT_TRUE(fold_psks(suite_, {}) == Secret::zeros(suite_.hash_size));
}

INSTANTIATE_TEST_SUITE_P(AllSuites, Framing, testing::Range<uint16_t>(1, 8));

}  // namespace
}  // namespace slipway::mls
