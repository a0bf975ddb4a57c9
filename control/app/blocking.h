#pragma once
// The endpoint library for programs that wait: every call returns when what it asks for has happened, or its time is over. A
// thread behind it keeps sessions alive meanwhile: it acknowledges, repeats, and shows that we are there.
//
//   auto app = BlockingApp::create({.name = name, .identity = identity}).value();
//   app->connect({.address = "tcp://127.0.0.1:46367"}).value();
//   auto session = app->create_session(UnicastOptions{.peer = bob, .timeout = 1s}).value();
//   session->publish("hello").value().wait();
//   auto answer = session->get_message(5s).value();
//
// Threads: any may call anything, several at once. Times are milliseconds; a call that ran out of time is kTimeout, and what it
// began may still happen.

#include <chrono>
#include <condition_variable>
#include <deque>
#include <expected>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "app/app.h"
#include "app/loop_thread.h"

namespace slipway {

inline constexpr std::chrono::milliseconds kPatience{30'000};

// Something that will be there, for one who waits.
template <class T>
class Awaited {
 public:
  void set(std::expected<T, AppError> value) {
    const std::lock_guard lock(mutex_);
    value_.emplace(std::move(value));
    changed_.notify_all();
  }
  // The value is moved out: once.
  std::expected<T, AppError> take(std::chrono::milliseconds patience, const char* doing) {
    std::unique_lock lock(mutex_);
    if (!changed_.wait_for(lock, patience, [this] { return value_.has_value(); })) {
      return std::unexpected(AppError(AppFault::kTimeout, doing));
    }
    return std::move(*value_);
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<std::expected<T, AppError>> value_;
};

// A publish that was taken.
class Publication {
 public:
  Publication(std::uint32_t id, std::shared_ptr<Awaited<Outcome>> outcome) : id_(id), outcome_(std::move(outcome)) {}
  [[nodiscard]] std::uint32_t message_id() const { return id_; }
  // Until all receivers have acknowledged it or were given up: whom it did not reach. Best effort: at once. Once.
  std::expected<Outcome, AppError> wait(std::chrono::milliseconds patience = kPatience) { return outcome_->take(patience, "waiting for acknowledgements"); }

 private:
  std::uint32_t id_;
  std::shared_ptr<Awaited<Outcome>> outcome_;
};

class BlockingSession {
 public:
  using Published = std::expected<Publication, AppError>;
  using Call = std::expected<void, AppError>;

  BlockingSession(std::shared_ptr<LoopThread> thread, std::shared_ptr<AppSession> session);  // on the loop's thread
  ~BlockingSession();
  BlockingSession(const BlockingSession&) = delete;
  BlockingSession& operator=(const BlockingSession&) = delete;

  // While the window or the connection is full, these wait, at most `patience`.
  Published publish(std::string_view payload, PublishOptions options = {}, std::chrono::milliseconds patience = kPatience);
  Published publish_with_destination(std::string_view payload, const TextName& service, PublishOptions options = {},
                                     std::chrono::milliseconds patience = kPatience);
  Published publish_to(const AppMessage& received, std::string_view payload, PublishOptions options = {},
                       std::chrono::milliseconds patience = kPatience);
  // The oldest message. kClosed when the session has ended and all is read.
  std::expected<AppMessage, AppError> get_message(std::chrono::milliseconds patience = kPatience);
  // The oldest event: presence, losses, the end.
  std::optional<SessionEvent> get_event(std::chrono::milliseconds patience = std::chrono::milliseconds(0));

  Call invite(const TextName& name, std::chrono::milliseconds patience = kPatience);
  Call remove(const TextName& name, std::chrono::milliseconds patience = kPatience);
  Call refresh_keys(std::chrono::milliseconds patience = kPatience);
  Call go_offline(std::chrono::milliseconds patience = kPatience);
  Call come_back(std::chrono::milliseconds patience = kPatience);
  Call close(std::chrono::milliseconds patience = kPatience);
  [[nodiscard]] std::vector<ParticipantInfo> participants();

  [[nodiscard]] SessionKind kind() const { return session_->kind(); }
  [[nodiscard]] std::uint32_t id() const { return session_->id(); }
  [[nodiscard]] FullName destination();
  [[nodiscard]] std::uint64_t epoch();
  [[nodiscard]] const FullName& source() const { return session_->source(); }
  [[nodiscard]] const Metadata& metadata() const { return session_->metadata(); }
  [[nodiscard]] bool encrypted() const { return session_->encrypted(); }
  [[nodiscard]] bool reliable() const { return session_->reliable(); }
  [[nodiscard]] bool is_creator() const { return session_->is_creator(); }

 private:
  struct Inbox;
  template <class F>
  Published publish_when_there_is_room(std::chrono::milliseconds patience, F&& attempt);
  template <class F>
  Call wait_for(std::chrono::milliseconds patience, const char* doing, F&& begin);

  std::shared_ptr<LoopThread> thread_;
  std::shared_ptr<AppSession> session_;
  std::shared_ptr<Inbox> inbox_;
};

class BlockingApp {
 public:
  using Call = std::expected<void, AppError>;

  // With a thread of its own, or on one that others use too.
  static std::expected<std::unique_ptr<BlockingApp>, AppError> create(AppOptions options, std::shared_ptr<LoopThread> thread = nullptr);
  ~BlockingApp();  // at once; sessions end without good-bye: close them first

  std::expected<ConnectionId, AppError> connect(ConnectOptions options, std::chrono::milliseconds patience = kPatience);
  // The connection of another application on the same thread.
  std::expected<ConnectionId, AppError> use(std::shared_ptr<Connection> connection, std::chrono::milliseconds patience = kPatience);
  std::shared_ptr<Connection> connection(ConnectionId id);
  Call subscribe(const TextName& service, std::chrono::milliseconds patience = kPatience);
  Call set_route(const TextName& service, ConnectionId connection);
  std::expected<std::unique_ptr<BlockingSession>, AppError> create_session(const SessionOptions& options, std::chrono::milliseconds patience = kPatience);
  // The next session that a peer opened with us.
  std::expected<std::unique_ptr<BlockingSession>, AppError> listen_for_session(std::chrono::milliseconds patience = kPatience);

  [[nodiscard]] const FullName& name() const { return app_->name(); }
  [[nodiscard]] const std::shared_ptr<LoopThread>& thread() const { return thread_; }
  // For use on the loop's thread.
  [[nodiscard]] App& app() { return *app_; }

 private:
  struct Sessions;
  BlockingApp() = default;
  std::shared_ptr<LoopThread> thread_;
  std::shared_ptr<Sessions> sessions_;
  std::unique_ptr<App> app_;
};

}  // namespace slipway
