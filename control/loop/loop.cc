#include "loop/loop.h"

#include <fmt/format.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <ctime>

namespace slipway {
namespace {

constexpr std::size_t kEventsPerTurn = 256;
constexpr std::uint64_t kNsPerMs = 1'000'000;
constexpr std::uint64_t kNsPerSecond = 1'000'000'000;
// Cancelled timers are swept when they are more than this and more than half of the heap.
constexpr std::size_t kSweepAbove = 1024;

std::uint64_t monotonic_ns() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * kNsPerSecond + static_cast<std::uint64_t>(now.tv_nsec);
}

std::uint32_t to_epoll(std::uint32_t events) {
  return ((events & fd_event::kReadable) != 0 ? std::uint32_t{EPOLLIN} | EPOLLRDHUP : 0u) |
         ((events & fd_event::kWritable) != 0 ? std::uint32_t{EPOLLOUT} : 0u);
}

std::uint32_t from_epoll(std::uint32_t events) {
  return ((events & (EPOLLIN | EPOLLRDHUP)) != 0 ? fd_event::kReadable : 0u) |
         ((events & EPOLLOUT) != 0 ? fd_event::kWritable : 0u) |
         ((events & (EPOLLERR | EPOLLHUP)) != 0 ? fd_event::kTrouble : 0u);
}

}  // namespace

Loop::Loop(Clock clock) : clock_(clock ? std::move(clock) : Clock(monotonic_ns)) { now_ns_ = clock_(); }

std::expected<std::unique_ptr<Loop>, std::string> Loop::create(Clock clock) {
  std::unique_ptr<Loop> loop(new Loop(std::move(clock)));
  loop->epoll_fd_ = epoll_create1(EPOLL_CLOEXEC);
  loop->wake_fd_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (loop->epoll_fd_ < 0 || loop->wake_fd_ < 0) {
    return std::unexpected(fmt::format("cannot make an event loop: {}; is the limit of open files (ulimit -n) reached?", strerror(errno)));
  }
  epoll_event event{.events = EPOLLIN, .data = {.u64 = 0}};  // generation 0: the wake-up
  if (epoll_ctl(loop->epoll_fd_, EPOLL_CTL_ADD, loop->wake_fd_, &event) != 0) {
    return std::unexpected(fmt::format("cannot watch an eventfd: {}", strerror(errno)));
  }
  return loop;
}

Loop::~Loop() {
  if (epoll_fd_ >= 0) {
    close(epoll_fd_);
  }
  if (wake_fd_ >= 0) {
    close(wake_fd_);
  }
}

std::expected<void, std::string> Loop::watch(int fd, std::uint32_t events, FdCall call) {
  if (watches_.contains(fd)) {
    return std::unexpected(fmt::format("descriptor {} is watched already", fd));
  }
  const std::uint32_t generation = next_generation_++;
  if (next_generation_ == 0) {
    next_generation_ = 1;
  }
  epoll_event event{.events = to_epoll(events), .data = {.u64 = std::uint64_t{generation} << 32 | static_cast<std::uint32_t>(fd)}};
  if (epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, fd, &event) != 0) {
    return std::unexpected(fmt::format("cannot watch descriptor {}: {}", fd, strerror(errno)));
  }
  watches_.emplace(fd, std::make_unique<Watch>(generation, events, std::move(call)));
  return {};
}

void Loop::set_events(int fd, std::uint32_t events) {
  const auto found = watches_.find(fd);
  if (found == watches_.end() || found->second->events == events) {
    return;
  }
  found->second->events = events;
  epoll_event event{.events = to_epoll(events), .data = {.u64 = std::uint64_t{found->second->generation} << 32 | static_cast<std::uint32_t>(fd)}};
  // Can fail only for a descriptor closed behind our back, of which there is nothing to watch.
  (void)epoll_ctl(epoll_fd_, EPOLL_CTL_MOD, fd, &event);
}

void Loop::unwatch(int fd) {
  const auto found = watches_.find(fd);
  if (found == watches_.end()) {
    return;
  }
  (void)epoll_ctl(epoll_fd_, EPOLL_CTL_DEL, fd, nullptr);
  retired_.push_back(std::move(found->second));
  watches_.erase(found);
}

TimerId Loop::start_timer(std::uint64_t delay_ns, std::uint64_t period_ns, Call call) {
  const std::uint64_t id = next_timer_++;
  timers_.emplace(id, std::make_unique<Timer>(period_ns, std::move(call)));
  const std::uint64_t at = delay_ns > kForever - now_ns_ ? kForever : now_ns_ + delay_ns;
  due_.push_back({at, id});
  std::push_heap(due_.begin(), due_.end(), std::greater<>());
  return TimerId{id};
}

TimerId Loop::after(std::uint64_t delay_ns, Call call) { return start_timer(delay_ns, 0, std::move(call)); }

TimerId Loop::every(std::uint64_t period_ns, Call call) {
  return start_timer(period_ns, std::max<std::uint64_t>(period_ns, 1), std::move(call));
}

void Loop::cancel(TimerId timer) {
  timers_.erase(static_cast<std::uint64_t>(timer));
  if (due_.size() > kSweepAbove && due_.size() > 2 * timers_.size()) {
    compact_timers();
  }
}

void Loop::compact_timers() {
  std::erase_if(due_, [this](const Due& due) { return !timers_.contains(due.id); });
  std::make_heap(due_.begin(), due_.end(), std::greater<>());
}

void Loop::defer(Call call) { deferred_.push_back(std::move(call)); }

void Loop::defer_to_next_turn(Call call) {
  defer([this, call = std::move(call)]() mutable { defer(std::move(call)); });
}

bool Loop::post(Call call) {
  bool first = false;
  {
    const std::lock_guard lock(posted_mutex_);
    if (posted_.size() >= kMaxPosted) {
      return false;
    }
    first = posted_.empty();
    posted_.push_back(std::move(call));
  }
  if (first) {
    wake();
  }
  return true;
}

void Loop::wake() {
  const int saved = errno;
  const std::uint64_t one = 1;
  // A full counter means that a wake-up is pending already.
  [[maybe_unused]] const auto written = write(wake_fd_, &one, sizeof one);
  errno = saved;
}

std::uint64_t Loop::wait_ns(std::uint64_t max_wait_ns) {
  if (!deferred_.empty()) {
    return 0;
  }
  while (!due_.empty() && !timers_.contains(due_.front().id)) {
    std::pop_heap(due_.begin(), due_.end(), std::greater<>());
    due_.pop_back();
  }
  if (due_.empty()) {
    return max_wait_ns;
  }
  refresh_now();
  const std::uint64_t at = due_.front().at_ns;
  return std::min(max_wait_ns, at > now_ns_ ? at - now_ns_ : 0);
}

std::size_t Loop::run_descriptors(std::uint64_t wait) {
  std::array<epoll_event, kEventsPerTurn> events;
  int count = -1;
  if (fine_wait_ && wait != kForever) {
    const timespec time{.tv_sec = static_cast<time_t>(wait / kNsPerSecond), .tv_nsec = static_cast<long>(wait % kNsPerSecond)};
    count = epoll_pwait2(epoll_fd_, events.data(), kEventsPerTurn, &time, nullptr);
    // Containers with old seccomp rules refuse it with EPERM.
    fine_wait_ = count >= 0 || (errno != ENOSYS && errno != EPERM);
  }
  if (count < 0 && (wait == kForever || !fine_wait_)) {
    constexpr std::uint64_t kMaxMs = 1u << 30;
    const int ms = wait == kForever ? -1 : static_cast<int>(std::min((wait + kNsPerMs - 1) / kNsPerMs, kMaxMs));
    count = epoll_wait(epoll_fd_, events.data(), kEventsPerTurn, ms);
  }
  refresh_now();
  std::size_t calls = 0;
  for (int i = 0; i < count; ++i) {
    const auto& event = events[static_cast<std::size_t>(i)];
    if (event.data.u64 == 0) {
      std::uint64_t wakes = 0;
      [[maybe_unused]] const auto got = read(wake_fd_, &wakes, sizeof wakes);
      if (on_wake_) {
        on_wake_();
        ++calls;
      }
      continue;
    }
    const auto found = watches_.find(static_cast<int>(event.data.u64 & 0xFFFFFFFFu));
    if (found == watches_.end() || found->second->generation != event.data.u64 >> 32) {
      continue;  // unwatched by an earlier callback of this turn
    }
    found->second->call(from_epoll(event.events));
    ++calls;
  }
  return calls;
}

std::size_t Loop::run_timers() {
  refresh_now();
  const std::uint64_t until = now_ns_;
  const std::uint64_t last_id = next_timer_;  // timers started by these callbacks wait for the next turn
  std::size_t calls = 0;
  std::vector<Due> again;
  while (!due_.empty() && due_.front().at_ns <= until) {
    const Due due = due_.front();
    std::pop_heap(due_.begin(), due_.end(), std::greater<>());
    due_.pop_back();
    const auto found = timers_.find(due.id);
    if (found == timers_.end()) {
      continue;
    }
    if (due.id >= last_id) {
      again.push_back(due);
      continue;
    }
    // Out of the table while it runs, so that it may cancel itself; back if it is periodic and did not.
    Timer* timer = found->second.get();
    if (timer->period_ns == 0) {
      const auto owned = std::move(found->second);
      timers_.erase(found);
      owned->call();
    } else {
      Call call = std::move(timer->call);
      call();
      const auto still = timers_.find(due.id);
      if (still != timers_.end()) {
        still->second->call = std::move(call);
        const std::uint64_t next = due.at_ns + still->second->period_ns;
        again.push_back({next > until ? next : until + still->second->period_ns, due.id});
      }
    }
    ++calls;
  }
  for (const Due& due : again) {
    due_.push_back(due);
    std::push_heap(due_.begin(), due_.end(), std::greater<>());
  }
  return calls;
}

std::size_t Loop::run_posted() {
  std::vector<Call> calls;
  {
    const std::lock_guard lock(posted_mutex_);
    calls.swap(posted_);
  }
  for (auto& call : calls) {
    call();
  }
  return calls.size();
}

std::size_t Loop::run_deferred() {
  std::vector<Call> calls;
  calls.swap(deferred_);
  const std::size_t count = calls.size();
  for (auto& call : calls) {
    call();
  }
  // Keep the buffer of a busy loop.
  if (deferred_.empty()) {
    calls.clear();
    deferred_.swap(calls);
  }
  return count;
}

std::size_t Loop::turn(std::uint64_t max_wait_ns) {
  std::size_t calls = run_descriptors(wait_ns(max_wait_ns));
  calls += run_timers();
  calls += run_posted();
  calls += run_deferred();
  retired_.clear();
  return calls;
}

void Loop::run() {
  stopped_ = false;
  while (!stopped_) {
    turn();
  }
}

}  // namespace slipway
