#pragma once
// The native thread of a process: it runs one loop, on which all applications of the process live. What Python holds are handles;
// every call through one is a piece of work posted to the loop, so nothing here waits for it.
//
// After a fork the child has no such thread: the handles it inherited answer that they are closed, and the first new application
// starts a thread anew.

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "app/app.h"
#include "app/loop_thread.h"
#include "mailbox.h"

namespace slipway::python {

inline constexpr std::size_t kAheadMessages = 256;         // of a session: taken from Python and not yet published
inline constexpr std::size_t kAheadPayloadBytes = 32u << 10;  // larger ones wait until they are published
inline constexpr std::size_t kPumpMessages = 32;           // published in one go, before others have their turn
inline constexpr std::size_t kEventsKept = 4'096;          // of a session that nobody reads

// Sessions that peers opened, and who waits for one.
struct Incoming {
  std::mutex mutex;
  std::deque<std::shared_ptr<Port>> sessions;
  std::vector<Waiter> waiters;
  bool closed = false;

  void put(std::shared_ptr<Port> session);
  void close();
};

// An application, on the loop's thread.
struct AppState {
  std::unique_ptr<App> app;
  std::shared_ptr<Incoming> incoming;
  std::vector<std::weak_ptr<Port>> ports;
  std::vector<std::shared_ptr<Port>> stalled;  // have something to publish and found no room
};

class Runtime {
 public:
  // Starts the thread if there is none. The error: it cannot be started, or the interpreter is exiting.
  static std::expected<Runtime*, AppError> current();
  static void shutdown();        // when the interpreter exits: applications end at once, the thread is joined
  static void after_fork();      // in the child
  static void cancel(const SharedTicket& ticket);

  // False: too much waits, or the thread is gone.
  bool post(Loop::Call call);
  [[nodiscard]] bool usable() const { return usable_; }
  [[nodiscard]] std::uint64_t new_app_id() { return ++last_app_; }

  // On the loop's thread:
  [[nodiscard]] Loop& loop() { return thread_->loop(); }
  AppState& add(std::uint64_t id, AppState state) { return apps_[id] = std::move(state); }
  AppState* find(std::uint64_t id);
  void end_app(std::uint64_t id);
  void resume_stalled(std::uint64_t id);  // there may be room again

 private:
  explicit Runtime(std::shared_ptr<LoopThread> thread) : thread_(std::move(thread)) {}

  std::shared_ptr<LoopThread> thread_;
  std::atomic<bool> usable_{true};
  std::atomic<std::uint64_t> last_app_{0};
  std::unordered_map<std::uint64_t, AppState> apps_;
};

// --- what Python holds -------------------------------------------------------------------------------------------------

// One session. When nobody holds it any more, and all is published, it is closed.
class Port : public std::enable_shared_from_this<Port> {
 public:
  // What is to be published, and how.
  struct Outgoing {
    SharedBytes payload;
    PublishOptions options;
    std::optional<TextName> destination;        // anycast
    std::shared_ptr<const AppMessage> answers;  // publish_to
    std::shared_ptr<Receipt> receipt;
    SharedTicket ticket;                        // null: nobody waits until it is taken
  };

  static std::shared_ptr<Port> adopt(Runtime& runtime, std::uint64_t app, std::shared_ptr<AppSession> session);  // on the loop's thread
  ~Port();
  Port(const Port&) = delete;
  Port& operator=(const Port&) = delete;

  // True: taken, the receipt says how it ends. False: the ticket's waiter hears when it is taken, or why not.
  bool publish(Outgoing outgoing, const std::function<SharedTicket()>& make_ticket);
  // True: it was still waiting and now is not published.
  bool withdraw(const SharedTicket& ticket);

  std::shared_ptr<const AppMessage> take_message();  // null: none
  std::optional<SessionEvent> take_event();
  // False: there is something to take, or the session is closed.
  bool wait_for_message(Waiter waiter);
  bool wait_for_event(Waiter waiter);
  [[nodiscard]] std::optional<CloseReason> closed();
  [[nodiscard]] std::optional<Failure> why_closed();

  void invite(SharedTicket ticket, TextName name);
  void remove(SharedTicket ticket, TextName name);
  void close(SharedTicket ticket);
  void refresh_keys(SharedTicket ticket);
  void participants(SharedTicket ticket);

  // Fixed once it is made.
  SessionKind kind{};
  std::uint32_t id = 0;
  FullName source;
  FullName destination;
  Metadata metadata;
  bool reliable = false;
  bool encrypted = false;
  bool creator = false;

  // On the loop's thread:
  void pump();
  void end(CloseReason reason);

 private:
  Port(Runtime& runtime, std::uint64_t app) : runtime_(runtime), app_(app) {}
  void listen();
  void deliver(AppMessage message);
  void tell(const SessionEvent& event);
  bool publish_one(Outgoing& outgoing);
  void begin_close();
  void schedule_pump();
  void post_or_fail(const SharedTicket& ticket, Loop::Call call);
  void wake(std::vector<Waiter> waiters);

  Runtime& runtime_;
  const std::uint64_t app_;
  std::shared_ptr<AppSession> session_;  // the loop's thread
  SharedTicket close_ticket_;            // the loop's thread: closes when all is published
  SharedTicket ended_ticket_;            // the loop's thread: closing succeeded, the end is not yet told
  std::atomic<bool> flowing_{false};     // the last publish was taken: the next will be, too

  std::mutex mutex_;
  std::deque<std::shared_ptr<const AppMessage>> messages_;
  std::size_t message_bytes_ = 0;
  std::deque<SessionEvent> events_;
  std::vector<Waiter> message_waiters_;
  std::vector<Waiter> event_waiters_;
  std::optional<CloseReason> closed_;
  std::deque<Outgoing> outgoing_;
  bool closing_ = false;                 // takes nothing new
  bool scheduled_ = false;
};

// One application.
class AppHandle {
 public:
  // The ticket's waiter hears when it may be used.
  static std::shared_ptr<AppHandle> create(AppOptions options, const SharedTicket& ticket);
  ~AppHandle() { end(); }
  AppHandle(const AppHandle&) = delete;
  AppHandle& operator=(const AppHandle&) = delete;

  void connect(SharedTicket ticket, ConnectOptions options, std::uint64_t patience_ms);
  void disconnect(SharedTicket ticket, ConnectionId connection);
  void subscribe(SharedTicket ticket, TextName name);
  void unsubscribe(SharedTicket ticket, TextName name);
  void set_route(SharedTicket ticket, TextName name, ConnectionId connection);
  void remove_route(SharedTicket ticket, TextName name);
  void create_session(SharedTicket ticket, SessionOptions options);
  std::shared_ptr<Port> take_session();
  bool wait_for_session(Waiter waiter);  // false: there is one, or the application is closed
  [[nodiscard]] bool closed();
  void end();  // at once

  [[nodiscard]] const FullName& name() const { return name_; }

 private:
  explicit AppHandle(Runtime& runtime) : runtime_(runtime), id_(runtime.new_app_id()), incoming_(std::make_shared<Incoming>()) {}
  template <class F>
  void with_app(SharedTicket ticket, F call);

  Runtime& runtime_;
  const std::uint64_t id_;
  std::shared_ptr<Incoming> incoming_;
  FullName name_;
};

}  // namespace slipway::python
