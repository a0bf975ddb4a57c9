#pragma once
// Pools as ThreadSanitizer has to see them; only built with it.
//
// DPDK's library is not instrumented, so that the sanitizer does not see its rings hand a buffer that one worker gave
// back to the worker that takes it next. These operations do what those of the same rings do, and say so: whoever takes
// a buffer comes after whoever gave it back, and whoever gives it back comes after all who had held a reference to it
// (rte_pktmbuf_free() reads the last count relaxed, which x86 orders and the language does not).
// Pools must have no caches then: what a worker gives back and takes again would not pass by here.

#include <rte_mbuf.h>
#include <rte_mempool.h>
#include <sanitizer/tsan_interface.h>

#include <cstdio>
#include <cstring>

namespace slipway {

inline rte_mempool_ops unwatched_pool;  // what the operations below go on to

inline int give_back_watched(rte_mempool* pool, void* const* objects, unsigned count) {
  for (unsigned i = 0; i < count; ++i) {
    __tsan_acquire(&static_cast<rte_mbuf*>(objects[i])->refcnt);
    __tsan_release(objects[i]);
  }
  return unwatched_pool.enqueue(pool, objects, count);
}

inline int take_watched(rte_mempool* pool, void** objects, unsigned count) {
  const int error = unwatched_pool.dequeue(pool, objects, count);
  for (unsigned i = 0; error == 0 && i < count; ++i) {
    __tsan_acquire(objects[i]);
  }
  return error;
}

// Called by create_pool(), thus by one thread: the name of operations that do as `like` does. nullptr: there is no `like`.
inline const char* watched_pool_operations(const char* like) {
  static rte_mempool_ops watched;
  if (watched.enqueue != nullptr) {
    return watched.name;
  }
  for (unsigned i = 0; i < rte_mempool_ops_table.num_ops; ++i) {
    if (std::strcmp(rte_mempool_ops_table.ops[i].name, like) == 0) {
      unwatched_pool = rte_mempool_ops_table.ops[i];
      watched = unwatched_pool;
      watched.enqueue = give_back_watched;
      watched.dequeue = take_watched;
      std::snprintf(watched.name, sizeof(watched.name), "%s_watched", like);
      return rte_mempool_register_ops(&watched) < 0 ? nullptr : watched.name;
    }
  }
  return nullptr;
}

}  // namespace slipway
