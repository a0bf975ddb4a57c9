// The inside of a PrivateMessage, as a member of bad will could seal it: the input is sealed with the
// right keys and then opened. First byte: content type and kind; then sender data; then the content.
#include "crypto/aead.h"
#include "key_schedule/framing.h"
#include "require.h"

using namespace slipway::mls;

namespace {

struct Keys {
  const Suite& suite = *find_suite(CipherSuite{1});
  Secret sender_data_secret{Bytes(32, 1)};
  MessageKey message{Secret(Bytes(16, 2)), Secret(Bytes(12, 3)), 0};
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const Keys keys;
  if (size < 1 + 12) {
    return 0;
  }
  auto type = static_cast<ContentType>(1 + data[0] % 3);
  View sender_data(data + 1, 12), plaintext(data + 13, size - 13);
  PrivateMessage message{{1}, 5, type, {2}, Bytes(12 + kAeadTagBytes),
                         Bytes(plaintext.size() + kAeadTagBytes)};
  Bytes aad, content_aad;
  Writer{aad}(message.group_id, message.epoch, message.content_type);
  Writer{content_aad}(message.group_id, message.epoch, message.content_type,
                      message.authenticated_data);
  auto nonce = to_bytes(keys.message.nonce);
  for (size_t i = 0; i < 4; ++i) {
    nonce[i] ^= sender_data[8 + i];
  }
  FUZZ_REQUIRE(aead_seal(keys.suite, keys.message.key, nonce, {content_aad}, plaintext, message.ciphertext));
  SenderDataKey hiding = make_sender_data_key(keys.suite, keys.sender_data_secret, message.ciphertext);
  FUZZ_REQUIRE(aead_seal(keys.suite, hiding.key, hiding.nonce, {aad}, sender_data,
                         message.encrypted_sender_data));

  Bytes encoded = encode(message), buffer;
  auto view = read_private(encoded);
  FUZZ_REQUIRE(view);
  auto sender = open_sender_data(keys.suite, *view, keys.sender_data_secret);
  FUZZ_REQUIRE(sender && encode(*sender) == to_bytes(sender_data));
  auto opened = open_private(keys.suite, *view, *sender, keys.message, buffer);
  if (opened) {
    // Body, authentication and padding are all there is.
    Bytes again;
    Writer writer(again);
    type == ContentType::kApplication ? writer(opened->content.body)
                                      : writer.write_bytes(opened->content.body);
    writer(opened->auth.signature);
    if (type == ContentType::kCommit) {
      writer(opened->auth.confirmation_tag);
    }
    again.resize(again.size() + opened->padding);
    FUZZ_REQUIRE(equal(again, plaintext));
  } else {
    FUZZ_REQUIRE(opened.error().code != ErrorCode::kDecryptionFailed);
  }
  return 0;
}
