#pragma once
// The fence with which two threads, each of which writes one thing and then reads the other's, make sure that at least
// one of them sees what the other wrote.

#include <atomic>
#include <cstdint>

namespace slipway {

#ifdef __SANITIZE_THREAD__
// ThreadSanitizer knows no fences (g++ refuses them). Changing one variable that all threads share orders them as well:
// whoever comes second sees all that the first did before. Far too slow for anything but this.
inline std::atomic<std::uint32_t> fence_turn{0};
inline void full_fence() { fence_turn.fetch_add(1, std::memory_order_seq_cst); }
#else
inline void full_fence() { std::atomic_thread_fence(std::memory_order_seq_cst); }
#endif

}  // namespace slipway
