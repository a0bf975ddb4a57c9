#include "mailbox.h"

#include <cerrno>
#include <system_error>

#include <sys/eventfd.h>
#include <unistd.h>

namespace slipway::python {

namespace {

const char* fault_name(AppFault fault) {
  switch (fault) {
#define X(name, text) \
  case AppFault::name: return &#name[1];
    SLIPWAY_APP_FAULTS(X)
#undef X
    case AppFault::kCount: break;
  }
  return "";
}

const char* fault_name(SessionFault fault) {
  switch (fault) {
#define X(name, text) \
  case SessionFault::name: return &#name[1];
    SLIPWAY_SESSION_FAULTS(X)
#undef X
  }
  return "";
}

}  // namespace

Failure failure_of(const AppError& error) {
  return {error.session ? fault_name(*error.session) : fault_name(error.fault), error.message()};
}

Mailbox::Mailbox() : fd_(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
  if (fd_ < 0) {
    throw std::system_error(errno, std::generic_category(), "an event descriptor for results");
  }
}

Mailbox::~Mailbox() { ::close(fd_); }

void Mailbox::put(std::uint64_t token, Result result) {
  bool first = false;
  {
    const std::lock_guard lock(mutex_);
    first = letters_.empty();
    letters_.emplace_back(token, std::move(result));
  }
  if (first) {
    const std::uint64_t one = 1;
    [[maybe_unused]] const auto written = ::write(fd_, &one, sizeof one);  // cannot fail: the count is far from its end
  }
}

std::vector<Letter> Mailbox::take() {
  std::uint64_t count = 0;
  [[maybe_unused]] const auto read = ::read(fd_, &count, sizeof count);
  const std::lock_guard lock(mutex_);
  return std::exchange(letters_, {});
}

Ticket::~Ticket() {
  if (!resolved_) {
    resolve(failure_of(AppError(AppFault::kClosed, {})));
  }
}

void Ticket::resolve(Result result) {
  resolved_ = true;
  if (!cancelled_) {
    waiter_.mailbox->put(waiter_.token, std::move(result));
  }
}

void Ticket::undo_by(std::function<void()> undo) {
  undo_ = std::move(undo);
  if (cancelled_) {
    this->undo();
  }
}

void Ticket::undo() {
  if (const auto call = std::exchange(undo_, {})) {
    call();
  }
}

void Receipt::set(Result result) {
  std::vector<Waiter> waiters;
  {
    const std::lock_guard lock(mutex_);
    result_ = std::move(result);
    waiters.swap(waiters_);
  }
  for (const Waiter& waiter : waiters) {
    waiter.mailbox->put(waiter.token, {});
  }
}

bool Receipt::wait(Waiter waiter) {
  const std::lock_guard lock(mutex_);
  if (result_) {
    return false;
  }
  waiters_.push_back(std::move(waiter));
  return true;
}

std::optional<Result> Receipt::result() {
  const std::lock_guard lock(mutex_);
  return result_;
}

}  // namespace slipway::python
