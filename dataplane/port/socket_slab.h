#pragma once
// The receive slab of one socket worker: pieces of kSlabPieceBytes that the kernel fills and frames refer to.
//
// A piece is free, lent to the kernel (provided buffer ring), or holds received bytes. Frames that refer to a piece
// hold a reference; the last one sends it home, from whichever thread: a stack that takes any number of writers and
// is emptied at once by the owner, so that a preempted thread delays nobody. Free pieces are used last in, first
// out, and few are lent at a time, so that the hot ones stay in the cache.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <memory>
#include <string>

#include <rte_mbuf.h>

#include "bounds.h"

namespace slipway {

class SocketSlab;

inline constexpr std::uint32_t kNoPiece = 0xFFFFFFFF;

struct SlabPiece {
  rte_mbuf_ext_shared_info shared;  // refcnt: one of the owner while it reads, one a frame
  SocketSlab* slab = nullptr;
  std::uint32_t next = kNoPiece;    // in the free stack, the home stack, or a stream's list of received pieces
  std::uint32_t begin = 0;          // received bytes not yet taken
  std::uint32_t end = 0;
  bool dense = false;               // enough of it was filled that frames may refer to it
};

// Memory as DPDK's devices can read it when there are huge pages, else ordinary pages, resident as far as used.
class SocketSlab {
 public:
  static std::expected<std::unique_ptr<SocketSlab>, std::string> create(std::uint32_t pieces, int numa_node);
  ~SocketSlab();
  SocketSlab(const SocketSlab&) = delete;
  SocketSlab& operator=(const SocketSlab&) = delete;

  [[nodiscard]] std::byte* data(std::uint32_t piece) const { return memory_ + std::size_t{piece} * kSlabPieceBytes; }
  [[nodiscard]] rte_iova_t iova(std::uint32_t piece) const { return iova_[piece]; }
  [[nodiscard]] SlabPiece& operator[](std::uint32_t piece) { return pieces_[piece]; }
  // The piece in which a byte of the slab lies.
  [[nodiscard]] std::uint32_t number_of(const std::byte* at) const {
    return static_cast<std::uint32_t>(static_cast<std::size_t>(at - memory_) / kSlabPieceBytes);
  }
  [[nodiscard]] std::uint32_t size() const { return count_; }

  // Owner.
  [[nodiscard]] std::uint32_t take() {  // kNoPiece: none is free
    const std::uint32_t piece = free_;
    if (piece != kNoPiece) {
      free_ = pieces_[piece].next;
      --free_count_;
    }
    return piece;
  }
  void put(std::uint32_t piece) {
    pieces_[piece].next = free_;
    free_ = piece;
    ++free_count_;
  }
  [[nodiscard]] std::uint32_t free_count() const { return free_count_; }
  void collect();  // what others sent home

  // Takes away `count` references that the owner held for frames of its own.
  void drop_references(SlabPiece& piece, std::int16_t count) {
    (void)references(piece);
    if (rte_mbuf_ext_refcnt_update(&piece.shared, static_cast<std::int16_t>(-count)) == 0) {
      put(static_cast<std::uint32_t>(&piece - pieces_));
    }
  }
  // The piece of this slab that an mbuf refers to, or nullptr.
  [[nodiscard]] SlabPiece* piece_of(const rte_mbuf* mbuf) const {
    if (!RTE_MBUF_HAS_EXTBUF(mbuf) || mbuf->shinfo->free_cb != &SocketSlab::on_free) {
      return nullptr;
    }
    auto* piece = static_cast<SlabPiece*>(mbuf->shinfo->fcb_opaque);
    return piece->slab == this ? piece : nullptr;
  }

  // The owner has taken what it wants of the piece: frees it unless frames refer to it.
  void drop_own(std::uint32_t piece) {
    SlabPiece& p = pieces_[piece];
    if (references(p) == 1 || rte_mbuf_ext_refcnt_update(&p.shared, -1) == 0) {
      put(piece);
    }
  }

 private:
  SocketSlab() = default;
  // Those whose references are gone have read all they wanted, before what follows.
  static std::uint16_t references(const SlabPiece& piece) { return __atomic_load_n(&piece.shared.refcnt, __ATOMIC_ACQUIRE); }
  static void on_free(void* address, void* opaque);
  void send_home(std::uint32_t piece);

  std::byte* memory_ = nullptr;
  bool mapped_ = false;  // by mmap, not from DPDK's heap
  SlabPiece* pieces_ = nullptr;
  rte_iova_t* iova_ = nullptr;
  std::uint32_t count_ = 0;
  std::uint32_t free_ = kNoPiece;
  std::uint32_t free_count_ = 0;
  alignas(64) std::atomic<std::uint32_t> home_{kNoPiece};
};

}  // namespace slipway
