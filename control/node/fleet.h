#pragma once
// All workers, as the control thread talks to them: commands to one or to all, in order, kept when a ring is full;
// tickets that tell when every worker has applied what was posted. Control thread.

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/messages.h"
#include "control_counters.h"
#include "route/route_update.h"
#include "worker/worker.h"

namespace slipway {

class Fleet {
 public:
  Fleet(WorkerGroup& group, ControlCounters& counters);

  [[nodiscard]] std::size_t size() const { return group_.size(); }
  WorkerGroup& group() { return group_; }

  template <class T>
  void post(std::size_t worker, Command command, const T& record, std::span<const std::byte> tail = {}) {
    append(worker, command, std::as_bytes(std::span(&record, 1)), tail);
  }
  template <class T>
  void post_all(Command command, const T& record, std::span<const std::byte> tail = {}) {
    for (std::size_t i = 0; i < size(); ++i) {
      post(i, command, record, tail);
    }
  }
  void post_all(Command command) {
    for (std::size_t i = 0; i < size(); ++i) {
      append(i, command, {}, {});
    }
  }
  // Collected, and posted as one record before anything else is.
  void route(const RouteUpdate& update);

  // Ends a turn: what is collected is posted, what waited is tried again, workers that were given something wake.
  void flush();

  // A number for all that was posted so far. applied() tells when every worker has applied it.
  std::uint64_t ticket(std::uint64_t now_ms);
  // Runs when every worker has applied all that was posted so far, however long that takes.
  void after_applied(std::move_only_function<void()> call);
  // Looks at the workers. Calls on_applied(ticket) and, for a ticket that is late, on_late(ticket, worker's name), once.
  void poll(std::uint64_t now_ms);
  std::function<void(std::uint64_t)> on_applied;
  std::function<void(std::uint64_t, const std::string&)> on_late;
  [[nodiscard]] bool waiting() const { return !tickets_.empty() || !calls_.empty() || backlog_bytes_ != 0; }

  // A worker with so many commands waiting that nothing should be added; empty: none.
  [[nodiscard]] std::string behind() const;
  [[nodiscard]] std::uint64_t commands_waiting(std::size_t worker) const;

  static constexpr std::size_t kBehindBytes = 16u << 20;

 private:
  struct Late {
    std::uint16_t type;
    std::vector<std::byte> bytes;
  };
  struct Lane {
    std::deque<Late> backlog;
    std::size_t bytes = 0;
    std::uint64_t numbered = 0;   // commands given to this worker, the backlog included
    bool dirty = false;
  };
  using Mark = std::vector<std::uint64_t>;
  struct Ticket {
    std::uint64_t number;
    std::uint64_t deadline_ms;
    Mark mark;
  };
  struct Call {
    Mark mark;
    std::move_only_function<void()> call;
  };
  void append(std::size_t worker, Command command, std::span<const std::byte> head, std::span<const std::byte> tail);
  void post_routes();
  void drain_backlog(std::size_t worker);
  [[nodiscard]] Mark mark() const;
  [[nodiscard]] std::size_t slowest(const Mark& mark) const;   // size(): all have applied it

  WorkerGroup& group_;
  ControlCounters& counters_;
  std::vector<Lane> lanes_;
  std::vector<RouteUpdate> routes_;
  std::deque<Ticket> tickets_;
  std::deque<Call> calls_;
  std::uint64_t next_ticket_ = 1;
  std::size_t backlog_bytes_ = 0;
};

}  // namespace slipway
