#pragma once
// The loop and what it does when there is nothing to do. Owning worker only.

#include "worker/worker_core.h"

namespace slipway {

// One loop; see Worker::do_work.
std::uint32_t run_once(WorkerCore& w, std::uint64_t now_ns);
// Until Command::kStop, on the calling thread.
void run_loop(WorkerCore& w);
// After the last loop: closes sockets and frees what is held (`stopping`).
void release_everything(WorkerCore& w);

}  // namespace slipway
