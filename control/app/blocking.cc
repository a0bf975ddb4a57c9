#include "app/blocking.h"

#include <utility>

namespace slipway {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

namespace {

// How long between two attempts of a publish that found no room.
constexpr milliseconds kAgain{1};

bool no_room(const AppError& error) {
  return error.fault == AppFault::kBusy || error.session == SessionFault::kWindowFull || error.session == SessionFault::kNotReady;
}

}  // namespace

// --- sessions ----------------------------------------------------------------------------------------------------

struct BlockingSession::Inbox {
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<AppMessage> messages;
  std::size_t bytes = 0;
  std::deque<SessionEvent> events;
  bool closed = false;

  void put(AppMessage message) {
    const std::lock_guard lock(mutex);
    if (messages.size() >= kMaxUnreadMessages || bytes + size_of(message.payload) > kMaxUnreadBytes) {
      put_event(MessagesUnread{1});
    } else {
      bytes += size_of(message.payload);
      messages.push_back(std::move(message));
    }
    changed.notify_all();
  }
  void put_event(const SessionEvent& event) {
    constexpr std::size_t kEventsKept = 4'096;
    if (events.size() == kEventsKept) {
      events.pop_front();
    }
    events.push_back(event);
  }
};

BlockingSession::BlockingSession(std::shared_ptr<LoopThread> thread, std::shared_ptr<AppSession> session)
    : thread_(std::move(thread)), session_(std::move(session)), inbox_(std::make_shared<Inbox>()) {
  session_->on_event([inbox = inbox_](const SessionEvent& event) {
    const std::lock_guard lock(inbox->mutex);
    inbox->closed |= std::holds_alternative<SessionClosed>(event);
    inbox->put_event(event);
    inbox->changed.notify_all();
  });
  session_->on_message([inbox = inbox_](AppMessage message) { inbox->put(std::move(message)); });
}

BlockingSession::~BlockingSession() {
  const auto quiet = [session = session_] {
    session->on_message({});
    session->on_event({});
  };
  if (thread_->inside()) {
    quiet();
  } else {
    thread_->run(quiet);
  }
  // The last reference goes where its callbacks run.
  thread_->post([session = std::move(session_)] {});
}

template <class F>
BlockingSession::Published BlockingSession::publish_when_there_is_room(milliseconds patience, F&& attempt) {
  const auto until = Clock::now() + patience;
  while (true) {
    auto outcome = std::make_shared<Awaited<Outcome>>();
    const AppSession::Published taken = thread_->run(
        [&] { return attempt(Done([outcome](std::expected<Outcome, AppError> result) { outcome->set(std::move(result)); })); });
    if (taken) {
      return Publication(*taken, std::move(outcome));
    }
    if (!no_room(taken.error()) || Clock::now() >= until) {
      return std::unexpected(taken.error());
    }
    std::this_thread::sleep_for(kAgain);
  }
}

BlockingSession::Published BlockingSession::publish(std::string_view payload, PublishOptions options, milliseconds patience) {
  const SharedBytes bytes = shared_bytes(payload);
  return publish_when_there_is_room(patience, [&](Done done) { return session_->publish(bytes, options, std::move(done)); });
}

BlockingSession::Published BlockingSession::publish_with_destination(std::string_view payload, const TextName& service, PublishOptions options,
                                                                     milliseconds patience) {
  const SharedBytes bytes = shared_bytes(payload);
  return publish_when_there_is_room(patience, [&](Done done) { return session_->publish_with_destination(service, bytes, options, std::move(done)); });
}

BlockingSession::Published BlockingSession::publish_to(const AppMessage& received, std::string_view payload, PublishOptions options, milliseconds patience) {
  const SharedBytes bytes = shared_bytes(payload);
  return publish_when_there_is_room(patience, [&](Done done) { return session_->publish_to(received, bytes, options, std::move(done)); });
}

std::expected<AppMessage, AppError> BlockingSession::get_message(milliseconds patience) {
  std::unique_lock lock(inbox_->mutex);
  inbox_->changed.wait_for(lock, patience, [&] { return !inbox_->messages.empty() || inbox_->closed; });
  if (inbox_->messages.empty()) {
    if (inbox_->closed) {
      return std::unexpected(AppError(SessionError{SessionFault::kClosed, "waiting for a message"}));
    }
    return std::unexpected(AppError(AppFault::kTimeout, "waiting for a message"));
  }
  AppMessage message = std::move(inbox_->messages.front());
  inbox_->messages.pop_front();
  inbox_->bytes -= size_of(message.payload);
  return message;
}

std::optional<SessionEvent> BlockingSession::get_event(milliseconds patience) {
  std::unique_lock lock(inbox_->mutex);
  inbox_->changed.wait_for(lock, patience, [&] { return !inbox_->events.empty(); });
  if (inbox_->events.empty()) {
    return std::nullopt;
  }
  SessionEvent event = std::move(inbox_->events.front());
  inbox_->events.pop_front();
  return event;
}

template <class F>
BlockingSession::Call BlockingSession::wait_for(milliseconds patience, const char* doing, F&& begin) {
  auto outcome = std::make_shared<Awaited<Outcome>>();
  const AppSession::Call begun =
      thread_->run([&] { return begin(Done([outcome](std::expected<Outcome, AppError> result) { outcome->set(std::move(result)); })); });
  if (!begun) {
    return begun;
  }
  const auto result = outcome->take(patience, doing);
  return result ? Call() : std::unexpected(result.error());
}

BlockingSession::Call BlockingSession::invite(const TextName& name, milliseconds patience) {
  return wait_for(patience, "inviting", [&](Done done) { return session_->invite(name, std::move(done)); });
}
BlockingSession::Call BlockingSession::remove(const TextName& name, milliseconds patience) {
  return wait_for(patience, "removing", [&](Done done) { return session_->remove(name, std::move(done)); });
}
BlockingSession::Call BlockingSession::refresh_keys(milliseconds patience) {
  return wait_for(patience, "renewing keys", [&](Done done) { return session_->refresh_keys(std::move(done)); });
}
BlockingSession::Call BlockingSession::go_offline(milliseconds patience) {
  return wait_for(patience, "going offline", [&](Done done) { return session_->go_offline(std::move(done)); });
}
BlockingSession::Call BlockingSession::come_back(milliseconds patience) {
  return wait_for(patience, "coming back", [&](Done done) { return session_->come_back(std::move(done)); });
}
BlockingSession::Call BlockingSession::close(milliseconds patience) {
  return wait_for(patience, "closing", [&](Done done) { return session_->close(std::move(done)); });
}
std::vector<ParticipantInfo> BlockingSession::participants() {
  return thread_->run([&] { return session_->participants(); });
}
std::uint64_t BlockingSession::epoch() {
  return thread_->run([&] { return session_->epoch(); });
}
FullName BlockingSession::destination() {
  return thread_->run([&] { return session_->destination(); });
}

// --- applications ------------------------------------------------------------------------------------------------

// Sessions that peers opened, made readable on the loop's thread so that nothing is missed.
struct BlockingApp::Sessions {
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<std::unique_ptr<BlockingSession>> waiting;
};

std::expected<std::unique_ptr<BlockingApp>, AppError> BlockingApp::create(AppOptions options, std::shared_ptr<LoopThread> thread) {
  if (!thread) {
    auto started = LoopThread::start();
    if (!started) {
      return std::unexpected(started.error());
    }
    thread = std::move(*started);
  }
  std::unique_ptr<BlockingApp> blocking(new BlockingApp);
  blocking->thread_ = thread;
  blocking->sessions_ = std::make_shared<Sessions>();
  auto app = thread->run([&] { return App::create(thread->loop(), std::move(options)); });
  if (!app) {
    return std::unexpected(app.error());
  }
  blocking->app_ = std::move(*app);
  thread->run([&] {
    blocking->app_->on_session([sessions = blocking->sessions_, weak = std::weak_ptr(thread)](std::shared_ptr<AppSession> session) {
      const auto alive = weak.lock();
      if (!alive) {
        return;
      }
      auto made = std::make_unique<BlockingSession>(alive, std::move(session));
      const std::lock_guard lock(sessions->mutex);
      if (sessions->waiting.size() < kMaxUnclaimedSessions) {
        sessions->waiting.push_back(std::move(made));
        sessions->changed.notify_one();
      }
    });
  });
  return blocking;
}

BlockingApp::~BlockingApp() {
  if (app_) {
    // Ended without the lock: that needs the loop's thread, which may be waiting for it.
    std::deque<std::unique_ptr<BlockingSession>> unclaimed;
    {
      const std::lock_guard lock(sessions_->mutex);
      unclaimed.swap(sessions_->waiting);
    }
    unclaimed.clear();
    thread_->run([this] { app_.reset(); });
  }
}

std::expected<ConnectionId, AppError> BlockingApp::connect(ConnectOptions options, milliseconds patience) {
  auto connected = std::make_shared<Awaited<ConnectionId>>();
  const auto begun = thread_->run([&] {
    return app_->connect(std::move(options), [connected](std::expected<ConnectionId, AppError> result) { connected->set(std::move(result)); });
  });
  if (!begun) {
    return begun;
  }
  auto result = connected->take(patience, "connecting");
  if (!result && result.error().fault == AppFault::kTimeout) {
    const std::string trouble = thread_->run([&] {
      const auto connection = app_->connection(*begun);
      return connection ? connection->address() + ": " + connection->trouble() : std::string();
    });
    return std::unexpected(AppError(AppFault::kTimeout, "connecting to " + trouble));
  }
  return result;
}

std::expected<ConnectionId, AppError> BlockingApp::use(std::shared_ptr<Connection> connection, milliseconds patience) {
  auto connected = std::make_shared<Awaited<ConnectionId>>();
  const auto begun = thread_->run([&] {
    return app_->use(std::move(connection), [connected](std::expected<ConnectionId, AppError> result) { connected->set(std::move(result)); });
  });
  return begun ? connected->take(patience, "connecting") : begun;
}

std::shared_ptr<Connection> BlockingApp::connection(ConnectionId id) {
  return thread_->run([&] { return app_->connection(id); });
}

BlockingApp::Call BlockingApp::subscribe(const TextName& service, milliseconds patience) {
  auto outcome = std::make_shared<Awaited<Outcome>>();
  const Call begun = thread_->run(
      [&] { return app_->subscribe(service, [outcome](std::expected<Outcome, AppError> result) { outcome->set(std::move(result)); }); });
  if (!begun) {
    return begun;
  }
  const auto result = outcome->take(patience, "subscribing");
  return result ? Call() : std::unexpected(result.error());
}

BlockingApp::Call BlockingApp::set_route(const TextName& service, ConnectionId connection) {
  return thread_->run([&] { return app_->set_route(service, connection); });
}

std::expected<std::unique_ptr<BlockingSession>, AppError> BlockingApp::create_session(const SessionOptions& options, milliseconds patience) {
  using Made = std::unique_ptr<BlockingSession>;
  auto made = std::make_shared<Awaited<Made>>();
  const Call begun = thread_->run([&] {
    return app_->create_session(options, [made, weak = std::weak_ptr(thread_)](std::expected<std::shared_ptr<AppSession>, AppError> session) {
      const auto thread = weak.lock();
      if (!session || !thread) {
        made->set(std::unexpected(session ? AppError(AppFault::kClosed, {}) : session.error()));
      } else {
        made->set(std::make_unique<BlockingSession>(thread, std::move(*session)));
      }
    });
  });
  if (!begun) {
    return std::unexpected(begun.error());
  }
  return made->take(patience, "creating a session");
}

std::expected<std::unique_ptr<BlockingSession>, AppError> BlockingApp::listen_for_session(milliseconds patience) {
  std::unique_lock lock(sessions_->mutex);
  if (!sessions_->changed.wait_for(lock, patience, [&] { return !sessions_->waiting.empty(); })) {
    return std::unexpected(AppError(AppFault::kTimeout, "waiting for a session"));
  }
  auto session = std::move(sessions_->waiting.front());
  sessions_->waiting.pop_front();
  return session;
}

}  // namespace slipway
