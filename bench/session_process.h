#pragma once
// The application processes of `session`: one that sends, and others that receive. Each holds an application with sessions of every
// flow, and a bare native client; it does what orders say, and counts in memory that all processes share.

#include <sys/types.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "server_process.h"

namespace slipway::bench {

inline constexpr std::size_t kMaxReceivers = 16;
inline constexpr std::size_t kMaxTimes = 100'000;

enum class Flow : std::uint32_t {
  kUnicast,          // MLS, best effort, to the first receiver
  kUnicastReliable,
  kChannel,          // to all
  kChannelReliable,
  kPlain,            // no MLS, best effort
  kPlainChannel,
  kBare,             // no session: control/client alone
  kBareChannel,
  kEcho,             // MLS, reliable; the receiver answers each message
  kImpatient,        // as kChannelReliable, with a timeout of half a second and few repetitions
  kCount,
};
[[nodiscard]] inline bool to_all(Flow flow) {
  return flow == Flow::kChannel || flow == Flow::kChannelReliable || flow == Flow::kPlainChannel || flow == Flow::kBareChannel || flow == Flow::kImpatient;
}
[[nodiscard]] inline bool reliable(Flow flow) {
  return flow == Flow::kUnicastReliable || flow == Flow::kChannelReliable || flow == Flow::kEcho || flow == Flow::kImpatient;
}

enum class Task : std::uint32_t {
  kOpen,     // sender: make the flow's session
  kSend,     // sender: `count` messages of `bytes`, `batch` every `period_ns`
  kFloor,    // the cryptography of as many messages at the same pace, and nothing else
  kPing,     // sender: `count` round trips on kEcho, one after the other
  kSetUp,    // sender: `count` unicast sessions, made and closed, one after the other
};
struct Order {
  Task task = Task::kSend;
  Flow flow = Flow::kUnicast;
  std::uint32_t count = 0;
  std::uint32_t bytes = 0;
  std::uint32_t batch = 1;
  std::uint32_t window = 0;        // sent and not yet received by all; 0: no limit
  std::uint64_t period_ns = 0;
};

// Zero at the start; each field has one writer.
struct alignas(64) ReceiverCount {
  std::atomic<std::uint64_t> received;      // messages in order, all flows
  std::atomic<std::uint64_t> out_of_order;  // reliable flows: twice, or too early
  std::atomic<std::uint64_t> missing;       // best effort: ids that were skipped
};
struct SharedCounts {
  std::array<ReceiverCount, kMaxReceivers> receiver;
  alignas(64) std::atomic<std::uint64_t> published;
  std::atomic<std::uint64_t> undelivered;   // copies that publishes came back with
  std::atomic<std::uint64_t> bytes;         // that the sending application put on or took from its connection, and
  std::atomic<std::uint64_t> messages;      //   how many session messages
  std::atomic<std::uint32_t> time_count;
  std::array<std::uint32_t, kMaxTimes> time_us;
};

// A process and the way to tell it something.
class AppProcess {
 public:
  // `index`: kSenderIndex or a receiver's. `address` of the node.
  static constexpr int kSenderIndex = -1;
  AppProcess(int index, std::string address, SharedCounts* counts);
  ~AppProcess();
  AppProcess(const AppProcess&) = delete;
  AppProcess& operator=(const AppProcess&) = delete;

  void order(const Order& order);
  void wait();                     // until the order is carried out
  [[nodiscard]] std::uint64_t cpu_ns() const { return process_->cpu_ns(); }
  [[nodiscard]] pid_t pid() const { return process_->pid(); }

 private:
  int fd_ = -1;
  std::unique_ptr<ServerProcess> process_;
};

SharedCounts* make_shared_counts();
void* make_shared_bytes(std::size_t bytes);  // zero; for this process and those that it makes later

}  // namespace slipway::bench
