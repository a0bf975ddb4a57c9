#pragma once
// A loop on a thread of its own, for programs that have threads of theirs: they hand calls to it and wait for answers.

#include <condition_variable>
#include <expected>
#include <memory>
#include <mutex>
#include <thread>
#include <type_traits>
#include <utility>

#include "app/app_error.h"
#include "loop/loop.h"

namespace slipway {

class LoopThread {
 public:
  static std::expected<std::shared_ptr<LoopThread>, AppError> start();
  ~LoopThread();  // stops the loop and joins the thread: not from within the loop
  LoopThread(const LoopThread&) = delete;
  LoopThread& operator=(const LoopThread&) = delete;

  [[nodiscard]] Loop& loop() { return *loop_; }
  [[nodiscard]] bool inside() const { return std::this_thread::get_id() == thread_.get_id(); }

  // Any thread: runs it on the loop, in order. False: too many wait.
  bool post(Loop::Call call) { return loop_->post(std::move(call)); }
  // Any thread but the loop's: runs it on the loop and waits for what it returns.
  template <class F>
  auto run(F&& call) -> std::invoke_result_t<F> {
    using Result = std::invoke_result_t<F>;
    struct Finished {
      std::mutex mutex;
      std::condition_variable changed;
      bool done = false;
    } done;
    const auto finish = [&done] {
      const std::lock_guard lock(done.mutex);
      done.done = true;
      done.changed.notify_one();  // under the lock: it is gone as soon as the waiter sees it
    };
    const auto wait = [&done] {
      std::unique_lock lock(done.mutex);
      done.changed.wait(lock, [&] { return done.done; });
    };
    const auto hand_over = [this](auto work) {
      while (!loop_->post(work)) {
        std::this_thread::yield();
      }
    };
    if constexpr (std::is_void_v<Result>) {
      hand_over([&] {
        call();
        finish();
      });
      wait();
    } else {
      std::optional<Result> result;
      hand_over([&] {
        result.emplace(call());
        finish();
      });
      wait();
      return std::move(*result);
    }
  }

 private:
  explicit LoopThread(std::unique_ptr<Loop> loop);
  std::unique_ptr<Loop> loop_;
  std::thread thread_;
};

}  // namespace slipway
