// Any bytes are a session message or a refusal; what was read is written and read again the same. The first byte says whether
// they are an upstream message or a native frame.

#include <algorithm>
#include <cstring>
#include <vector>

#include "require.h"
#include "wire/data_frames.h"
#include "wire/header_protection.h"
#include "wire/session_wire.h"

namespace {

using namespace slipway;

std::span<const std::byte> as_bytes(const std::string& text) { return {reinterpret_cast<const std::byte*>(text.data()), text.size()}; }

void same(const WireMessage& a, const WireMessage& b) {
  FUZZ_REQUIRE(header_aad(a.message) == header_aad(b.message));
  FUZZ_REQUIRE(a.message.metadata == b.message.metadata);
  FUZZ_REQUIRE(a.message.fanout == b.message.fanout && a.message.error == b.message.error);
  FUZZ_REQUIRE(encode_content(a.message.payload) == b.content);
  FUZZ_REQUIRE(a.signatures.header == b.signatures.header && a.signatures.payload == b.signatures.payload);
  FUZZ_REQUIRE(a.message.from_slipway == b.message.from_slipway);
}

void check(const WireMessage& read) {
  const std::string content = encode_content(read.message.payload);
  const std::string upstream = encode_upstream(read.message, content, read.signatures, read.version);
  const auto again = decode_upstream(as_bytes(upstream));
  FUZZ_REQUIRE(again.has_value());
  same(read, *again);
  std::string frame(kFrameHeaderBytes, '\0');
  store_header(reinterpret_cast<std::byte*>(frame.data()), frame_header_of(read.message));
  frame += encode_frame_body(read.message, content, read.signatures, read.version);
  const auto native = decode_frame(as_bytes(frame));
  FUZZ_REQUIRE(native.has_value());
  same(read, *native);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) {
    return 0;
  }
  const auto* bytes = reinterpret_cast<const std::byte*>(data) + 1;
  if (data[0] % 2 == 0) {
    if (const auto read = decode_upstream({bytes, size - 1})) {
      check(*read);
    }
    return 0;
  }
  std::vector<std::byte> frame(bytes, bytes + size - 1);
  if (check_frame(frame) == FrameFault::kNone) {
    const auto read = decode_frame(frame);
    if (read) {
      check(*read);
    }
    // The short way takes nothing but what a decoder would; what it does not look into is the header.
    const auto view = view_data(std::span(frame).subspan(kFrameHeaderBytes));
    if (view && read) {
      const auto* const app = std::get_if<AppPayload>(&read->message.payload);
      FUZZ_REQUIRE(app != nullptr && read->message.metadata.empty());
      FUZZ_REQUIRE(view->payload_type == app->payload_type && view->blob.size() == size_of(app->blob));
      FUZZ_REQUIRE(view->blob.empty() || std::memcmp(view->blob.data(), app->blob->data(), view->blob.size()) == 0);
    }
  }
  return 0;
}
