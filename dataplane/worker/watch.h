#pragma once
// `trace` and `capture`: what became of the next frames that match a filter. Nothing in the stages knows of it: a
// watched frame is forwarded alone, and what the counters say afterwards is its verdict. Owning worker only.

#include "worker/worker_core.h"

namespace slipway {

struct WatchNote {
  bool trace = false;
  bool capture = false;
  Traced traced{};
  std::uint32_t captured_bytes = 0;
  std::uint64_t copies = 0;
  std::uint64_t punted = 0;
  std::array<std::uint64_t, kDropReasonCount> drops;
  std::array<std::byte, kFrameHeaderBytes> header;
  std::array<std::byte, kMaxSnapBytes> bytes;
};

void set_watch(WorkerCore& w, Watch& watch, const TraceFilter& filter);
void watch_before(WorkerCore& w, rte_mbuf* frame, WatchNote& note);
void watch_after(WorkerCore& w, const WatchNote& note);

}  // namespace slipway
