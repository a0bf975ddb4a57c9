// Between the session layer and the connections: messages in, actions out, timers.

#include <algorithm>
#include <iterator>
#include <utility>

#include "app/app.h"

namespace slipway {
namespace {

constexpr std::uint32_t kNoAnycast = ~std::uint32_t{0};  // no session has it

}  // namespace

void App::on_frame(Attached& from, std::span<const std::byte> frame) {
  if (take_data(from, frame)) {
    return;
  }
  auto wire = decode_frame(frame);
  if (!wire) {
    ++counters_.malformed;
    return;
  }
  ++counters_.received;
  counters_.received_bytes += frame.size();
  SessionMessage& message = wire->message;
  const bool command = is_command(message.type);
  if (command) {
    begin_turn();
    const auto verified = verify_command(*wire, identity_.verifier(), binding_, unix_now_s());
    message.authentic = verified.has_value();
    if (!verified) {
      note_unbelieved(message, verified.error());
    }
  }
  remember_way(message.source.hashed(), from.id);
  if (message.type == MessageType::kMsg) {
    remember_data(message, frame);
  }
  layer_.on_message(now_ms(), std::move(message));
  carry_out();
  if (command && (!postponed_.empty() || turn_is_long())) {
    from.port->rest();
  }
}

void App::note_unbelieved(const SessionMessage& message, const IdentityError& error) {
  ++counters_.unverified;
  counters_.untimely += error.fault == IdentityFault::kExpired || error.fault == IdentityFault::kFromTheFuture ? 1 : 0;
  if (message.type != MessageType::kDiscoveryReply && message.type != MessageType::kJoinReply) {
    return;
  }
  std::erase_if(unbelieved_, [&](const Unbelieved& known) { return known.source == message.source; });
  unbelieved_.push_back({message.source, now_ms(), error.message()});
  if (unbelieved_.size() > kUnbelievedKept) {
    unbelieved_.pop_front();
  }
}

AppError App::with_unbelieved(const FullName& whom, TimeMs since, AppError error) const {
  const bool unanswered = error.session == SessionFault::kNotFound || error.session == SessionFault::kJoinUnanswered;
  const auto answer = std::ranges::find_if(unbelieved_, [&](const Unbelieved& known) { return known.at >= since && known.source.same_service(whom); });
  if (unanswered && answer != unbelieved_.end()) {
    error.about += "; " + answer->source.shown() + " answered, and was not believed: " + answer->why;
  }
  return error;
}

void App::send(SessionMessage message) {
  Attached* const attached = way_to(message.destination.hashed());
  if (attached == nullptr) {
    ++counters_.not_connected;
    return;
  }
  const bool command = is_command(message.type);
  if (!command && message.metadata.empty()) {
    send_data(*attached, message);
    return;
  }
  if (command || message.identity.empty()) {
    const auto token = identity_.provider().token(unix_now_s());
    message.identity = token ? std::string(*token) : std::string();
  }
  const std::string content = encode_content(message.payload);
  WireSignatures signatures;
  if (command) {
    auto made = sign_command(message, content, identity_.provider().key());
    if (!made) {
      ++counters_.unverified;
      return;
    }
    signatures = std::move(*made);
  }
  const FrameHeader header = frame_header_of(message);
  const std::string encoded = encode_frame_body(message, content, signatures);
  const auto body = std::as_bytes(std::span(encoded));
  if (message.type == MessageType::kDiscoveryRequest && attached_.size() > 1 && !has_route(message.destination.hashed())) {
    // Wherever the name can be found: the first answer counts, and nobody keeps anything for an answer that came late.
    for (const auto& one : attached_) {
      if (one.get() != attached && one->connection->state() == ConnectionState::kUp) {
        transmit(*one, header, body);
      }
    }
  }
  transmit(*attached, header, body);
}

// What goes out goes in order, and at once unless that takes long; what the application is told waits for the end of the turn.
void App::carry_out() {
  Actions actions = std::exchange(spare_, {});
  while (!layer_.actions().empty()) {
    std::swap(actions, layer_.actions());
    if (postponed_.empty()) {
      carry_out_in_turn(actions);
    } else {
      postpone(actions, actions.begin(), postponed_.end());
    }
    actions.clear();
  }
  spare_ = std::move(actions);
  if (postponed_.size() > kMaxPostponed || postponed_bytes_ > kMaxPostponedBytes) {
    postponed_bytes_ = 0;
    for (Action& action : std::exchange(postponed_, {})) {
      carry_out_one(action);
    }
  }
  arm_timer();
}

void App::carry_out_in_turn(Actions& actions) {
  const auto is_command_out = [](const Action& action) {
    const auto* out = std::get_if<SendMessage>(&action);
    return out != nullptr && is_command(out->message.type);
  };
  for (auto next = actions.begin(); next != actions.end();) {
    const bool command = is_command_out(*next);
    if (command) {
      begin_turn();
    }
    carry_out_one(*next++);
    if (!command) {
      continue;
    }
    if (between_) {
      between_();
    }
    if (next != actions.end() && turn_is_long()) {
      postpone(actions, next, postponed_.begin());
      carry_out_postponed();
      return;
    }
  }
}

void App::postpone(Actions& actions, Actions::iterator from, Actions::iterator before) {
  for (auto at = from; at != actions.end(); ++at) {
    const auto* out = std::get_if<SendMessage>(&*at);
    const auto* data = out == nullptr ? nullptr : std::get_if<AppPayload>(&out->message.payload);
    postponed_bytes_ += data == nullptr ? 0 : size_of(data->blob);
  }
  postponed_.insert(before, std::make_move_iterator(from), std::make_move_iterator(actions.end()));
}

void App::carry_out_postponed() {
  if (std::exchange(postponed_scheduled_, true)) {
    return;
  }
  loop_.defer_to_next_turn([this, alive = std::weak_ptr(alive_)] {
    const auto still = alive.lock();
    if (!still || !*still) {
      return;
    }
    postponed_scheduled_ = false;
    Actions actions = std::exchange(postponed_, {});
    postponed_bytes_ = 0;
    turn_began_ = false;  // whatever was heard before: what waits must not become more
    carry_out_in_turn(actions);
    turn_began_ = false;
  });
}

void App::begin_turn() {
  if (std::exchange(turn_began_, true)) {
    return;
  }
  turn_began_ns_ = loop_.refresh_now();
  loop_.defer([this, alive = std::weak_ptr(alive_)] {
    if (const auto still = alive.lock(); still && *still) {
      turn_began_ = false;
    }
  });
}

bool App::turn_is_long() { return turn_began_ && loop_.refresh_now() - turn_began_ns_ >= kCommandsTurnNs; }

void App::carry_out_one(Action& action) {
  if (auto* out = std::get_if<SendMessage>(&action)) {
    send(std::move(out->message));
  } else if (auto* wish = std::get_if<SubscribeName>(&action)) {
    if (!wish->name.text_components()) {
      notify([this, session = wish->session, name = wish->name] {  // a node needs the text
        layer_.on_subscription(now_ms(), session, name, false);
        carry_out();
      });
      return;
    }
    want(TextName{*wish->name.text_components(), wish->name.id()}, wish->session, {});
  } else if (auto* end = std::get_if<UnsubscribeName>(&action)) {
    unwant(end->name.hashed());
  } else if (auto* delivery = std::get_if<DeliverMessage>(&action)) {
    notices_.emplace_back(std::make_unique<DeliverMessage>(std::move(*delivery)));
    schedule_notices();
  } else if (auto* resolve = std::get_if<Resolve>(&action)) {
    notify([this, resolve = std::move(*resolve)]() mutable { resolved(resolve); });
  } else if (auto* store = std::get_if<StoreSession>(&action)) {
    if (keeper_ != nullptr) {
      keeper_->keep(store->session, store->key, std::move(store->parts));
    }
  } else if (auto* over = std::get_if<ForgetSession>(&action)) {
    if (keeper_ != nullptr) {
      keeper_->forget(over->key);
    }
  } else if (auto* open = std::get_if<SessionOpened>(&action)) {
    notify([this, handle = open->session] { opened(handle); });
  } else {
    notify([this, action = std::move(action)] {
      const auto [handle, event] = std::visit(
          [](const auto& one) -> std::pair<SessionHandle, std::optional<SessionEvent>> {
            if constexpr (std::is_constructible_v<SessionEvent, decltype(one)>) {
              return {one.session, SessionEvent(one)};
            } else {
              return {SessionHandle::kNone, std::nullopt};
            }
          },
          action);
      const auto at = sessions_.find(static_cast<std::uint64_t>(handle));
      if (!event || at == sessions_.end()) {
        return;
      }
      const auto session = at->second;
      if (std::holds_alternative<SessionClosed>(*event)) {
        sessions_.erase(at);
        ++sessions_generation_;
        own_anycast_.erase(session->kind() == SessionKind::kAnycast ? session->id() : kNoAnycast);
        keys_made_s_.erase(static_cast<std::uint64_t>(handle));
      }
      session->tell(*event);
    });
  }
}

void App::deliver(DeliverMessage& delivery, Told& told) {
  if (delivery.message.anycast) {
    const auto session = anycast_session(delivery.message);
    session->deliver([&] { return std::move(delivery.message); });
  } else if (AppSession* const session = session_told(delivery.session, told)) {
    session->deliver([&] { return std::move(delivery.message); });
  }
}

// Held by `told`: its handler may end it.
AppSession* App::session_told(SessionHandle handle, Told& told) {
  const auto number = static_cast<std::uint64_t>(handle);
  if (told.handle != number || told.generation != sessions_generation_) {
    const auto at = sessions_.find(number);
    told = {number, sessions_generation_, at == sessions_.end() ? nullptr : at->second};
  }
  return told.session.get();
}

void App::resolved(Resolve& resolve) {
  if (const auto at = creating_.find(resolve.operation); at != creating_.end()) {
    auto [handle, created] = std::move(at->second);
    creating_.erase(at);
    const auto session = sessions_.find(static_cast<std::uint64_t>(handle));
    if (!created) {
      return;
    }
    if (resolve.error || session == sessions_.end()) {
      created(std::unexpected(AppError(resolve.error.value_or(SessionError{SessionFault::kClosed, "creating a session"}))));
    } else {
      created(session->second);
    }
    return;
  }
  const auto at = pending_.find(resolve.operation);
  if (at == pending_.end()) {
    return;
  }
  Done done = std::move(at->second);
  pending_.erase(at);
  if (resolve.error) {
    done(std::unexpected(AppError(*resolve.error)));
  } else {
    done(Outcome{resolve.message_id, std::move(resolve.undelivered)});
  }
}

void App::opened(SessionHandle handle) {
  const Session* const session = layer_.find(handle);
  if (session == nullptr) {
    return;  // it ended in the same turn
  }
  offer(adopt(handle, session->facts().is_group() ? SessionKind::kMulticast : SessionKind::kUnicast));
}

void App::notify(Notice notice) {
  notices_.emplace_back(std::move(notice));
  schedule_notices();
}
void App::answer(Notice notice) {
  notices_.emplace_back(Answer{std::move(notice)});
  schedule_notices();
}

void App::schedule_notices() {
  if (notices_scheduled_) {
    return;
  }
  notices_scheduled_ = true;
  loop_.defer([this, alive = std::weak_ptr(alive_)] {
    if (const auto still = alive.lock(); still && *still) {
      notices_scheduled_ = false;
      run_notices();
    }
  });
}

void App::run_notices() {
  // What these cause waits for the next turn, so that the connection gets its share.
  std::vector<AnyNotice> now = std::exchange(notices_, std::exchange(told_, {}));
  kept_notices_ = 0;
  if (telling_ != nullptr) {
    keep_lent_of(*telling_);  // a turn of the loop inside of a callback
  }
  std::vector<AnyNotice>* const outer = std::exchange(telling_, &now);
  Told told;
  for (AnyNotice& notice : now) {
    if (const auto* lent = std::get_if<LentData>(&notice)) {
      if (AppSession* const session = session_told(lent->lane->way.handle, told)) {
        session->deliver([lent] { return lent_message(*lent); });
      }
    } else if (auto* delivery = std::get_if<std::unique_ptr<DeliverMessage>>(&notice)) {
      deliver(**delivery, told);
    } else if (auto* call = std::get_if<Notice>(&notice)) {
      (*call)();
    } else {
      std::get<Answer>(notice).call();
    }
  }
  telling_ = outer;
  now.clear();
  told_ = std::move(now);
}

void App::arm_timer() {
  const auto deadline = layer_.next_deadline();
  if (!deadline) {
    return;
  }
  if (timer_ != TimerId::kNone && timer_at_ms_ <= *deadline) {
    return;  // looks again when it has run
  }
  loop_.cancel(timer_);
  const TimeMs now = now_ms();
  timer_at_ms_ = std::max(*deadline, now + 1);
  timer_ = loop_.after((timer_at_ms_ - now) * 1'000'000, [this] {
    timer_ = TimerId::kNone;
    layer_.advance(now_ms());
    carry_out();
  });
}

// Leaves of groups carry a token that expires; receivers of upstream's 3.4 then drop what we say. Half a life is early enough.
void App::renew_keys() {
  const std::uint64_t now = unix_now_s();
  const std::uint64_t age_s = std::max<std::uint64_t>(kMinKeyRefreshS, identity_.provider().lifetime_s() / 2);
  bool any = false;
  for (auto& [handle, made_s] : keys_made_s_) {
    if (now >= made_s + age_s && layer_.refresh_keys(now_ms(), SessionHandle{handle}, kNoOperation)) {
      made_s = now;
      any = true;
    }
  }
  if (any) {
    carry_out();
  }
}

}  // namespace slipway
