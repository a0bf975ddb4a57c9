#include "port/socket_slab.h"

#include <sys/mman.h>

#include <cstdlib>

#include <fmt/format.h>
#include <rte_eal.h>
#include <rte_malloc.h>
#include <rte_memory.h>

namespace slipway {

std::expected<std::unique_ptr<SocketSlab>, std::string> SocketSlab::create(std::uint32_t pieces, int numa_node) {
  const std::size_t bytes = std::size_t{pieces} * kSlabPieceBytes;
  std::unique_ptr<SocketSlab> slab(new SocketSlab);
  slab->count_ = pieces;
  if (rte_eal_has_hugepages() != 0) {
    // Frames may leave by a NIC: its driver needs memory that the device can reach.
    slab->memory_ = static_cast<std::byte*>(rte_malloc_socket("socket slab", bytes, kSlabPieceBytes, numa_node < 0 ? SOCKET_ID_ANY : numa_node));
  } else {
    void* at = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    slab->memory_ = at == MAP_FAILED ? nullptr : static_cast<std::byte*>(at);
    slab->mapped_ = true;
  }
  if (slab->memory_ == nullptr) {
    return std::unexpected(fmt::format("no memory for the receive buffers of a socket worker ({} KiB): reserve more huge pages, or do without (`huge_pages: false`)", bytes >> 10));
  }
  slab->pieces_ = new SlabPiece[pieces];
  slab->iova_ = new rte_iova_t[pieces];
  for (std::uint32_t i = 0; i < pieces; ++i) {
    slab->pieces_[i].slab = slab.get();
    slab->pieces_[i].shared.free_cb = &SocketSlab::on_free;
    slab->pieces_[i].shared.fcb_opaque = &slab->pieces_[i];
    slab->iova_[i] = slab->mapped_ ? reinterpret_cast<rte_iova_t>(slab->data(i)) : rte_mem_virt2iova(slab->data(i));
  }
  for (std::uint32_t i = pieces; i-- > 0;) {
    slab->put(i);
  }
  return slab;
}

SocketSlab::~SocketSlab() {
  if (memory_ != nullptr) {
    if (mapped_) {
      munmap(memory_, std::size_t{count_} * kSlabPieceBytes);
    } else {
      rte_free(memory_);
    }
  }
  delete[] pieces_;
  delete[] iova_;
}

void SocketSlab::on_free(void* /*address*/, void* opaque) {
  auto* piece = static_cast<SlabPiece*>(opaque);
  (void)references(*piece);
  piece->slab->send_home(static_cast<std::uint32_t>(piece - piece->slab->pieces_));
}

void SocketSlab::send_home(std::uint32_t piece) {
  std::uint32_t head = home_.load(std::memory_order_relaxed);
  do {
    pieces_[piece].next = head;
  } while (!home_.compare_exchange_weak(head, piece, std::memory_order_release, std::memory_order_relaxed));
}

void SocketSlab::collect() {
  if (home_.load(std::memory_order_relaxed) == kNoPiece) {
    return;
  }
  std::uint32_t piece = home_.exchange(kNoPiece, std::memory_order_acquire);
  while (piece != kNoPiece) {
    const std::uint32_t next = pieces_[piece].next;
    put(piece);
    piece = next;
  }
}

}  // namespace slipway
