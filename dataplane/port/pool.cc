#include "port/pool.h"

#include <fmt/format.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_lcore.h>
#include <rte_mbuf.h>

#include <bit>

#include "base/frame_meta.h"
#include "bounds.h"
#ifdef __SANITIZE_THREAD__
#include "port/pool_watched.h"
#endif

namespace slipway {
namespace {

static_assert(RTE_PKTMBUF_HEADROOM == kMbufHeadroomBytes, "DPDK was built with another headroom");
static_assert(kMbufPrivateBytes % RTE_MBUF_PRIV_ALIGN == 0);

constexpr std::uint16_t kRoomBytes = kMbufHeadroomBytes + kMbufDataBytes;
#ifdef __SANITIZE_THREAD__
constexpr std::uint32_t kCacheMbufs = 0;
const char* operations() { return watched_pool_operations("ring_mt_rts"); }
#else
constexpr std::uint32_t kCacheMbufs = 256;  // a worker's own; several bursts, so that rings are touched seldom
const char* operations() { return "ring_mt_rts"; }
#endif

// As rte_pktmbuf_pool_create_by_ops, with flags: on ordinary pages DPDK would keep each buffer inside one page for
// the sake of devices, and give each a whole page. Without PCI no device needs that.
rte_mempool* make(const std::string& name, std::uint32_t mbufs, int socket) {
  const bool packed = rte_eal_has_hugepages() == 0 && rte_eal_has_pci() == 0;
  rte_mempool* pool = rte_mempool_create_empty(name.c_str(), mbufs, sizeof(rte_mbuf) + kMbufPrivateBytes + kRoomBytes, kCacheMbufs,
                                               sizeof(rte_pktmbuf_pool_private), socket, packed ? RTE_MEMPOOL_F_NO_IOVA_CONTIG : 0);
  if (pool == nullptr) {
    return nullptr;
  }
  int error = rte_mempool_set_ops_byname(pool, operations(), nullptr);
  if (error == 0) {
    rte_pktmbuf_pool_private room{.mbuf_data_room_size = kRoomBytes, .mbuf_priv_size = kMbufPrivateBytes, .flags = 0};
    rte_pktmbuf_pool_init(pool, &room);
    const int populated = rte_mempool_populate_default(pool);
    error = populated < 0 ? populated : 0;
  }
  if (error != 0) {
    rte_mempool_free(pool);
    rte_errno = -error;
    return nullptr;
  }
  rte_mempool_obj_iter(pool, rte_pktmbuf_init, nullptr);
  return pool;
}

}  // namespace

void PoolDeleter::operator()(rte_mempool* pool) const { rte_mempool_free(pool); }

std::expected<MbufPool, std::string> create_pool(const std::string& name, std::uint32_t mbufs, int numa) {
  if (mbufs < kMinMbufs || mbufs > kMaxMbufs) {
    return std::unexpected(fmt::format("A pool of {} buffers is out of range: {} to {}.", mbufs, kMinMbufs, kMaxMbufs));
  }
  rte_mempool* pool = make(name, mbufs, numa == kAnyNuma ? SOCKET_ID_ANY : numa);
  if (pool == nullptr) {
    return std::unexpected(fmt::format("No memory for {} buffers ({} MiB) on {}: {}; lower `limits.buffers` or reserve more huge pages.",
                                       mbufs, pool_bytes(mbufs) >> 20, numa == kAnyNuma ? "any NUMA node" : fmt::format("NUMA node {}", numa),
                                       rte_strerror(rte_errno)));
  }
  return MbufPool(pool);
}

std::size_t pool_bytes(std::uint32_t mbufs) {
  // Object header, mbuf, private area and room, with the padding that spreads objects over memory channels.
  const std::size_t object = 64 + sizeof(rte_mbuf) + kMbufPrivateBytes + kRoomBytes + 128;
  return mbufs * object + std::bit_ceil(std::size_t{mbufs} + 1) * sizeof(void*) + sizeof(rte_mempool) +
         RTE_MAX_LCORE * sizeof(rte_mempool_cache) + (1u << 20);
}

}  // namespace slipway
