#pragma once
// slipwayctl bench: what is run and what came out. Senders share one thread and receivers another, each side has
// one link a member. Both are in this process, so that one clock times a message.

#include <cstdint>
#include <expected>
#include <string>

#include "bench_histogram.h"
#include "context.h"

namespace slipway::ctl {

struct BenchPlan {
  std::string node;
  std::uint32_t senders = 1;
  std::uint32_t receivers = 1;
  bool request_reply = false;   // receivers answer, senders time the round trip
  bool channel = false;         // every receiver gets every message
  std::uint32_t size = 64;      // payload bytes
  std::uint64_t messages = 0;   // in all; 0: by time
  double seconds = 5;
  double rate = 0;              // messages a second in all; 0: as fast as it goes
  std::uint32_t window = 1;     // request-reply: unanswered at a time, by sender
  int timeout_ms = 5'000;
};

struct BenchResult {
  BenchPlan plan;
  std::uint64_t sent = 0;
  std::uint64_t expected = 0;   // deliveries (request-reply: answers) if nothing is lost
  std::uint64_t delivered = 0;
  std::uint64_t refused = 0;    // times a sender found its queue full
  std::uint64_t late = 0;       // messages that left more than a millisecond after their time
  std::uint64_t nobody = 0;     // the node said that nobody received them
  double seconds = 0;           // from the first message sent to the last received
  double sender_busy = 0;       // share of wall time that the thread had the CPU
  double receiver_busy = 0;
  double machine_busy = 0;      // of all CPUs
  Histogram latency;            // from when a message was due; without a rate: from when it was sent
  Histogram from_sending;       // from when it was really sent
  std::string limited_by;       // rate, receiver_cpu, sender_cpu, node_backpressure, window, machine_cpu
  std::string why;
};

// 1:1, 1:N, N:1 or request.
std::expected<BenchPlan, Failure> bench_plan(const std::string& pattern);
std::expected<BenchResult, Failure> bench_run(const BenchPlan& plan);
void judge(BenchResult* result);  // fills in limited_by and why

}  // namespace slipway::ctl
