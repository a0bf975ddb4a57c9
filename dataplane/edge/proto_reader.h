#pragma once
// Reads protobuf in place from a message in pieces: every length is checked before a byte is touched, nothing throws,
// nothing allocates. It accepts exactly what upstream's decoder (prost) accepts, so that what passes here cannot end the
// stream of an application that the message is forwarded to.
//
// A nested message is read by narrowing the reader: `const auto outer = reader.enter(field)`, read to at_end(), then
// `reader.leave(outer)`. After a fault every call fails and fault() says why. One owner at a time.

#include <cstdint>

#include "bounds.h"
#include "edge/proto_fault.h"
#include "edge/proto_pieces.h"

namespace slipway {

enum class WireType : std::uint8_t { kVarint = 0, kFixed64 = 1, kLength = 2, kGroupStart = 3, kGroupEnd = 4, kFixed32 = 5 };

// A field's key, and of a length-delimited field where its content lies.
struct ProtoField {
  std::uint32_t number = 0;
  WireType type = WireType::kVarint;
  std::uint32_t begin = 0;  // offset of the key
  Range content;            // kLength only

  [[nodiscard]] bool is(std::uint32_t n, WireType t) const { return number == n && type == t; }
};

class ProtoReader {
 public:
  explicit ProtoReader(const Pieces& message)
      : pieces_(message.pieces()), limit_(static_cast<std::uint32_t>(message.size())) {
    next_piece();
  }

  [[nodiscard]] std::uint32_t at() const { return piece_end_at_ - static_cast<std::uint32_t>(piece_end_ - cursor_); }
  [[nodiscard]] bool at_end() const { return at() == limit_; }
  [[nodiscard]] EdgeFault fault() const { return fault_; }

  // Records the first fault; always false, so that a caller can return it.
  bool fail(EdgeFault fault) {
    if (fault_ == EdgeFault::kNone) {
      fault_ = fault;
      limit_ = at();
      stop_ = cursor_;
    }
    return false;
  }

  // The next field of the message entered; false at its end and on a fault. The reader then stands before the value.
  bool next(ProtoField* field) {
    if (cursor_ == stop_ && !more()) {
      return false;
    }
    field->begin = at();
    std::uint64_t key;
    if (!varint(&key)) {
      return false;
    }
    const auto type = static_cast<std::uint8_t>(key & 7);
    if (key > UINT32_MAX || (key >> 3) == 0 || type > 5) {
      return fail(EdgeFault::kBadKey);
    }
    field->number = static_cast<std::uint32_t>(key >> 3);
    field->type = static_cast<WireType>(type);
    if (field->type == WireType::kLength) {
      std::uint64_t size;
      if (!varint(&size)) {
        return false;
      }
      field->content.at = at();
      if (size > limit_ - field->content.at) {
        return fail(EdgeFault::kCutShort);
      }
      field->content.size = static_cast<std::uint32_t>(size);
    }
    return true;
  }

  bool varint(std::uint64_t* value) {
    if (cursor_ != stop_ && static_cast<std::uint8_t>(*cursor_) < 0x80) {
      *value = static_cast<std::uint8_t>(*cursor_++);
      return true;
    }
    return piece_end_ - cursor_ >= kMaxVarintBytes ? varint_in_piece(value) : varint_anywhere(value);
  }

  // Past the content of a length-delimited field at which the reader stands.
  void skip_content(const ProtoField& field) { advance(field.content.size); }

  // Past the value of any field, groups included: how unknown fields are stepped over.
  bool skip(const ProtoField& field) {
    if (field.type == WireType::kLength) {
      skip_content(field);
      return true;
    }
    return skip_other(field);
  }

  // The content of a length-delimited field must be UTF-8; leaves the reader behind it.
  bool utf8(const ProtoField& field);

  // The content of a field before which the reader stands, where it lies in one piece; otherwise nothing.
  [[nodiscard]] Piece in_place(const ProtoField& field) const {
    return static_cast<std::size_t>(piece_end_ - cursor_) >= field.content.size ? Piece(cursor_, field.content.size) : Piece();
  }
  // Where the piece ends in which the reader stands.
  [[nodiscard]] const std::byte* readable_end() const { return piece_end_; }

  [[nodiscard]] std::uint32_t enter(const ProtoField& field) {
    const std::uint32_t outer = limit_;
    set_limit(field.content.end());
    return outer;
  }
  // Back to the enclosing message. False when the nested one was not read to its end because of a fault.
  bool leave(std::uint32_t outer) {
    if (fault_ != EdgeFault::kNone) {
      return false;
    }
    set_limit(outer);
    return true;
  }

 private:
  static constexpr std::ptrdiff_t kMaxVarintBytes = 10;

  void set_limit(std::uint32_t limit) {
    limit_ = limit;
    stop_ = limit < piece_end_at_ ? piece_end_ - (piece_end_at_ - limit) : piece_end_;
  }
  // To the next piece that is not empty; false when there is none.
  bool next_piece() {
    while (index_ < pieces_.size()) {
      const Piece piece = pieces_[index_++];
      if (!piece.empty()) {
        cursor_ = piece.data();
        piece_end_ = cursor_ + piece.size();
        piece_end_at_ += static_cast<std::uint32_t>(piece.size());
        set_limit(limit_);
        return true;
      }
    }
    return false;
  }
  // At stop_: is there more of the message entered, in another piece?
  bool more() { return at() != limit_ && next_piece(); }
  // The caller has checked that so many bytes are left.
  void advance(std::uint32_t bytes) {
    if (bytes <= static_cast<std::size_t>(piece_end_ - cursor_)) {
      cursor_ += bytes;
      return;
    }
    advance_pieces(bytes);
  }
  void advance_pieces(std::uint32_t bytes);
  bool varint_in_piece(std::uint64_t* value);
  bool varint_anywhere(std::uint64_t* value);
  bool skip_other(const ProtoField& field);
  bool skip_value(WireType type);

  std::span<const Piece> pieces_;
  std::size_t index_ = 0;
  const std::byte* cursor_ = nullptr;
  const std::byte* stop_ = nullptr;       // end of what may be read of this piece: its own, or that of the message entered
  const std::byte* piece_end_ = nullptr;
  std::uint32_t piece_end_at_ = 0;        // offset of piece_end_ in the message
  std::uint32_t limit_;                   // offset where the message entered ends
  EdgeFault fault_ = EdgeFault::kNone;
};

}  // namespace slipway
