// Sessions as Python holds them.
#include <utility>

#include "runtime.h"

namespace slipway::python {

namespace {

// Waits for acknowledgements, or for the connection: then it is tried again.
bool no_room(const AppError& error) {
  return error.fault == AppFault::kBusy || error.session == SessionFault::kWindowFull || error.session == SessionFault::kQueueFull;
}

AppError gone(const char* doing) { return SessionError{SessionFault::kClosed, doing}; }

// An operation's end is the ticket's result.
Done ends(const SharedTicket& ticket) {
  return [ticket](std::expected<Outcome, AppError> result) { ticket->resolve(result ? Result() : failure_of(result.error())); };
}

}  // namespace

std::shared_ptr<Port> Port::adopt(Runtime& runtime, std::uint64_t app, std::shared_ptr<AppSession> session) {
  std::shared_ptr<Port> port(new Port(runtime, app));
  port->kind = session->kind();
  port->id = session->id();
  port->source = session->source();
  port->destination = session->destination();
  port->metadata = session->metadata();
  port->reliable = session->reliable();
  port->encrypted = session->encrypted();
  port->creator = session->is_creator();
  port->session_ = std::move(session);
  if (AppState* const state = runtime.find(app)) {
    std::erase_if(state->ports, [](const auto& weak) { return weak.expired(); });
    state->ports.push_back(port);
  }
  port->listen();
  return port;
}

void Port::listen() {
  session_->on_event([weak = weak_from_this()](const SessionEvent& event) {
    if (const auto port = weak.lock()) {
      port->tell(event);
    }
  });
  session_->on_message([weak = weak_from_this()](AppMessage message) {
    if (const auto port = weak.lock()) {
      port->deliver(std::move(message));
    }
  });
  if (const auto reason = session_->closed()) {
    end(*reason);
  }
}

Port::~Port() {
  runtime_.post([session = std::move(session_)] {
    session->on_message({});
    session->on_event({});
    (void)session->close();
  });
}

// --- in ------------------------------------------------------------------------------------------------------------

void Port::wake(std::vector<Waiter> waiters) {
  for (const Waiter& waiter : waiters) {
    waiter.mailbox->put(waiter.token, {});
  }
}

void Port::deliver(AppMessage message) {
  std::vector<Waiter> woken;
  {
    const std::lock_guard lock(mutex_);
    const std::size_t bytes = size_of(message.payload);
    if (messages_.size() < kMaxUnreadMessages && message_bytes_ + bytes <= kMaxUnreadBytes) {
      message_bytes_ += bytes;
      messages_.push_back(std::make_shared<const AppMessage>(std::move(message)));
      woken.swap(message_waiters_);
    } else if (auto* unread = events_.empty() ? nullptr : std::get_if<MessagesUnread>(&events_.back())) {
      ++unread->count;
    } else {
      events_.emplace_back(MessagesUnread{1});
      woken.swap(event_waiters_);
    }
  }
  wake(std::move(woken));
}

void Port::tell(const SessionEvent& event) {
  std::vector<Waiter> woken;
  {
    const std::lock_guard lock(mutex_);
    if (events_.size() == kEventsKept) {
      events_.pop_front();
    }
    events_.push_back(event);
    woken.swap(event_waiters_);
  }
  wake(std::move(woken));
  if (const auto* closed = std::get_if<SessionClosed>(&event)) {
    end(closed->reason);
  } else {
    runtime_.resume_stalled(app_);
  }
}

void Port::end(CloseReason reason) {
  std::vector<Waiter> woken;
  {
    const std::lock_guard lock(mutex_);
    if (!closed_) {
      closed_ = reason;
    }
    woken.swap(message_waiters_);
    woken.insert(woken.end(), std::make_move_iterator(event_waiters_.begin()), std::make_move_iterator(event_waiters_.end()));
    event_waiters_.clear();
  }
  flowing_ = false;
  wake(std::move(woken));
  if (const auto ticket = std::exchange(ended_ticket_, nullptr)) {
    ends(ticket)(Outcome{});
  }
  pump();  // what was not published fails
}

std::shared_ptr<const AppMessage> Port::take_message() {
  if (!runtime_.usable()) {
    return nullptr;
  }
  const std::lock_guard lock(mutex_);
  if (messages_.empty()) {
    return nullptr;
  }
  auto message = std::move(messages_.front());
  messages_.pop_front();
  message_bytes_ -= size_of(message->payload);
  return message;
}

std::optional<SessionEvent> Port::take_event() {
  if (!runtime_.usable()) {
    return std::nullopt;
  }
  const std::lock_guard lock(mutex_);
  if (events_.empty()) {
    return std::nullopt;
  }
  SessionEvent event = std::move(events_.front());
  events_.pop_front();
  return event;
}

bool Port::wait_for_message(Waiter waiter) {
  if (!runtime_.usable()) {
    return false;
  }
  const std::lock_guard lock(mutex_);
  if (closed_ || !messages_.empty()) {
    return false;
  }
  message_waiters_.push_back(std::move(waiter));
  return true;
}

bool Port::wait_for_event(Waiter waiter) {
  if (!runtime_.usable()) {
    return false;
  }
  const std::lock_guard lock(mutex_);
  if (closed_ || !events_.empty()) {
    return false;
  }
  event_waiters_.push_back(std::move(waiter));
  return true;
}

std::optional<CloseReason> Port::closed() {
  if (!runtime_.usable()) {
    return CloseReason::kByUs;
  }
  const std::lock_guard lock(mutex_);
  return closed_;
}

std::optional<Failure> Port::why_closed() {
  const auto reason = closed();
  if (!reason) {
    return std::nullopt;
  }
  switch (*reason) {
    case CloseReason::kByModerator: return failure_of(AppError(SessionError{SessionFault::kClosed, "its creator closed it"}));
    case CloseReason::kRemoved: return failure_of(AppError(SessionError{SessionFault::kRemoved, {}}));
    case CloseReason::kPeerLeft: return failure_of(AppError(SessionError{SessionFault::kPeerLeft, {}}));
    case CloseReason::kSetupFailed: return failure_of(AppError(SessionError{SessionFault::kClosed, "it was never set up"}));
    case CloseReason::kByUs: break;
  }
  return failure_of(gone("waiting"));
}

// --- out -----------------------------------------------------------------------------------------------------------

bool Port::publish(Outgoing outgoing, const std::function<SharedTicket()>& make_ticket) {
  SharedTicket ticket;
  bool schedule = false;
  {
    const bool usable = runtime_.usable();
    const std::unique_lock lock = usable ? std::unique_lock(mutex_) : std::unique_lock<std::mutex>();
    const bool open = usable && !closing_;
    const bool at_once = flowing_ && open && outgoing_.size() < kAheadMessages && size_of(outgoing.payload) <= kAheadPayloadBytes &&
                         outgoing.options.metadata.empty() && outgoing.options.payload_type.size() <= kMaxPayloadTypeBytes;
    if (!at_once) {
      ticket = outgoing.ticket = make_ticket();
    }
    if (open) {
      outgoing_.push_back(std::move(outgoing));
      schedule = !std::exchange(scheduled_, true);
    } else {
      const Failure failure = failure_of(gone("publishing"));
      outgoing.receipt->set(failure);
      ticket->resolve(failure);
    }
  }
  if (schedule) {
    schedule_pump();
  }
  return !ticket;
}

void Port::schedule_pump() {
  const bool posted = runtime_.post([self = shared_from_this()] { self->pump(); });
  if (!posted) {
    const std::lock_guard lock(mutex_);
    scheduled_ = false;  // the next publish tries again
  }
}

bool Port::withdraw(const SharedTicket& ticket) {
  ticket->cancel();
  if (!runtime_.usable()) {
    return false;
  }
  const std::lock_guard lock(mutex_);
  return std::erase_if(outgoing_, [&](const Outgoing& outgoing) { return outgoing.ticket == ticket; }) > 0;
}

void Port::pump() {
  for (std::size_t published = 0;; ++published) {
    Outgoing next;
    {
      const std::lock_guard lock(mutex_);
      scheduled_ = !outgoing_.empty();
      if (outgoing_.empty()) {
        break;
      }
      if (published < kPumpMessages) {
        next = std::move(outgoing_.front());
        outgoing_.pop_front();
      }
    }
    if (published == kPumpMessages) {
      schedule_pump();
      return;
    }
    if (!publish_one(next)) {
      const std::lock_guard lock(mutex_);
      outgoing_.push_front(std::move(next));
      return;  // `scheduled_` stays: resume_stalled goes on
    }
  }
  if (close_ticket_) {
    begin_close();
  }
}

// False: no room now.
bool Port::publish_one(Outgoing& outgoing) {
  // The application may end before the message has: then its promise is dropped, and the receipt says so.
  struct Promise {
    std::shared_ptr<Receipt> receipt;
    bool armed = false;
    explicit Promise(std::shared_ptr<Receipt> of) : receipt(std::move(of)) {}
    Promise(const Promise&) = delete;
    Promise& operator=(const Promise&) = delete;
    ~Promise() {
      if (armed) {
        receipt->set(failure_of(AppError(AppFault::kClosed, {})));
      }
    }
  };
  auto promise = std::make_shared<Promise>(outgoing.receipt);
  Done done = [promise, &runtime = runtime_, app = app_](std::expected<Outcome, AppError> result) {
    promise->armed = false;
    promise->receipt->set(result ? Result(std::move(*result)) : failure_of(result.error()));
    runtime.resume_stalled(app);
  };
  const auto taken = outgoing.destination ? session_->publish_with_destination(*outgoing.destination, outgoing.payload, outgoing.options, std::move(done))
                     : outgoing.answers   ? session_->publish_to(*outgoing.answers, outgoing.payload, outgoing.options, std::move(done))
                                          : session_->publish(outgoing.payload, outgoing.options, std::move(done));
  if (!taken && no_room(taken.error())) {
    if (AppState* const state = runtime_.find(app_)) {
      state->stalled.push_back(shared_from_this());
      return false;
    }
  }
  flowing_ = promise->armed = taken.has_value();
  const Result result = taken ? Result() : failure_of(taken.error());
  if (!taken) {
    outgoing.receipt->set(result);
  }
  if (outgoing.ticket) {
    outgoing.ticket->resolve(result);
  }
  return true;
}

// --- calls ---------------------------------------------------------------------------------------------------------

void Port::post_or_fail(const SharedTicket& ticket, Loop::Call call) {
  if (!runtime_.post(std::move(call))) {
    ticket->resolve(failure_of(runtime_.usable() ? AppError(AppFault::kBusy, {}) : gone("calling")));
  }
}

void Port::invite(SharedTicket ticket, TextName name) {
  post_or_fail(ticket, [self = shared_from_this(), ticket, name = std::move(name)] {
    if (ticket->cancelled()) {
      return;
    }
    const auto begun = self->session_->invite(name, [self, ticket, name](std::expected<Outcome, AppError> result) {
      ticket->resolve(result ? Result() : failure_of(result.error()));
      if (result) {
        ticket->undo_by([self, name] { (void)self->session_->remove(name); });
      }
    });
    if (!begun) {
      ticket->resolve(failure_of(begun.error()));
    }
  });
}

void Port::remove(SharedTicket ticket, TextName name) {
  post_or_fail(ticket, [self = shared_from_this(), ticket, name = std::move(name)] {
    if (const auto begun = self->session_->remove(name, ends(ticket)); !begun) {
      ticket->resolve(failure_of(begun.error()));
    }
  });
}

void Port::close(SharedTicket ticket) {
  if (runtime_.usable()) {
    const std::lock_guard lock(mutex_);
    closing_ = true;
  }
  post_or_fail(ticket, [self = shared_from_this(), ticket] {
    self->close_ticket_ = ticket;
    self->pump();
  });
}

void Port::begin_close() {
  const auto ticket = std::exchange(close_ticket_, nullptr);
  // The end is told right behind the success of closing: who waits for it finds the session closed.
  auto done = [self = shared_from_this(), ticket](std::expected<Outcome, AppError> result) {
    if (result && !self->closed()) {
      self->ended_ticket_ = ticket;
    } else {
      ends(ticket)(std::move(result));
    }
  };
  if (const auto begun = session_->close(std::move(done)); !begun) {
    ticket->resolve(failure_of(begun.error()));
  }
}

void Port::refresh_keys(SharedTicket ticket) {
  post_or_fail(ticket, [self = shared_from_this(), ticket] {
    if (const auto begun = self->session_->refresh_keys(ends(ticket)); !begun) {
      ticket->resolve(failure_of(begun.error()));
    }
  });
}

void Port::participants(SharedTicket ticket) {
  post_or_fail(ticket, [self = shared_from_this(), ticket] {
    ticket->resolve(self->session_->open() ? Result(self->session_->participants()) : failure_of(gone("listing members")));
  });
}

}  // namespace slipway::python
