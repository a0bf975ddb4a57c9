#include "edge/proto_reader.h"

#include "edge/proto_varint.h"
#include "frame/frame.h"

namespace slipway {
namespace {

// UTF-8 that may be cut anywhere: what is pending at the end of one part goes on in the next.
class Utf8Checker {
 public:
  bool take(Piece part) {
    const std::byte* at = part.data();
    const std::byte* const end = at + part.size();
    while (at != end) {
      if (pending_ == 0) {
        while (end - at >= 32 && ((load_le<std::uint64_t>(at) | load_le<std::uint64_t>(at + 8) | load_le<std::uint64_t>(at + 16) |
                                   load_le<std::uint64_t>(at + 24)) & kVarintHighBits) == 0) {
          at += 32;
        }
        while (end - at >= 8 && (load_le<std::uint64_t>(at) & kVarintHighBits) == 0) {
          at += 8;
        }
        if (at == end) {
          break;
        }
      }
      if (!step(static_cast<std::uint8_t>(*at++))) {
        return false;
      }
    }
    return true;
  }
  [[nodiscard]] bool complete() const { return pending_ == 0; }

 private:
  bool step(std::uint8_t byte) {
    if (pending_ == 0) {
      return byte < 0x80 || lead(byte);
    }
    if (byte < low_ || byte > high_) {
      return false;
    }
    --pending_;
    low_ = 0x80;
    high_ = 0xBF;
    return true;
  }
  // The byte after a lead byte has a narrower range where the form would be overlong, a surrogate or too large.
  bool lead(std::uint8_t byte) {
    if (byte < 0xC2 || byte > 0xF4) {
      return false;
    }
    pending_ = byte >= 0xF0 ? 3 : byte >= 0xE0 ? 2 : 1;
    low_ = byte == 0xE0 ? 0xA0 : byte == 0xF0 ? 0x90 : 0x80;
    high_ = byte == 0xED ? 0x9F : byte == 0xF4 ? 0x8F : 0xBF;
    return true;
  }

  std::uint8_t pending_ = 0;
  std::uint8_t low_ = 0x80;
  std::uint8_t high_ = 0xBF;
};

}  // namespace

// Ten bytes can be read here, but the message entered may end before them; what runs past it is cut short.
bool ProtoReader::varint_in_piece(std::uint64_t* value) {
  const unsigned bytes = load_varint(cursor_, value);
  const std::ptrdiff_t left = stop_ - cursor_;
  if (left < (bytes != 0 ? static_cast<std::ptrdiff_t>(bytes) : kMaxVarintBytes)) {
    return fail(EdgeFault::kCutShort);
  }
  if (bytes == 0) {
    return fail(EdgeFault::kBadNumber);
  }
  cursor_ += bytes;
  return true;
}

bool ProtoReader::varint_anywhere(std::uint64_t* value) {
  std::uint64_t result = 0;
  bool long_number = false;
  for (unsigned shift = 0; shift < 70; shift += 7) {
    if (cursor_ == stop_ && !more()) {
      return fail(EdgeFault::kCutShort);
    }
    const auto byte = static_cast<std::uint8_t>(*cursor_++);
    long_number = shift == 63 && byte > 1;
    result |= std::uint64_t{byte & 0x7Fu} << shift;
    if (byte < 0x80) {
      break;
    }
  }
  *value = result;
  return !long_number || fail(EdgeFault::kBadNumber);
}

void ProtoReader::advance_pieces(std::uint32_t bytes) {
  while (bytes > static_cast<std::size_t>(piece_end_ - cursor_)) {
    bytes -= static_cast<std::uint32_t>(piece_end_ - cursor_);
    cursor_ = piece_end_;
    if (!next_piece()) {
      return;
    }
  }
  cursor_ += bytes;
}

// Every type but length-delimited and groups, which next() and skip_other() know.
bool ProtoReader::skip_value(WireType type) {
  if (type == WireType::kVarint) {
    std::uint64_t ignored;
    return varint(&ignored);
  }
  const std::uint32_t bytes = type == WireType::kFixed64 ? 8 : 4;
  if (limit_ - at() < bytes) {
    return fail(EdgeFault::kCutShort);
  }
  advance(bytes);
  return true;
}

// Without recursion: a stack of the numbers of the groups that are open.
bool ProtoReader::skip_other(const ProtoField& field) {
  std::uint32_t open[kMaxUnknownGroups];
  std::size_t depth = 0;
  ProtoField inner = field;
  for (;;) {
    if (inner.type == WireType::kGroupStart) {
      if (depth == kMaxUnknownGroups) {
        return fail(EdgeFault::kTooDeep);
      }
      open[depth++] = inner.number;
    } else if (inner.type == WireType::kGroupEnd) {
      if (depth == 0 || open[depth - 1] != inner.number) {
        return fail(EdgeFault::kBadGroup);
      }
      --depth;
    } else if (inner.type == WireType::kLength) {
      skip_content(inner);
    } else if (!skip_value(inner.type)) {
      return false;
    }
    if (depth == 0) {
      return true;
    }
    if (!next(&inner)) {
      return fail(EdgeFault::kBadGroup);
    }
  }
}

bool ProtoReader::utf8(const ProtoField& field) {
  Utf8Checker checker;
  std::uint32_t left = field.content.size;
  while (left != 0) {
    if (cursor_ == piece_end_ && !next_piece()) {
      return fail(EdgeFault::kCutShort);
    }
    const auto in_piece = static_cast<std::size_t>(piece_end_ - cursor_);
    const std::uint32_t part = left < in_piece ? left : static_cast<std::uint32_t>(in_piece);
    if (!checker.take({cursor_, part})) {
      return fail(EdgeFault::kNotUtf8);
    }
    cursor_ += part;
    left -= part;
  }
  return checker.complete() || fail(EdgeFault::kNotUtf8);
}

}  // namespace slipway
