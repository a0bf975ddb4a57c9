#pragma once
// A message that lies in several pieces of memory, as receive buffers have it, seen as one run of bytes. Nothing here
// owns or copies: the caller keeps the pieces alive. Pure functions: any thread.

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace slipway {

using Piece = std::span<const std::byte>;

// A stretch of a message, by offset. Messages are at most 4 MiB, so 32 bits hold every offset.
struct Range {
  std::uint32_t at = 0;
  std::uint32_t size = 0;

  [[nodiscard]] constexpr std::uint32_t end() const { return at + size; }
  [[nodiscard]] constexpr bool empty() const { return size == 0; }
  friend constexpr bool operator==(const Range&, const Range&) = default;
};

// What texts of names and tokens cost when each is a call of memcpy: more than all else that is done with them.
inline void copy_bytes(std::byte* to, const std::byte* from, std::size_t size) {
  const auto ends = [&]<class T>(T) {
    T first, last;
    std::memcpy(&first, from, sizeof(T));
    std::memcpy(&last, from + size - sizeof(T), sizeof(T));
    std::memcpy(to, &first, sizeof(T));
    std::memcpy(to + size - sizeof(T), &last, sizeof(T));
  };
  if (size > 32) {
    std::memcpy(to, from, size);
  } else if (size >= 16) {
    ends(std::array<std::uint64_t, 2>{});
  } else if (size >= 8) {
    ends(std::uint64_t{});
  } else if (size >= 4) {
    ends(std::uint32_t{});
  } else {
    for (std::size_t i = 0; i < size; ++i) {
      to[i] = from[i];
    }
  }
}

class Pieces {
 public:
  // Empty pieces among them are fine. All together at most 4 GiB - 1; callers bound messages far below.
  explicit Pieces(std::span<const Piece> pieces) : pieces_(pieces) {
    for (const Piece& piece : pieces) {
      size_ += piece.size();
    }
  }

  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] std::span<const Piece> pieces() const { return pieces_; }

  // Calls take(Piece) for each contiguous part of the range, in order, until it answers false; then so does this.
  // The range lies within the message.
  template <class Take>
  bool each(Range range, Take&& take) const {
    std::size_t skip = range.at;
    std::size_t left = range.size;
    for (const Piece& piece : pieces_) {
      if (left == 0) {
        break;
      }
      if (skip >= piece.size()) {
        skip -= piece.size();
        continue;
      }
      const std::size_t part = left < piece.size() - skip ? left : piece.size() - skip;
      if (!take(piece.subspan(skip, part))) {
        return false;
      }
      left -= part;
      skip = 0;
    }
    return true;
  }

  // `to` may be null where the range is empty.
  void copy(Range range, std::byte* to) const {
    if (range.empty()) {
      return;
    }
    if (!pieces_.empty() && range.end() <= pieces_[0].size()) {  // as small messages lie
      copy_bytes(to, pieces_[0].data() + range.at, range.size);
      return;
    }
    copy_parts(range, to);
  }

 private:
  void copy_parts(Range range, std::byte* to) const;

  std::span<const Piece> pieces_;
  std::size_t size_ = 0;
};

}  // namespace slipway
