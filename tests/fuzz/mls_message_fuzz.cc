// MLSMessage, owned and borrowed: what decodes must encode to the same bytes, and both ways of reading
// a PublicMessage must agree.
#include "key_schedule/framing.h"
#include "require.h"

using namespace slipway::mls;

namespace {

void check_public(View body, const PublicMessage* owned) {
  auto view = read_public(body);
  if (view && owned != nullptr) {
    Bytes content;
    Writer writer(content);
    write_content(writer, view->content);
    FUZZ_REQUIRE(content == encode(owned->content));
    FUZZ_REQUIRE(equal(view->auth.signature, owned->auth.signature));
    FUZZ_REQUIRE(equal(view->membership_tag, owned->membership_tag));
  }
  if (!view && owned != nullptr) {
    // Only what the syntax allows and the framing does not.
    FUZZ_REQUIRE(view.error().code == ErrorCode::kWrongContentType ||
                 view.error().code == ErrorCode::kInvalidSender);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  View input(data, size);
  auto message = decode<MlsMessage>(input);
  auto peek = peek_message(input);
  if (message) {
    FUZZ_REQUIRE(equal(encode(*message), input));
    FUZZ_REQUIRE(peek && peek->wire_format == message->wire_format());
  }
  if (!peek) {
    return 0;
  }
  if (peek->wire_format == WireFormat::kPublicMessage) {
    check_public(peek->body, message ? &std::get<PublicMessage>(message->body) : nullptr);
  } else if (peek->wire_format == WireFormat::kPrivateMessage) {
    FUZZ_REQUIRE(read_private(peek->body).has_value() == message.has_value());
  }
  return 0;
}
