#pragma once
// Writes protobuf into scratch memory and gathers pieces of it and of the input. Private to the translation.

#include <bit>
#include <cstring>

#include "edge/proto_reader.h"
#include "edge/proto_varint.h"
#include "edge/translate.h"

namespace slipway {

// Bytes of a number as varint.
constexpr std::uint32_t varint_bytes(std::uint64_t value) {
  return (static_cast<std::uint32_t>(std::bit_width(value | 1)) + 6) / 7;
}
// All field numbers written here are below 16, so their key is one byte.
constexpr std::uint32_t nested_bytes(std::uint32_t content) { return 1 + varint_bytes(content) + content; }
// A number that is left out when it is zero, as proto3 does.
constexpr std::uint32_t number_bytes(std::uint64_t value) { return value == 0 ? 0 : 1 + varint_bytes(value); }

class PieceWriter {
 public:
  PieceWriter(const Pieces& input, const TranslateRoom& room)
      : input_(input), room_(room), at_(room.scratch.data()), begin_(at_), end_(at_ + room.scratch.size()) {}

  // Of the scratch, for what has a fixed layout.
  std::byte* take(std::size_t bytes) {
    std::byte* const at = at_;
    at_ += bytes;
    return at;
  }
  void varint(std::uint64_t value) { at_ = store_varint(at_, value); }
  void key(std::uint32_t field, WireType type) { *at_++ = static_cast<std::byte>(field << 3 | static_cast<std::uint32_t>(type)); }
  void nested(std::uint32_t field, std::uint32_t content) {
    key(field, WireType::kLength);
    varint(content);
  }
  void number(std::uint32_t field, std::uint64_t value) {
    if (value != 0) {
      present_number(field, value);
    }
  }
  void present_number(std::uint32_t field, std::uint64_t value) {
    key(field, WireType::kVarint);
    varint(value);
  }

  // The kept stretches of one level. Those of the header are copied as long as there is room, so that the front of the result is
  // one piece; contents and metadata only where they are small.
  bool level(const UpstreamMessage& message, KeptLevel level) {
    // Behind contents and metadata comes nothing that must be written.
    const bool last = level == KeptLevel::kVariant || level == KeptLevel::kMessage;
    const CopyRule rule = last ? CopyRule{kEdgeContentCopyBytes, 0} : CopyRule{room_.scratch.size(), kTranslateStructureBytes};
    std::uint32_t left = message.bytes_of(level);
    for (const KeptRun* run = message.run_list.data(); left != 0; ++run) {
      if (run->level == level) {
        left -= run->range.size;
        if (!run_of(run->range, rule)) {
          return false;
        }
      }
    }
    return true;
  }

  // Ends the list; false when it does not hold everything.
  bool finish(Translated* done) {
    if (!close_scratch()) {
      return false;
    }
    *done = {count_, bytes_, static_cast<std::size_t>(at_ - room_.scratch.data()), mac, covered_bytes};
    return true;
  }

  std::byte* mac = nullptr;       // as in Translated
  std::size_t covered_bytes = 0;

 private:
  struct CopyRule {
    std::size_t most;  // bytes of one copy
    std::size_t keep;  // of the scratch, for what comes behind it
  };
  bool run_of(Range range, CopyRule rule) {
    // A stretch that goes on where the last piece ends costs nothing to reference.
    bool extends = at_ == begin_ && count_ != 0 && follows(range);
    if (!extends) {
      // What must always be written fits behind a copy: only copies can use the scratch up.
      if (range.size <= rule.most && static_cast<std::size_t>(end_ - at_) >= range.size + rule.keep) {
        input_.copy(range, at_);
        at_ += range.size;
        return true;
      }
      if (!close_scratch()) {
        return false;
      }
    }
    return input_.each(range, [&](Piece part) {
      if (extends) {
        extends = false;
        bytes_ += part.size();
        Piece& last = room_.pieces[count_ - 1];
        last = {last.data(), last.size() + part.size()};
        return true;
      }
      return append(part);
    });
  }
  // Only inside one piece of the input: neighbours in memory may belong to different owners.
  bool follows(Range range) const {
    const Piece& last = room_.pieces[count_ - 1];
    std::size_t skip = range.at;
    for (const Piece& piece : input_.pieces()) {
      if (skip < piece.size()) {
        return skip != 0 && piece.data() + skip == last.data() + last.size();
      }
      skip -= piece.size();
    }
    return false;
  }
  bool close_scratch() {
    const Piece written(begin_, static_cast<std::size_t>(at_ - begin_));
    begin_ = at_;
    return written.empty() || append(written);
  }
  bool append(Piece part) {
    if (count_ == room_.pieces.size()) {
      return false;
    }
    bytes_ += part.size();
    room_.pieces[count_++] = part;
    return true;
  }

  const Pieces& input_;
  const TranslateRoom& room_;
  std::byte* at_;
  std::byte* begin_;  // of what is written and not yet a piece
  std::byte* end_;
  std::size_t count_ = 0;
  std::size_t bytes_ = 0;
};

}  // namespace slipway
