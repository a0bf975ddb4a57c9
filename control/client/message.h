#pragma once
// A publish as its receiver sees it: a view into the buffer that it was received in, valid until the callback that
// got it returns. The body is parsed when something of it is asked for.

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "frame/body.h"
#include "frame/frame.h"

namespace slipway {

class ClientMessage {
 public:
  explicit ClientMessage(std::span<const std::byte> frame) : frame_(frame) {}

  [[nodiscard]] std::span<const std::byte> frame() const { return frame_; }  // header and body, as on the wire
  [[nodiscard]] std::span<const std::byte> body() const { return frame_.subspan(kFrameHeaderBytes); }
  [[nodiscard]] FrameHeader header() const { return load_header(frame_.data()); }
  [[nodiscard]] Name source() const { return load_name(frame_.data() + frame_offset::kSource); }
  [[nodiscard]] Name destination() const { return load_name(frame_.data() + frame_offset::kDestination); }
  [[nodiscard]] bool to_all() const { return frame_fanout(frame_.data()) != 1; }  // a channel message

  // Empty when the body is none of ours (not valid, or a command of the session layer).
  [[nodiscard]] std::span<const std::byte> payload() const { return view().payload; }
  [[nodiscard]] std::string_view payload_text() const {
    return {reinterpret_cast<const char*>(payload().data()), payload().size()};
  }
  [[nodiscard]] std::string_view payload_type() const { return view().payload_type; }
  // Text where the sender gave some, hashes where not.
  [[nodiscard]] std::string source_text() const { return name_text(view().source_text, source()); }
  [[nodiscard]] std::string destination_text() const { return name_text(view().destination_text, destination()); }
  [[nodiscard]] const PublishView& view() const {
    if (!view_) {
      view_ = view_publish(frame_).value_or(PublishView{});
    }
    return *view_;
  }

 private:
  static std::string name_text(const std::array<std::string_view, 3>& text, const Name& name);

  std::span<const std::byte> frame_;
  mutable std::optional<PublishView> view_;
};

}  // namespace slipway
