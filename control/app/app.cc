#include "app/app.h"

#include <algorithm>
#include <array>
#include <utility>

#include "crypto/random.h"
#include "session/channel_names.h"

namespace slipway {

// Session and command ids, from the system's generator, some at a time.
class App::Random final : public RandomSource {
 public:
  std::uint32_t next() override {
    if (left_ == 0) {
      if (!mls::system_random().fill_public({reinterpret_cast<std::uint8_t*>(pool_.data()), sizeof pool_})) {
        std::terminate();  // without random numbers nothing here is safe
      }
      left_ = pool_.size();
    }
    return pool_[--left_];
  }

 private:
  std::array<std::uint32_t, 64> pool_;
  std::size_t left_ = 0;
};

std::expected<std::unique_ptr<App>, AppError> App::create(Loop& loop, AppOptions options, Handlers handlers) {
  if (!options.identity.provider || !options.identity.verifier) {
    return std::unexpected(AppError(AppFault::kIdentity, "an application needs an identity and a way to verify others"));
  }
  if (std::ranges::any_of(options.name.component, &std::string::empty)) {
    return std::unexpected(AppError(AppFault::kBadName, "'" + options.name.text() + "': three parts are needed, org/namespace/application"));
  }
  if (auto token = options.identity.provider->token(unix_now_s()); !token) {
    return std::unexpected(AppError(token.error()));
  }
  return std::unique_ptr<App>(new App(loop, std::move(options), std::move(handlers)));
}

App::App(Loop& loop, AppOptions options, Handlers handlers)
    : loop_(loop),
      identity_(options.identity),
      name_(TextName{options.name.component, options.identity.provider->id()}),
      binding_(options.binding),
      handlers_(std::move(handlers)),
      keeper_(options.keeper),
      random_(std::make_unique<Random>()),
      mls_groups_(identity_, options.groups),
      groups_(mls_groups_, [this] { return any_up(); }),
      layer_(LayerConfig{name_, options.direction, options.binding == IdentityBinding::kEnforce, options.keeper != nullptr}, *random_, groups_),
      between_(std::move(options.groups.between_steps)) {
  const TextName own{*name_.text_components(), name_.id()};
  want(own, SessionHandle::kNone, {});
  want(TextName{own.component, kAnycastId}, SessionHandle::kNone, {});
  const std::uint64_t every_s = std::max<std::uint64_t>(kMinKeyRefreshS, identity_.provider().lifetime_s() / 16);
  key_timer_ = loop_.every(every_s * 1'000'000'000, [this] { renew_keys(); });
  if (keeper_ != nullptr) {
    keeper_->on_durable([this] { release_held(); });
    loop_.defer([this, alive = std::weak_ptr(alive_)] {
      if (const auto still = alive.lock(); still && *still) {
        take_up_kept();
      }
    });
  }
}

App::~App() {
  *alive_ = false;
  loop_.cancel(timer_);
  loop_.cancel(key_timer_);
  for (Action& action : std::exchange(postponed_, {})) {
    carry_out_one(action);
  }
  if (keeper_ != nullptr) {
    keeper_->on_durable({});
  }
  answer_everything_open();
  attached_.clear();  // ports before the connections that they use
}

// Nobody waits for an answer for ever. Sessions refuse calls before the first callback runs.
void App::answer_everything_open() {
  handlers_ = {};
  std::vector<std::shared_ptr<AppSession>> sessions;
  for (auto& [handle, session] : sessions_) {
    sessions.push_back(session);
  }
  for (auto& [peer, session] : anycast_peers_) {
    sessions.push_back(session);
  }
  for (const auto& session : sessions) {
    session->destination_ = session->destination();
    session->app_ = nullptr;
  }
  const auto gone = [](const char* doing) { return std::unexpected(AppError(SessionError{SessionFault::kClosed, doing})); };
  kept_notices_ = 0;
  for (auto& notice : std::exchange(notices_, {})) {
    if (auto* answer = std::get_if<Answer>(&notice)) {
      answer->call();
    }
  }
  for (auto& [operation, done] : std::exchange(pending_, {})) {
    done(gone("the application ended meanwhile"));
  }
  for (auto& [operation, creating] : std::exchange(creating_, {})) {
    if (creating.second) {
      creating.second(gone("creating a session"));
    }
  }
  for (Wanted& wanted : std::exchange(wanted_, {})) {
    if (wanted.done) {
      wanted.done(gone("subscribing"));
    }
  }
  for (const auto& attached : attached_) {
    if (const Connected done = std::exchange(attached->done, {})) {
      done(gone("connecting"));
    }
  }
  for (const auto& session : sessions) {
    session->tell(SessionClosed{SessionHandle::kNone, CloseReason::kByUs});
  }
}

// --- sessions ----------------------------------------------------------------------------------------------------

App::Call App::create_session(const SessionOptions& options, Created created) {
  const SessionConfig config = config_of(options);
  const TimeMs now = now_ms();
  std::expected<SessionHandle, SessionError> handle;
  if (const auto* unicast = std::get_if<UnicastOptions>(&options)) {
    const OperationId operation = ++last_operation_;
    handle = layer_.create_unicast(now, FullName(unicast->peer), config, operation);
    if (handle) {
      Created told;
      if (created) {
        told = [this, whom = FullName(unicast->peer), now, created = std::move(created)](auto session) mutable {
          created(session ? std::move(session) : std::unexpected(with_unbelieved(whom, now, std::move(session.error()))));
        };
      }
      creating_.emplace(operation, std::pair(*handle, std::move(told)));
      adopt(*handle, SessionKind::kUnicast);
    }
  } else {
    const SessionKind kind = kind_of(options);
    if (const auto* multicast = std::get_if<MulticastOptions>(&options)) {
      const ChannelNames names = channel_names(subject(), multicast->channel);
      handle = layer_.create_group(now, names.data, names.control, config);
    } else {
      handle = layer_.create_anycast(now, config);
    }
    if (handle) {
      auto session = adopt(*handle, kind);
      session->reliable_ = config.reliability.has_value();
      if (created) {
        answer([session, created = std::move(created)]() mutable { created(session); });
      }
    }
  }
  carry_out();
  if (!handle) {
    return std::unexpected(AppError(handle.error()));
  }
  return {};
}

std::expected<std::shared_ptr<AppSession>, AppError> App::restore(std::uint64_t key, const StoredSession& stored) {
  const auto handle = layer_.restore(now_ms(), key, stored);
  std::shared_ptr<AppSession> session;
  if (const Session* const inside = handle ? layer_.find(*handle) : nullptr) {
    session = adopt(*handle, inside->facts().is_group() ? SessionKind::kMulticast : SessionKind::kUnicast);
  }
  carry_out();
  if (!handle) {
    return std::unexpected(AppError(handle.error()));
  }
  return session;
}

void App::take_up_kept() {
  for (const auto& [key, stored] : keeper_->take_kept()) {
    auto session = restore(key, stored);
    if (!session) {
      keeper_->not_restored(key, session.error().message());
    } else if (*session) {
      offer(std::move(*session));
    }
  }
}

std::shared_ptr<AppSession> App::adopt(SessionHandle handle, SessionKind kind) {
  std::shared_ptr<AppSession> session(new AppSession);
  session->app_ = this;
  session->handle_ = handle;
  session->kind_ = kind;
  session->source_ = name_;
  session->creator_ = true;
  if (const Session* inside = layer_.find(handle)) {
    const SessionFacts& facts = inside->facts();
    session->id_ = facts.id;
    session->destination_ = inside->channel();
    session->metadata_ = facts.metadata;
    session->reliable_ = facts.reliability.has_value();
    session->encrypted_ = facts.mls.has_value();
    session->creator_ = inside->is_moderator();
  } else if (const auto id = layer_.anycast_id(handle)) {
    session->id_ = *id;
    own_anycast_[*id] = session;
  }
  sessions_[static_cast<std::uint64_t>(handle)] = session;
  ++sessions_generation_;
  if (session->encrypted_) {
    keys_made_s_[static_cast<std::uint64_t>(handle)] = unix_now_s();
  }
  return session;
}

// Anycast that came in: one object for each sender and session of its; the oldest goes when there are too many.
std::shared_ptr<AppSession> App::anycast_session(const AppMessage& message) {
  if (const auto own = own_anycast_.find(message.session_id); own != own_anycast_.end() && message.destination == name_) {
    return own->second;  // an answer to ours
  }
  const AnycastPeer peer{message.source.hashed(), message.session_id};
  if (const auto found = anycast_peers_.find(peer); found != anycast_peers_.end()) {
    return found->second;
  }
  if (anycast_order_.size() == kMaxAnycastPeers) {
    if (const auto oldest = anycast_peers_.find(anycast_order_.front()); oldest != anycast_peers_.end()) {
      const auto session = oldest->second;
      anycast_peers_.erase(oldest);
      session->tell(SessionClosed{SessionHandle::kNone, CloseReason::kPeerLeft});
    }
    anycast_order_.pop_front();
  }
  std::shared_ptr<AppSession> session(new AppSession);
  session->app_ = this;
  session->kind_ = SessionKind::kAnycast;
  session->id_ = message.session_id;
  session->source_ = name_;
  session->destination_ = message.source;
  session->reliable_ = message.message_id != 0;
  session->answers_only_ = true;
  anycast_peers_.emplace(peer, session);
  anycast_order_.push_back(peer);
  offer(session);
  return session;
}

void App::offer(std::shared_ptr<AppSession> session) {
  if (handlers_.on_session) {
    const auto call = handlers_.on_session;
    call(std::move(session));
    return;
  }
  if (unclaimed_.size() == kMaxUnclaimedSessions) {
    (void)session->close();
    return;
  }
  unclaimed_.push_back(std::move(session));
}

std::shared_ptr<AppSession> App::take_session() {
  if (unclaimed_.empty()) {
    return nullptr;
  }
  auto session = std::move(unclaimed_.front());
  unclaimed_.pop_front();
  return session;
}

void App::on_session(std::function<void(std::shared_ptr<AppSession>)> handler) {
  handlers_.on_session = std::move(handler);
  while (handlers_.on_session) {
    auto session = take_session();
    if (!session) {
      break;
    }
    const auto call = handlers_.on_session;
    call(std::move(session));
  }
}

OperationId App::expect(Done done) {
  if (!done) {
    return kNoOperation;
  }
  const OperationId operation = ++last_operation_;
  pending_.emplace(operation, std::move(done));
  return operation;
}

void App::forget(OperationId operation) { pending_.erase(operation); }

std::expected<void, AppError> App::room_for(std::size_t payload_bytes) const {
  if (busy_) {
    return std::unexpected(AppError(AppFault::kBusy, {}));
  }
  std::size_t largest = attached_.empty() ? kMaxFrameBytes : 0;
  for (const auto& attached : attached_) {
    largest = std::max(largest, attached->port->max_frame_bytes());
  }
  // MLS pads by up to an eighth.
  const std::size_t most = largest > 2 * kWireOverheadBytes ? largest - kWireOverheadBytes : largest - kWireOverheadBytes / 8;
  if (payload_bytes + payload_bytes / 8 > most) {
    return std::unexpected(AppError(AppFault::kTooLarge, "a payload of " + std::to_string(payload_bytes) + " bytes"));
  }
  return {};
}

AppSession::Published App::published(OperationId operation, SessionLayer::Published result) {
  carry_out();
  if (!result) {
    forget(operation);
    return std::unexpected(AppError(result.error()));
  }
  return *result;
}

AppSession::Call App::called(OperationId operation, SessionLayer::Call result) {
  carry_out();
  if (!result) {
    forget(operation);
    return std::unexpected(AppError(result.error()));
  }
  return {};
}

}  // namespace slipway
