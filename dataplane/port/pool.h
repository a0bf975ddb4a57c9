#pragma once
// Pools of mbufs: headroom kMbufHeadroomBytes, data room kMbufDataBytes, a private area for FrameMeta.
// Made by the control thread after Eal::start; mbufs may be taken and given back by any worker, and a worker that is
// preempted half-way through delays nobody (ring_mt_rts).

#include <cstddef>
#include <cstdint>
#include <expected>
#include <memory>
#include <string>

struct rte_mempool;

namespace slipway {

inline constexpr int kAnyNuma = -1;

struct PoolDeleter {
  void operator()(rte_mempool* pool) const;
};
using MbufPool = std::unique_ptr<rte_mempool, PoolDeleter>;  // freed after all its mbufs are back

// `name`: at most 25 characters, unique in the process. The error says what is short and what to raise.
[[nodiscard]] std::expected<MbufPool, std::string> create_pool(const std::string& name, std::uint32_t mbufs, int numa = kAnyNuma);

// Memory that a pool takes, for EalOptions::memory_bytes.
[[nodiscard]] std::size_t pool_bytes(std::uint32_t mbufs);

}  // namespace slipway
