#include "app/app_session.h"

#include <utility>

#include "app/app.h"

namespace slipway {

SharedBytes shared_bytes(std::string_view text) {
  const auto* at = reinterpret_cast<const std::byte*>(text.data());
  return std::make_shared<const Bytes>(at, at + text.size());
}
std::string_view text_of(const SharedBytes& bytes) {
  return bytes ? std::string_view(reinterpret_cast<const char*>(bytes->data()), bytes->size()) : std::string_view();
}

std::unexpected<AppError> AppSession::wrong_kind(const char* doing) const {
  return std::unexpected(AppError(SessionError{SessionFault::kWrongKind, std::string(doing) + " on " + std::string(session_kind_text(kind_))}));
}
std::unexpected<AppError> AppSession::gone(const char* doing) const {
  return std::unexpected(AppError(SessionError{SessionFault::kClosed, doing}));
}

AppSession::Published AppSession::publish(SharedBytes payload, PublishOptions options, Done done) {
  if (!open()) {
    return gone("publishing");
  }
  if (kind_ == SessionKind::kAnycast) {
    return wrong_kind("publishing without a destination");
  }
  if (auto room = app_->room_for(size_of(payload)); !room) {
    return std::unexpected(room.error());
  }
  if (!done && options.metadata.empty()) {
    if (const auto id = app_->send_plain(*this, options.payload_type, payload)) {
      return *id;
    }
  }
  const OperationId operation = app_->expect(std::move(done));
  return app_->published(operation, app_->layer_.publish(app_->now_ms(), handle_,
                                                         {std::move(options.payload_type), std::move(payload), std::move(options.metadata)}, operation));
}

AppSession::Published AppSession::publish_with_destination(const TextName& service, SharedBytes payload, PublishOptions options, Done done) {
  if (!open()) {
    return gone("publishing");
  }
  if (kind_ != SessionKind::kAnycast || answers_only_) {
    return wrong_kind("publishing with a destination");
  }
  if (auto room = app_->room_for(size_of(payload)); !room) {
    return std::unexpected(room.error());
  }
  const OperationId operation = app_->expect(std::move(done));
  return app_->published(operation,
                         app_->layer_.publish_with_destination(app_->now_ms(), handle_, FullName(service),
                                                               {std::move(options.payload_type), std::move(payload), std::move(options.metadata)}, operation));
}

AppSession::Published AppSession::publish_to(const AppMessage& received, SharedBytes payload, PublishOptions options, Done done) {
  if (!open()) {
    return gone("publishing");
  }
  if (received.anycast != (kind_ == SessionKind::kAnycast)) {
    return wrong_kind("answering a message of another session");
  }
  if (auto room = app_->room_for(size_of(payload)); !room) {
    return std::unexpected(room.error());
  }
  Outgoing content{std::move(options.payload_type), std::move(payload), std::move(options.metadata)};
  const OperationId operation = app_->expect(std::move(done));
  if (received.anycast) {
    // As reliable as the question: an id above zero asked for an acknowledgement.
    SessionConfig config;
    if (reliable_ || received.message_id != 0) {
      config.reliability = TimerSettings{kDefaultControlIntervalMs, kDefaultRetries};
    }
    return app_->published(operation, app_->layer_.answer_anycast(app_->now_ms(), received, config, std::move(content), operation));
  }
  return app_->published(operation, app_->layer_.publish_to(app_->now_ms(), handle_, received.source, std::move(content), operation));
}

AppSession::Call AppSession::invite(const TextName& name, Done done) {
  if (!open()) {
    return gone("inviting");
  }
  if (kind_ != SessionKind::kMulticast) {
    return wrong_kind("inviting");
  }
  Done told = [app = app_, whom = FullName(name), since = app_->now_ms(), done = std::move(done)](std::expected<Outcome, AppError> outcome) mutable {
    if (done) {
      done(outcome ? std::move(outcome) : std::unexpected(app->with_unbelieved(whom, since, std::move(outcome.error()))));
    }
  };
  const OperationId operation = app_->expect(std::move(told));
  return app_->called(operation, app_->layer_.invite(app_->now_ms(), handle_, FullName(name), operation));
}

AppSession::Call AppSession::remove(const TextName& name, Done done) {
  if (!open()) {
    return gone("removing");
  }
  if (kind_ != SessionKind::kMulticast) {
    return wrong_kind("removing");
  }
  const OperationId operation = app_->expect(std::move(done));
  return app_->called(operation, app_->layer_.remove(app_->now_ms(), handle_, FullName(name), operation));
}

AppSession::Call AppSession::refresh_keys(Done done) {
  if (!open()) {
    return gone("renewing keys");
  }
  if (!encrypted_) {
    return wrong_kind("renewing keys without MLS");
  }
  const OperationId operation = app_->expect(std::move(done));
  return app_->called(operation, app_->layer_.refresh_keys(app_->now_ms(), handle_, operation));
}

AppSession::Call AppSession::go_offline(Done done) {
  if (!open()) {
    return gone("going offline");
  }
  if (kind_ != SessionKind::kMulticast) {
    return wrong_kind("going offline");
  }
  const OperationId operation = app_->expect(std::move(done));
  return app_->called(operation, app_->layer_.go_offline(app_->now_ms(), handle_, operation));
}

AppSession::Call AppSession::come_back(Done done) {
  if (!open()) {
    return gone("coming back");
  }
  if (kind_ != SessionKind::kMulticast) {
    return wrong_kind("coming back");
  }
  const OperationId operation = app_->expect(std::move(done));
  return app_->called(operation, app_->layer_.come_back(app_->now_ms(), handle_, operation));
}

AppSession::Call AppSession::close(Done done) {
  if (!open()) {
    return gone("closing");
  }
  if (answers_only_) {
    App* const app = app_;
    const auto self = shared_from_this();
    app->anycast_peers_.erase({destination_.hashed(), id_});
    app->answer([self, done = std::move(done)]() mutable {
      self->tell(SessionClosed{SessionHandle::kNone, CloseReason::kByUs});
      if (done) {
        done(Outcome{});
      }
    });
    return {};
  }
  const OperationId operation = app_->expect(std::move(done));
  return app_->called(operation, app_->layer_.close(app_->now_ms(), handle_, operation));
}

std::vector<ParticipantInfo> AppSession::participants() const {
  const Session* session = app_ == nullptr ? nullptr : app_->layer_.find(handle_);
  return session == nullptr ? std::vector<ParticipantInfo>() : session->participants();
}

FullName AppSession::destination() const {
  const Session* session = app_ == nullptr ? nullptr : app_->layer_.find(handle_);
  return session == nullptr ? destination_ : session->channel();
}

std::uint64_t AppSession::epoch() const {
  const Session* session = app_ == nullptr ? nullptr : app_->layer_.find(handle_);
  return session == nullptr ? kNoEpoch : session->epoch();
}

void AppSession::on_message(std::function<void(AppMessage)> handler) {
  message_handler_ = handler ? std::make_shared<const std::function<void(AppMessage)>>(std::move(handler)) : nullptr;
  while (message_handler_ && !unread_.empty()) {
    AppMessage message = std::move(unread_.front());
    unread_.pop_front();
    unread_bytes_ -= size_of(message.payload);
    const auto call = message_handler_;  // it may set another
    (*call)(std::move(message));
  }
}

std::optional<AppMessage> AppSession::take_message() {
  if (unread_.empty()) {
    return std::nullopt;
  }
  std::optional<AppMessage> message(std::move(unread_.front()));
  unread_.pop_front();
  unread_bytes_ -= size_of(message->payload);
  return message;
}

void AppSession::on_event(std::function<void(const SessionEvent&)> handler) { event_handler_ = std::move(handler); }

void AppSession::keep_unread(AppMessage message) {
  if (unread_.size() >= kMaxUnreadMessages || unread_bytes_ + size_of(message.payload) > kMaxUnreadBytes) {
    if (dropped_++ == 0) {
      tell(MessagesUnread{1});
    }
    return;
  }
  if (dropped_ > 1) {
    tell(MessagesUnread{dropped_ - 1});
  }
  dropped_ = 0;
  unread_bytes_ += size_of(message.payload);
  unread_.push_back(std::move(message));
}

void AppSession::tell(const SessionEvent& event) {
  if (const auto* closed = std::get_if<SessionClosed>(&event)) {
    destination_ = destination();
    closed_ = closed->reason;
    app_ = nullptr;  // which does not know this session any more, and may go before it
  }
  if (event_handler_) {
    const auto call = event_handler_;
    call(event);
  }
}

}  // namespace slipway
