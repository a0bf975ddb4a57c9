#include "runtime.h"

#include <utility>

namespace slipway::python {

namespace {

// Never deleted: handles that outlive it look whether it is usable.
std::mutex start_mutex;
std::atomic<Runtime*> the_runtime{nullptr};
std::atomic<bool> exiting{false};

AppError closed_error() { return AppError(AppFault::kClosed, {}); }

}  // namespace

// --- incoming sessions ---------------------------------------------------------------------------------------------

void Incoming::put(std::shared_ptr<Port> session) {
  std::vector<Waiter> woken;
  {
    const std::lock_guard lock(mutex);
    if (closed || sessions.size() >= kMaxUnclaimedSessions) {
      return;  // closes it
    }
    sessions.push_back(std::move(session));
    woken.swap(waiters);
  }
  for (const Waiter& waiter : woken) {
    waiter.mailbox->put(waiter.token, {});
  }
}

void Incoming::close() {
  std::vector<Waiter> woken;
  std::deque<std::shared_ptr<Port>> dropped;
  {
    const std::lock_guard lock(mutex);
    closed = true;
    woken.swap(waiters);
    dropped.swap(sessions);
  }
  for (const Waiter& waiter : woken) {
    waiter.mailbox->put(waiter.token, {});
  }
}

// --- the thread ----------------------------------------------------------------------------------------------------

std::expected<Runtime*, AppError> Runtime::current() {
  const std::lock_guard lock(start_mutex);
  if (exiting) {
    return std::unexpected(closed_error());
  }
  if (Runtime* running = the_runtime) {
    return running;
  }
  auto thread = LoopThread::start();
  if (!thread) {
    return std::unexpected(thread.error());
  }
  the_runtime = new Runtime(std::move(*thread));
  return the_runtime.load();
}

void Runtime::shutdown() {
  exiting = true;
  Runtime* const runtime = the_runtime.exchange(nullptr);
  if (runtime == nullptr) {
    return;
  }
  runtime->thread_->run([runtime] {
    while (!runtime->apps_.empty()) {
      runtime->end_app(runtime->apps_.begin()->first);
    }
  });
  runtime->usable_ = false;
  runtime->thread_.reset();
}

void Runtime::after_fork() {
  if (Runtime* const inherited = the_runtime.exchange(nullptr)) {
    inherited->usable_ = false;  // and left as it is: its locks may be held by a thread that is not here
  }
}

void Runtime::cancel(const SharedTicket& ticket) {
  ticket->cancel();
  if (Runtime* const runtime = the_runtime) {
    runtime->post([ticket] { ticket->undo(); });
  }
}

bool Runtime::post(Loop::Call call) { return usable_ && thread_->post(std::move(call)); }

AppState* Runtime::find(std::uint64_t id) {
  const auto at = apps_.find(id);
  return at == apps_.end() ? nullptr : &at->second;
}

void Runtime::end_app(std::uint64_t id) {
  const auto at = apps_.find(id);
  if (at == apps_.end()) {
    return;
  }
  AppState state = std::move(at->second);
  apps_.erase(at);
  state.incoming->close();
  state.app.reset();
  for (const auto& weak : state.ports) {
    if (const auto port = weak.lock()) {
      port->end(CloseReason::kByUs);
    }
  }
}

void Runtime::resume_stalled(std::uint64_t id) {
  AppState* const state = find(id);
  if (state == nullptr || state->stalled.empty()) {
    return;
  }
  for (const auto& port : std::exchange(state->stalled, {})) {
    port->pump();
  }
}

// --- applications --------------------------------------------------------------------------------------------------

std::shared_ptr<AppHandle> AppHandle::create(AppOptions options, const SharedTicket& ticket) {
  const auto runtime = Runtime::current();
  if (!runtime) {
    ticket->resolve(failure_of(runtime.error()));
    return nullptr;
  }
  std::shared_ptr<AppHandle> handle(new AppHandle(**runtime));
  const auto posted = handle->runtime_.post([weak = std::weak_ptr(handle), incoming = handle->incoming_, id = handle->id_, ticket, options = std::move(options)]() mutable {
    const auto alive = weak.lock();
    if (!alive || ticket->cancelled()) {
      return;
    }
    Runtime& at = alive->runtime_;
    App::Handlers handlers;
    handlers.on_session = [&at, id, incoming](std::shared_ptr<AppSession> session) { incoming->put(Port::adopt(at, id, std::move(session))); };
    handlers.on_writable = [&at, id] { at.resume_stalled(id); };
    auto app = App::create(at.loop(), std::move(options), std::move(handlers));
    if (!app) {
      ticket->resolve(failure_of(app.error()));
      return;
    }
    alive->name_ = (*app)->name();
    at.add(id, {std::move(*app), incoming, {}, {}});
    ticket->resolve({});
  });
  if (!posted) {
    ticket->resolve(failure_of(AppError(AppFault::kBusy, "creating an application")));
  }
  return handle;
}

void AppHandle::end() {
  runtime_.post([runtime = &runtime_, id = id_] { runtime->end_app(id); });
}

// Runs `call(app, runtime)` on the loop; what it returns, if it is an error, is the ticket's result.
template <class F>
void AppHandle::with_app(SharedTicket ticket, F call) {
  const bool posted = runtime_.post([runtime = &runtime_, id = id_, ticket, call = std::move(call)]() mutable {
    if (ticket->cancelled()) {
      return;
    }
    AppState* const state = runtime->find(id);
    const App::Call done = state == nullptr ? App::Call(std::unexpected(closed_error())) : call(*state->app, *runtime);
    if (!done) {
      ticket->resolve(failure_of(done.error()));
    }
  });
  if (!posted) {
    ticket->resolve(failure_of(runtime_.usable() ? AppError(AppFault::kBusy, {}) : closed_error()));
  }
}

void AppHandle::connect(SharedTicket ticket, ConnectOptions options, std::uint64_t patience_ms) {
  with_app(ticket, [ticket, id = id_, options = std::move(options), patience_ms](App& app, Runtime& runtime) mutable -> App::Call {
    struct Attempt {
      bool over = false;
      TimerId timer = TimerId::kNone;
    };
    auto attempt = std::make_shared<Attempt>();
    const auto begun = app.connect(std::move(options), [ticket, attempt, &runtime](std::expected<ConnectionId, AppError> result) {
      if (!std::exchange(attempt->over, true)) {
        runtime.loop().cancel(attempt->timer);
        ticket->resolve(result ? Result(*result) : failure_of(result.error()));
      }
    });
    if (!begun) {
      return std::unexpected(begun.error());
    }
    const auto hang_up = [&runtime, id, connection = *begun] {
      if (AppState* const state = runtime.find(id)) {
        (void)state->app->disconnect(connection);
      }
    };
    attempt->timer = runtime.loop().after(patience_ms * 1'000'000, [ticket, attempt, &runtime, id, hang_up, connection = *begun] {
      AppState* const state = runtime.find(id);
      const auto used = state == nullptr ? nullptr : state->app->connection(connection);
      if (!std::exchange(attempt->over, true)) {
        const std::string about = used ? "connecting to " + used->address() + ": " + used->trouble() : "connecting";
        ticket->resolve(failure_of(AppError(AppFault::kTimeout, about)));
        hang_up();
      }
    });
    ticket->undo_by([attempt, &runtime, hang_up] {
      attempt->over = true;
      runtime.loop().cancel(attempt->timer);
      hang_up();
    });
    return {};
  });
}

void AppHandle::disconnect(SharedTicket ticket, ConnectionId connection) {
  with_app(ticket, [ticket, connection](App& app, Runtime&) {
    auto done = app.disconnect(connection);
    if (done) {
      ticket->resolve({});
    }
    return done;
  });
}

void AppHandle::subscribe(SharedTicket ticket, TextName name) {
  with_app(ticket, [ticket, id = id_, name = std::move(name)](App& app, Runtime& runtime) {
    ticket->undo_by([&runtime, id, name] {
      if (AppState* const state = runtime.find(id)) {
        (void)state->app->unsubscribe(name);
      }
    });
    return app.subscribe(name, [ticket](std::expected<Outcome, AppError> result) { ticket->resolve(result ? Result() : failure_of(result.error())); });
  });
}

void AppHandle::unsubscribe(SharedTicket ticket, TextName name) {
  with_app(ticket, [ticket, name = std::move(name)](App& app, Runtime&) {
    auto done = app.unsubscribe(name);
    if (done) {
      ticket->resolve({});
    }
    return done;
  });
}

void AppHandle::set_route(SharedTicket ticket, TextName name, ConnectionId connection) {
  with_app(ticket, [ticket, name = std::move(name), connection](App& app, Runtime&) {
    auto done = app.set_route(name, connection);
    if (done) {
      ticket->resolve({});
    }
    return done;
  });
}

void AppHandle::remove_route(SharedTicket ticket, TextName name) {
  with_app(ticket, [ticket, name = std::move(name)](App& app, Runtime&) {
    auto done = app.remove_route(name);
    if (done) {
      ticket->resolve({});
    }
    return done;
  });
}

void AppHandle::create_session(SharedTicket ticket, SessionOptions options) {
  with_app(ticket, [ticket, id = id_, options = std::move(options)](App& app, Runtime& runtime) {
    return app.create_session(options, [ticket, id, &runtime](std::expected<std::shared_ptr<AppSession>, AppError> session) {
      if (!session) {
        ticket->resolve(failure_of(session.error()));
      } else {
        ticket->resolve(Port::adopt(runtime, id, std::move(*session)));  // cancelled: nobody holds it, which closes it
      }
    });
  });
}

std::shared_ptr<Port> AppHandle::take_session() {
  if (!runtime_.usable()) {
    return nullptr;
  }
  const std::lock_guard lock(incoming_->mutex);
  if (incoming_->sessions.empty()) {
    return nullptr;
  }
  auto session = std::move(incoming_->sessions.front());
  incoming_->sessions.pop_front();
  return session;
}

bool AppHandle::wait_for_session(Waiter waiter) {
  if (!runtime_.usable()) {
    return false;
  }
  const std::lock_guard lock(incoming_->mutex);
  if (incoming_->closed || !incoming_->sessions.empty()) {
    return false;
  }
  incoming_->waiters.push_back(std::move(waiter));
  return true;
}

bool AppHandle::closed() {
  if (!runtime_.usable()) {
    return true;
  }
  const std::lock_guard lock(incoming_->mutex);
  return incoming_->closed;
}

}  // namespace slipway::python
