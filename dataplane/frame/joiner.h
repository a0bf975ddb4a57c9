#pragma once
// Which pieces of cut frames have come, and when a frame is whole: the bookkeeping of a datagram link's receiver,
// without buffers, so that the node (mbuf chains) and the native client (byte vectors) share it.
//
// A sender cuts a frame into pieces of one frame number; each says its offset and the frame's length (shim.h).
// Rules: pieces come in any order; a second copy of a piece is refused and changes nothing; pieces that overlap or
// disagree on the length poison the frame: what came is thrown away and the rest of it is refused until the
// deadline. Every piece but the last holds at least kMinPieceBytes, so that small pieces cannot pin many buffers.
// Bounded in frames, in frames a link, in bytes and in pieces a frame; a frame has `deadline_ms` from its first piece.
//
// No I/O, no clock. One owner: the worker, or the client's loop. Allocates in the constructor only.

#include <array>
#include <cstdint>
#include <vector>

#include "bounds.h"
#include "frame/shim.h"

namespace slipway {

struct JoinLimits {
  std::uint32_t frames = kMaxJoins;
  std::uint32_t frames_per_link = kMaxJoinsPerLink;
  std::size_t bytes = kJoinBytes;
  std::uint32_t frame_bytes = kMaxDatagramFrameBytes;  // of one frame
  std::uint64_t deadline_ms = kJoinDeadlineMs;
};

enum class JoinOutcome : std::uint8_t {
  kHeld,      // the caller keeps the piece, as number `position` of `slot`
  kWhole,     // likewise, and now all pieces of `slot` are there: the caller takes them; the slot is free again
  kRefused,   // the caller throws the piece away (why: fault); nothing else changes
  kPoisoned,  // the caller throws away the piece and all pieces of `slot`
};
enum class JoinFault : std::uint8_t { kNone, kDuplicate, kConflict, kLimit, kTooBig, kSmallPiece };

struct JoinResult {
  JoinOutcome outcome = JoinOutcome::kRefused;
  JoinFault fault = JoinFault::kNone;
  std::uint32_t slot = 0;      // 0 .. limits.frames - 1; the caller's store of pieces is indexed by it
  std::uint32_t position = 0;  // where the piece belongs among those held: pieces before it number `position`
  std::uint32_t pieces = 0;    // held now, with this one
};

class Joiner {
 public:
  explicit Joiner(const JoinLimits& limits = {});

  // A piece that check_shim accepted and whose link the caller has found. Not for whole frames (Shim::whole).
  JoinResult add(std::uint32_t link, const Shim& shim, std::uint32_t piece_bytes, std::uint64_t now_ms);

  // Frames whose deadline has passed, one a call: the caller throws away the pieces of `slot`.
  // `bytes` were held; 0 for a poisoned frame, whose pieces are gone already (it was counted then).
  struct Gone {
    std::uint32_t slot = 0;
    std::uint32_t link = 0;
    std::size_t bytes = 0;
  };
  [[nodiscard]] bool expire_one(std::uint64_t now_ms, Gone& gone);
  // Frames of a link that goes away, one a call.
  [[nodiscard]] bool forget_one(std::uint32_t link, Gone& gone);

  [[nodiscard]] std::size_t bytes() const { return bytes_; }     // held now
  [[nodiscard]] std::uint32_t frames() const { return used_; }   // being joined, the poisoned included
  [[nodiscard]] const JoinLimits& limits() const { return limits_; }

 private:
  static constexpr std::uint32_t kNone = 0xFFFFFFFF;
  struct Piece {
    std::uint32_t offset;
    std::uint32_t bytes;
  };
  struct Slot {
    std::uint64_t key = 0;
    std::uint64_t deadline_ms = 0;
    std::uint32_t link = 0;
    std::uint32_t total_bytes = 0;
    std::uint32_t held_bytes = 0;
    std::uint32_t pieces = 0;
    std::uint32_t older = kNone;  // by deadline; free slots are chained by `newer`
    std::uint32_t newer = kNone;
    bool poisoned = false;
    std::array<Piece, kMaxPieces> piece;
  };

  [[nodiscard]] std::uint32_t find(std::uint64_t key) const;
  std::uint32_t open(std::uint64_t key, std::uint32_t link, std::uint32_t total_bytes, std::uint64_t now_ms);
  void close(std::uint32_t slot);
  void index_insert(std::uint64_t key, std::uint32_t slot);
  void index_erase(std::uint64_t key);
  [[nodiscard]] std::size_t home(std::uint64_t key) const;
  JoinResult poison(std::uint32_t slot);

  JoinLimits limits_;
  std::vector<Slot> slots_;
  std::vector<std::uint32_t> index_;  // open addressing on the key: slot numbers
  std::vector<std::uint16_t> of_link_;  // frames of each link
  std::uint32_t free_ = kNone;
  std::uint32_t oldest_ = kNone;
  std::uint32_t newest_ = kNone;
  std::uint32_t used_ = 0;
  std::size_t bytes_ = 0;
};

}  // namespace slipway
