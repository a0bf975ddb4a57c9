#pragma once
// Messages cut into pieces, translations with room of their own, and pieces put together again.

#include <gtest/gtest.h>

#include <memory>
#include <random>
#include <vector>

#include "edge/translate.h"

namespace slipway {

using Bytes = std::vector<std::byte>;

inline Bytes bytes_of(std::string_view text) {
  const auto* at = reinterpret_cast<const std::byte*>(text.data());
  return {at, at + text.size()};
}

// Owns each piece apart, so that a sanitizer sees a read across the end of one.
class CutMessage {
 public:
  CutMessage(const Bytes& message, const std::vector<std::size_t>& sizes) {
    std::size_t at = 0;
    for (std::size_t i = 0; at < message.size(); ++i) {
      const std::size_t size = std::min(i < sizes.size() ? sizes[i] : message.size() - at, message.size() - at);
      parts_.push_back(std::make_unique<std::byte[]>(size));
      std::copy_n(message.begin() + static_cast<std::ptrdiff_t>(at), size, parts_.back().get());
      pieces_.emplace_back(parts_.back().get(), size);
      at += size;
    }
  }
  [[nodiscard]] Pieces pieces() const { return Pieces(pieces_); }
  [[nodiscard]] const std::vector<Piece>& list() const { return pieces_; }

 private:
  std::vector<std::unique_ptr<std::byte[]>> parts_;
  std::vector<Piece> pieces_;
};

inline CutMessage whole(const Bytes& message) { return {message, {}}; }
inline CutMessage bytewise(const Bytes& message) { return {message, std::vector<std::size_t>(message.size(), 1)}; }
inline CutMessage cut_at_random(const Bytes& message, std::mt19937& random) {
  std::vector<std::size_t> sizes;
  for (std::size_t at = 0; at < message.size(); at += sizes.back()) {
    sizes.push_back(random() % 8 == 0 ? 0 : 1 + random() % 40);
  }
  return {message, sizes};
}

struct Room {
  explicit Room(std::size_t input_pieces, std::size_t scratch_bytes = kTranslateScratchBytes)
      : scratch(scratch_bytes), pieces(input_pieces + 16) {}
  TranslateRoom room() { return {scratch, pieces}; }
  [[nodiscard]] Bytes joined(const Translated& done) const {
    Bytes all;
    for (std::size_t i = 0; i < done.piece_count; ++i) {
      all.insert(all.end(), pieces[i].begin(), pieces[i].end());
    }
    EXPECT_EQ(all.size(), done.bytes);
    return all;
  }
  Bytes scratch;
  std::vector<Piece> pieces;
};

using Outcome = std::expected<Bytes, EdgeFault>;

inline Outcome frame_of(const CutMessage& message, const MacRules& rules = {.checked = false}) {
  Room room(message.list().size());
  const auto done = frame_of_message(message.pieces(), rules, room.room());
  if (!done) {
    return std::unexpected(done.error());
  }
  return room.joined(*done);
}

inline Outcome message_of(const Bytes& frame, const EgressFields& fields, const CutMessage& body) {
  Room room(body.list().size());
  const auto done = message_of_frame(frame.data(), body.pieces(), fields, room.room());
  if (!done) {
    return std::unexpected(done.error());
  }
  return room.joined(*done);
}
inline Bytes body_of(const Bytes& frame) { return {frame.begin() + kFrameHeaderBytes, frame.end()}; }
inline Outcome message_of(const Bytes& frame, const EgressFields& fields = {}) {
  return message_of(frame, fields, whole(body_of(frame)));
}

}  // namespace slipway
