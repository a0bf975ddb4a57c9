#pragma once
// How results get from the native thread to an event loop of Python's: they wait in a mailbox, whose descriptor becomes readable
// when the first arrives, and the event loop takes all of them at once. The native thread never runs Python and never waits for
// the interpreter's lock, so Python may compute, fork or exit while sessions go on being served.
//
// Threads: any.

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "app/app.h"

namespace slipway::python {

class Port;

// An error as Python's exceptions are made from it.
struct Failure {
  std::string fault;    // which: a name of AppFault or SessionFault without its k
  std::string message;  // whole
};
[[nodiscard]] Failure failure_of(const AppError& error);

using Result = std::variant<std::monostate, Failure, ConnectionId, std::shared_ptr<Port>, Outcome, std::vector<ParticipantInfo>>;
using Letter = std::pair<std::uint64_t, Result>;  // token of the one who waits

class Mailbox {
 public:
  Mailbox();  // throws std::system_error
  ~Mailbox();
  Mailbox(const Mailbox&) = delete;
  Mailbox& operator=(const Mailbox&) = delete;

  [[nodiscard]] int fd() const { return fd_; }
  void put(std::uint64_t token, Result result);
  std::vector<Letter> take();

 private:
  int fd_;
  std::mutex mutex_;
  std::vector<Letter> letters_;
};

// One who waits for one result.
struct Waiter {
  std::shared_ptr<Mailbox> mailbox;
  std::uint64_t token = 0;
};

// An operation that Python awaits. Cancelled, its result is given to nobody and what it did is undone. Whoever works on it holds
// it: one that everybody has dropped, because the application ended, says so.
class Ticket {
 public:
  explicit Ticket(Waiter waiter) : waiter_(std::move(waiter)) {}
  ~Ticket();
  Ticket(const Ticket&) = delete;
  Ticket& operator=(const Ticket&) = delete;
  // On the loop's thread:
  void resolve(Result result);
  void undo_by(std::function<void()> undo);  // what a cancellation does from now on; at once if it was cancelled
  void undo();
  // Any thread. The caller then sees to it that undo() runs on the loop's thread.
  void cancel() { cancelled_ = true; }
  [[nodiscard]] bool cancelled() const { return cancelled_; }

 private:
  Waiter waiter_;
  std::atomic<bool> cancelled_{false};
  bool resolved_ = false;
  std::function<void()> undo_;
};
using SharedTicket = std::shared_ptr<Ticket>;

// How a publish ended, for whoever asks, then or later.
class Receipt {
 public:
  void set(Result result);
  // False: it is there already.
  bool wait(Waiter waiter);
  [[nodiscard]] std::optional<Result> result();

 private:
  std::mutex mutex_;
  std::optional<Result> result_;
  std::vector<Waiter> waiters_;
};

}  // namespace slipway::python
