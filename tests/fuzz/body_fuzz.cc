// Bodies of frames: any bytes behind any header give an error or a body; a body that decodes encodes and decodes to
// the same again.

#include <cstdlib>
#include <cstring>

#include "frame/body.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace slipway;
  std::vector<std::byte> frame(kFrameHeaderBytes + size);
  FrameHeader header;
  header.kind = size > 0 ? static_cast<FrameKind>(1 + data[0] % 5) : FrameKind::kLink;
  store_header(frame.data(), header);
  if (size > 0) {
    std::memcpy(frame.data() + kFrameHeaderBytes, data, size);
  }
  if (const auto body = decode_subscribe(frame)) {
    const auto again = decode_subscribe(encode_subscribe(header, *body));
    if (again && (again->subscription_id != body->subscription_id || again->destination_text != body->destination_text)) {
      std::abort();
    }
  }
  if (const auto body = decode_subscription_ack(frame)) {
    const auto again = decode_subscription_ack(encode_subscription_ack(*body));
    if (!again || again->error != body->error || again->success != body->success) {
      std::abort();
    }
  }
  if (const auto body = decode_link(frame)) {
    const auto again = decode_link(encode_link(*body));
    if (again && again->index() != body->index()) {
      std::abort();
    }
  }
  const auto view = view_publish(frame);
  if (const auto body = decode_publish(frame)) {
    if (!view || view->payload.data() != body->payload.data() || view->payload.size() != body->payload.size()) {
      std::abort();
    }
  }
  return 0;
}
