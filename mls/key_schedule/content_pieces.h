// The encoding of FramedContent (RFC 9420, 6) in pieces, so that signing, tagging and hashing it copies
// neither body nor authenticated data. For the files of this folder only.
#pragma once

#include "crypto/vector_header.h"
#include "key_schedule/framing.h"

namespace slipway::mls::internal {

// The whole is: head, group id, middle, authenticated data, tail, body.
class ContentPieces {
 public:
  ContentPieces(WireFormat wire_format, const ContentView& content) {
    put(head_, static_cast<uint16_t>(ProtocolVersion::kMls10), 2);
    put(head_, static_cast<uint16_t>(wire_format), 2);
    put_length(head_, content.group_id.size());
    put(middle_, content.epoch, 8);
    put(middle_, static_cast<uint8_t>(content.sender.type), 1);
    if (content.sender.type == SenderType::kMember || content.sender.type == SenderType::kExternal) {
      put(middle_, content.sender.index, 4);
    }
    put_length(middle_, content.authenticated_data.size());
    put(tail_, static_cast<uint8_t>(content.type), 1);
    if (content.type == ContentType::kApplication) {
      put_length(tail_, content.body.size());
    }
  }

  View head() const { return head_; }  // version, wire format, length of the group id
  View head_without_version() const { return View(head_).subspan(2); }
  View head_of_content() const { return View(head_).subspan(4); }  // length of the group id
  View middle() const { return middle_; }
  View tail() const { return tail_; }

 private:
  template <size_t N>
  static void put(InlineBytes<N>& out, uint64_t value, size_t size) {
    size_t at = out.size();
    out.resize(at + size);
    for (size_t i = 0; i < size; ++i) {
      out.data()[at + i] = static_cast<uint8_t>(value >> (8 * (size - 1 - i)));
    }
  }
  template <size_t N>
  static void put_length(InlineBytes<N>& out, size_t length) {
    size_t at = out.size();
    out.resize(at + length_header_size(length));
    write_length_header(length, out.data() + at);
  }

  InlineBytes<8> head_;
  InlineBytes<17> middle_;
  InlineBytes<5> tail_;
};

}  // namespace slipway::mls::internal
