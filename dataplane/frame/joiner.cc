#include "frame/joiner.h"

#include <algorithm>
#include <bit>

namespace slipway {
namespace {

// Link (14 bits matter), sending worker, frame number: all that tells frames being joined apart.
std::uint64_t make_key(std::uint32_t link, const Shim& shim) {
  return std::uint64_t{link} << 24 | std::uint64_t{shim.sending_worker} << 16 | shim.frame_number;
}

}  // namespace

Joiner::Joiner(const JoinLimits& limits) : limits_(limits) {
  limits_.frames = std::max<std::uint32_t>(limits_.frames, 1);
  slots_.resize(limits_.frames);
  of_link_.assign(kMaxLinks, 0);
  index_.assign(std::bit_ceil(std::size_t{limits_.frames} * 2), kNone);
  for (std::uint32_t i = limits_.frames; i-- > 0;) {
    slots_[i].newer = free_;
    free_ = i;
  }
}

JoinResult Joiner::add(std::uint32_t link, const Shim& shim, std::uint32_t piece_bytes, std::uint64_t now_ms) {
  const auto refuse = [](JoinFault fault) { return JoinResult{.outcome = JoinOutcome::kRefused, .fault = fault}; };
  if (shim.total_bytes > limits_.frame_bytes) {
    return refuse(JoinFault::kTooBig);
  }
  if (piece_bytes < kMinPieceBytes && (shim.flags & shim_flag::kLast) == 0) {
    return refuse(JoinFault::kSmallPiece);
  }
  const std::uint64_t key = make_key(link, shim);
  std::uint32_t number = find(key);
  if (number == kNone) {
    if (free_ == kNone || bytes_ + piece_bytes > limits_.bytes || of_link_[link % kMaxLinks] >= limits_.frames_per_link) {
      return refuse(JoinFault::kLimit);
    }
    number = open(key, link, shim.total_bytes, now_ms);
  }
  Slot& slot = slots_[number];
  if (slot.poisoned) {
    return refuse(JoinFault::kConflict);
  }
  if (slot.total_bytes != shim.total_bytes) {
    return poison(number);
  }
  // Pieces mostly come in order: look from the end.
  std::uint32_t position = slot.pieces;
  while (position > 0 && slot.piece[position - 1].offset > shim.fragment_offset) {
    --position;
  }
  if (position > 0) {
    const Piece& before = slot.piece[position - 1];
    if (before.offset == shim.fragment_offset && before.bytes == piece_bytes) {
      return refuse(JoinFault::kDuplicate);
    }
    if (before.offset + before.bytes > shim.fragment_offset) {
      return poison(number);
    }
  }
  if (position < slot.pieces && shim.fragment_offset + piece_bytes > slot.piece[position].offset) {
    return poison(number);
  }
  if (slot.pieces == kMaxPieces || bytes_ + piece_bytes > limits_.bytes) {
    return refuse(JoinFault::kLimit);
  }
  std::copy_backward(slot.piece.begin() + position, slot.piece.begin() + slot.pieces, slot.piece.begin() + slot.pieces + 1);
  slot.piece[position] = {.offset = shim.fragment_offset, .bytes = piece_bytes};
  ++slot.pieces;
  slot.held_bytes += piece_bytes;
  bytes_ += piece_bytes;
  JoinResult result{.outcome = JoinOutcome::kHeld, .slot = number, .position = position, .pieces = slot.pieces};
  // Pieces do not overlap and none passes the end, so that as many bytes as the frame has are the frame.
  if (slot.held_bytes == slot.total_bytes) {
    result.outcome = JoinOutcome::kWhole;
    close(number);
  }
  return result;
}

bool Joiner::expire_one(std::uint64_t now_ms, Gone& gone) {
  if (oldest_ == kNone || slots_[oldest_].deadline_ms > now_ms) {
    return false;
  }
  const std::uint32_t number = oldest_;
  gone = {.slot = number, .link = slots_[number].link, .bytes = slots_[number].held_bytes};
  close(number);
  return true;
}

bool Joiner::forget_one(std::uint32_t link, Gone& gone) {
  for (std::uint32_t i = of_link_[link % kMaxLinks] == 0 ? kNone : oldest_; i != kNone; i = slots_[i].newer) {
    if (slots_[i].link == link) {
      gone = {.slot = i, .link = link, .bytes = slots_[i].held_bytes};
      close(i);
      return true;
    }
  }
  return false;
}

JoinResult Joiner::poison(std::uint32_t number) {
  Slot& slot = slots_[number];
  const std::uint32_t pieces = slot.pieces;
  bytes_ -= slot.held_bytes;
  slot.held_bytes = 0;
  slot.pieces = 0;
  slot.poisoned = true;
  return {.outcome = JoinOutcome::kPoisoned, .fault = JoinFault::kConflict, .slot = number, .pieces = pieces};
}

std::uint32_t Joiner::open(std::uint64_t key, std::uint32_t link, std::uint32_t total_bytes, std::uint64_t now_ms) {
  const std::uint32_t number = free_;
  Slot& slot = slots_[number];
  free_ = slot.newer;
  slot.key = key;
  slot.link = link;
  slot.deadline_ms = now_ms + limits_.deadline_ms;
  slot.total_bytes = total_bytes;
  slot.held_bytes = 0;
  slot.pieces = 0;
  slot.poisoned = false;
  // All frames have the same time, so that the order of opening is the order of deadlines.
  slot.older = newest_;
  slot.newer = kNone;
  (newest_ == kNone ? oldest_ : slots_[newest_].newer) = number;
  newest_ = number;
  ++used_;
  ++of_link_[link % kMaxLinks];
  index_insert(key, number);
  return number;
}

void Joiner::close(std::uint32_t number) {
  Slot& slot = slots_[number];
  bytes_ -= slot.held_bytes;
  (slot.older == kNone ? oldest_ : slots_[slot.older].newer) = slot.newer;
  (slot.newer == kNone ? newest_ : slots_[slot.newer].older) = slot.older;
  --used_;
  --of_link_[slot.link % kMaxLinks];
  index_erase(slot.key);
  slot.newer = free_;
  free_ = number;
}

std::size_t Joiner::home(std::uint64_t key) const {
  return static_cast<std::size_t>((key * 0x9E3779B97F4A7C15u) >> 32) & (index_.size() - 1);
}

std::uint32_t Joiner::find(std::uint64_t key) const {
  for (std::size_t i = home(key);; i = (i + 1) & (index_.size() - 1)) {
    if (index_[i] == kNone || slots_[index_[i]].key == key) {
      return index_[i];
    }
  }
}

void Joiner::index_insert(std::uint64_t key, std::uint32_t number) {
  std::size_t i = home(key);
  while (index_[i] != kNone) {
    i = (i + 1) & (index_.size() - 1);
  }
  index_[i] = number;
}

void Joiner::index_erase(std::uint64_t key) {
  const std::size_t mask = index_.size() - 1;
  std::size_t hole = home(key);
  while (slots_[index_[hole]].key != key) {
    hole = (hole + 1) & mask;
  }
  // Move back what would no longer be found past the hole.
  for (std::size_t i = (hole + 1) & mask; index_[i] != kNone; i = (i + 1) & mask) {
    const std::size_t wanted = home(slots_[index_[i]].key);
    if (((i - wanted) & mask) >= ((i - hole) & mask)) {
      index_[hole] = index_[i];
      hole = i;
    }
  }
  index_[hole] = kNone;
}

}  // namespace slipway
