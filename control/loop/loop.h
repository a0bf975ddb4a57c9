#pragma once
// A small event loop on epoll: file descriptors with callbacks, timers, calls put off to the end of a turn, and
// wake-ups from other threads. The node's control thread runs one; the client library runs on one that its
// application owns.
//
// Threads: everything is called on the thread that runs the loop, except wake() and post(). Before the first
// turn() "the thread that runs the loop" is whoever made it.
//
// Callbacks must not throw. A callback may do anything to the loop: watch and unwatch any descriptor (also its
// own), start and cancel timers, defer, stop. After unwatch(fd) returns, no callback of that watch runs, even if its event
// was already fetched from the kernel; a callback that is running is destroyed only after it has returned.

#include <cstdint>
#include <expected>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

namespace slipway {

// What happened on a descriptor, or is waited for. Trouble is always reported, also when not asked for.
namespace fd_event {
inline constexpr std::uint32_t kReadable = 1;  // also: the peer closed, so that a read returns 0
inline constexpr std::uint32_t kWritable = 2;
inline constexpr std::uint32_t kTrouble = 4;   // error or hang-up: read or write tells which
}  // namespace fd_event

enum class TimerId : std::uint64_t { kNone = 0 };

class Loop {
 public:
  using Call = std::move_only_function<void()>;
  using FdCall = std::move_only_function<void(std::uint32_t events)>;
  // Nanoseconds of a clock that never goes back. Tests pass one that they advance by hand.
  using Clock = std::function<std::uint64_t()>;

  static std::expected<std::unique_ptr<Loop>, std::string> create(Clock clock = {});  // default: CLOCK_MONOTONIC
  ~Loop();
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  // Level-triggered. The descriptor stays the caller's; unwatch before closing it.
  std::expected<void, std::string> watch(int fd, std::uint32_t events, FdCall call);
  void set_events(int fd, std::uint32_t events);  // of a watched descriptor; 0: trouble only
  void unwatch(int fd);                           // of one that is not watched: nothing
  [[nodiscard]] bool watched(int fd) const { return watches_.contains(fd); }

  // Timers run when their time has come, earliest first, equal ones in the order they were started.
  // A periodic timer that was late runs once, not once for each period missed.
  TimerId after(std::uint64_t delay_ns, Call call);
  TimerId every(std::uint64_t period_ns, Call call);
  void cancel(TimerId timer);  // of one that has run or was cancelled: nothing

  // Runs at the end of this turn, after descriptors and timers; what deferred calls defer runs in the next.
  void defer(Call call);
  // At the end of the next turn: descriptors and timers come first.
  void defer_to_next_turn(Call call);

  // From any thread: runs `call` on the loop's thread, in order. Bounded: false when kMaxPosted wait already.
  bool post(Call call);
  // From any thread, or a signal handler: makes turn() return early and run on_wake.
  void wake();
  void on_wake(Call call) { on_wake_ = std::move(call); }
  [[nodiscard]] int wake_fd() const { return wake_fd_; }  // for threads that write the eventfd themselves

  // The time, as of the last look; read anew at the start of each part of a turn.
  [[nodiscard]] std::uint64_t now_ns() const { return now_ns_; }
  std::uint64_t refresh_now() { return now_ns_ = clock_(); }

  // One turn: waits until something is due, at most max_wait_ns (0: does not wait), then runs it.
  // Returns the number of callbacks run.
  std::size_t turn(std::uint64_t max_wait_ns = kForever);
  void run();                       // turns until stop()
  void stop() { stopped_ = true; }  // on the loop's thread; from another: post([&] { loop.stop(); })

  static constexpr std::uint64_t kForever = ~std::uint64_t{0};
  static constexpr std::size_t kMaxPosted = 65'536;

 private:
  struct Watch {
    std::uint32_t generation;
    std::uint32_t events;
    FdCall call;
  };
  struct Timer {
    std::uint64_t period_ns;  // 0: once
    Call call;
  };
  struct Due {
    std::uint64_t at_ns;
    std::uint64_t id;
    bool operator>(const Due& other) const { return at_ns != other.at_ns ? at_ns > other.at_ns : id > other.id; }
  };

  explicit Loop(Clock clock);
  TimerId start_timer(std::uint64_t delay_ns, std::uint64_t period_ns, Call call);
  std::uint64_t wait_ns(std::uint64_t max_wait_ns);
  std::size_t run_descriptors(std::uint64_t wait);
  std::size_t run_timers();
  std::size_t run_posted();
  std::size_t run_deferred();
  void compact_timers();

  Clock clock_;
  int epoll_fd_ = -1;
  int wake_fd_ = -1;
  std::uint64_t now_ns_ = 0;
  bool stopped_ = false;
  bool fine_wait_ = true;  // epoll_pwait2 is there
  std::uint32_t next_generation_ = 1;
  std::uint64_t next_timer_ = 1;
  std::unordered_map<int, std::unique_ptr<Watch>> watches_;
  std::vector<std::unique_ptr<Watch>> retired_;  // unwatched in this turn; their callback may be running
  std::unordered_map<std::uint64_t, std::unique_ptr<Timer>> timers_;
  std::vector<Due> due_;  // heap, earliest on top; cancelled ones stay until they surface
  std::vector<Call> deferred_;
  Call on_wake_;
  std::mutex posted_mutex_;
  std::vector<Call> posted_;
};

}  // namespace slipway
