#pragma once
// The bytes that one node may hold at a time: frames that lie in send queues, wait for a next hop, are partly
// received or are being joined. One NodeBudget a node, shared by its workers; each worker holds a BudgetShare,
// which takes and gives back in steps, so that the shared line is touched once in a few hundred frames.

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "bounds.h"

namespace slipway {

class NodeBudget {
 public:
  explicit NodeBudget(std::size_t bytes = kNodeBudgetBytes) : limit_(static_cast<std::int64_t>(bytes)) {}

  // Any thread. False: the node holds what it may; nothing was taken.
  [[nodiscard]] bool take(std::size_t bytes) {
    const auto n = static_cast<std::int64_t>(bytes);
    if (used_.fetch_add(n, std::memory_order_relaxed) + n <= limit_) {
      return true;
    }
    used_.fetch_sub(n, std::memory_order_relaxed);
    return false;
  }
  void give(std::size_t bytes) { used_.fetch_sub(static_cast<std::int64_t>(bytes), std::memory_order_relaxed); }

  // Taken by the workers' shares now; what they really hold is less by up to two steps a worker.
  [[nodiscard]] std::size_t used() const {
    const auto n = used_.load(std::memory_order_relaxed);
    return n > 0 ? static_cast<std::size_t>(n) : 0;
  }
  [[nodiscard]] std::size_t limit() const { return static_cast<std::size_t>(limit_); }

 private:
  alignas(64) std::atomic<std::int64_t> used_{0};
  const std::int64_t limit_;
};

// One worker's part of the budget. Owner thread only.
class BudgetShare {
 public:
  static constexpr std::size_t kStepBytes = 64u << 10;

  explicit BudgetShare(NodeBudget& node) : node_(&node) {}
  ~BudgetShare() { node_->give(granted_); }
  BudgetShare(const BudgetShare&) = delete;
  BudgetShare& operator=(const BudgetShare&) = delete;

  [[nodiscard]] bool take(std::size_t bytes) {
    if (used_ + bytes > granted_ && !grow(bytes)) {
      return false;
    }
    used_ += bytes;
    return true;
  }
  // For bytes that are here already and cannot be refused (one receive buffer a paused sender): may go over the
  // limit; whoever calls this also stops the source.
  void force(std::size_t bytes) {
    if (!take(bytes)) {
      used_ += bytes;
    }
  }
  void give(std::size_t bytes) {
    used_ -= bytes;
    if (granted_ > used_ + 2 * kStepBytes) {
      shrink();
    }
  }
  // Takes nothing; whether `bytes` could be taken now.
  [[nodiscard]] bool has(std::size_t bytes) {
    if (!take(bytes)) {
      return false;
    }
    give(bytes);
    return true;
  }
  [[nodiscard]] std::size_t used() const { return used_; }

 private:
  bool grow(std::size_t bytes) {
    const std::size_t missing = used_ + bytes - granted_;
    const std::size_t step = missing > kStepBytes ? missing : kStepBytes;
    if (node_->take(step)) {
      granted_ += step;
      return true;
    }
    if (step > missing && node_->take(missing)) {
      granted_ += missing;
      return true;
    }
    return false;
  }
  void shrink() {
    const std::size_t back = granted_ - used_ - kStepBytes;
    granted_ -= back;
    node_->give(back);
  }

  NodeBudget* node_;
  std::size_t granted_ = 0;
  std::size_t used_ = 0;
};

}  // namespace slipway
