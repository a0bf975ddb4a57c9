// Which connections there are, what is subscribed on them, and which way a message goes.

#include <algorithm>
#include <utility>

#include "app/app.h"

namespace slipway {
namespace {

Name service_of(const Name& name) { return {name.component, kNullId}; }

}  // namespace

App::Attached* App::find(ConnectionId id) {
  const auto at = std::ranges::find(attached_, id, [](const auto& attached) { return attached->id; });
  return at == attached_.end() ? nullptr : at->get();
}

bool App::any_up() const {
  return std::ranges::any_of(attached_, [](const auto& attached) { return attached->connection->state() == ConnectionState::kUp; });
}

std::shared_ptr<Connection> App::connection(ConnectionId id) const {
  const auto at = std::ranges::find(attached_, id, [](const auto& attached) { return attached->id; });
  return at == attached_.end() ? nullptr : (*at)->connection;
}

std::expected<ConnectionId, AppError> App::connect(ConnectOptions options, Connected done) {
  auto opened = Connection::open(loop_, std::move(options));
  if (!opened) {
    return std::unexpected(opened.error());
  }
  return use(std::move(*opened), std::move(done));
}

std::expected<ConnectionId, AppError> App::use(std::shared_ptr<Connection> connection, Connected done) {
  if (attached_.size() == kMaxConnections) {
    return std::unexpected(AppError(AppFault::kTooMany, "connections of one application"));
  }
  const ConnectionId id{++last_connection_};
  auto attached = std::make_unique<Attached>();
  attached->id = id;
  attached->done = std::move(done);
  attached->port = connection->attach(TextName{*name_.text_components(), name_.id()},
                                      {.on_frame = [this, from = attached.get()](std::span<const std::byte> frame) { on_frame(*from, frame); },
                                       .on_writable = [this, id] { on_port_writable(id); },
                                       .on_state = [this, id](ConnectionState state, const std::string& why) { on_connection_state(id, state, why); },
                                       .on_subscription_lost = [this, id](const TextName& name, const std::string& why) {
                                         on_subscribed(id, name.hashed(), std::unexpected(why));
                                       },
                                       .on_reuse = [this] { keep_lent(); }});
  attached->connection = std::move(connection);
  attached_.push_back(std::move(attached));
  attach_names(*attached_.back());
  return id;
}

App::Call App::disconnect(ConnectionId id) {
  Attached* const attached = find(id);
  if (attached == nullptr) {
    return std::unexpected(AppError(AppFault::kNotConnected, "disconnecting"));
  }
  // A port may be the one that calls us: it goes at the end of the turn.
  const auto at = std::ranges::find(attached_, id, [](const auto& one) { return one->id; });
  std::shared_ptr<Attached> gone(std::move(*at));
  attached_.erase(at);
  std::erase_if(routes_, [id](const auto& route) { return route.second == id; });
  std::erase_if(ways_, [id](const auto& way) { return way.second == id; });
  loop_.defer([this, alive = std::weak_ptr(alive_), gone = std::move(gone)]() mutable {
    if (const auto still = alive.lock(); still && *still) {
      keep_lent();
    }
    gone->port.reset();
    gone.reset();
  });
  return {};
}

// --- names -------------------------------------------------------------------------------------------------------

void App::attach_names(Attached& attached) {
  for (const Wanted& wanted : wanted_) {
    subscribe_on(attached, wanted.name);
  }
}

void App::subscribe_on(Attached& attached, const TextName& name) {
  const Name hashed = name.hashed();
  const std::uint64_t number =
      attached.port->subscribe(name, [this, alive = std::weak_ptr(alive_), id = attached.id, hashed](const std::expected<void, std::string>& result) {
        if (const auto still = alive.lock(); still && *still) {
          on_subscribed(id, hashed, result);
        }
      });
  attached.subscriptions[hashed] = number;
}

void App::want(TextName name, SessionHandle session, Done done) {
  const Name hashed = name.hashed();
  const auto known = std::ranges::find(wanted_, hashed, [](const Wanted& wanted) { return wanted.name.hashed(); });
  if (known != wanted_.end()) {
    // Two sessions on one channel: the name is there already.
    const bool there = known->answered;
    wanted_.push_back({std::move(name), session, std::move(done)});
    if (there) {
      answer_wanted(wanted_.back(), true, {});
    }
    return;
  }
  wanted_.push_back({std::move(name), session, std::move(done)});
  const TextName wish = wanted_.back().name;
  for (const auto& attached : attached_) {
    subscribe_on(*attached, wish);
  }
}

void App::unwant(const Name& name) {
  const auto at = std::ranges::find(wanted_, name, [](const Wanted& wanted) { return wanted.name.hashed(); });
  if (at == wanted_.end()) {
    return;
  }
  wanted_.erase(at);
  if (std::ranges::find(wanted_, name, [](const Wanted& wanted) { return wanted.name.hashed(); }) != wanted_.end()) {
    return;  // another wants it still
  }
  for (const auto& attached : attached_) {
    const auto found = attached->subscriptions.find(name);
    if (found != attached->subscriptions.end()) {
      attached->port->unsubscribe(found->second);
      attached->subscriptions.erase(found);
    }
  }
}

void App::on_subscribed(ConnectionId id, const Name& name, const std::expected<void, std::string>& result) {
  Attached* const attached = find(id);
  if (attached == nullptr) {
    return;
  }
  if (name == name_.hashed() && attached->done) {
    const Connected done = std::exchange(attached->done, {});
    answer([done, id, result] {
      if (result) {
        done(id);
      } else {
        done(std::unexpected(AppError(AppFault::kRefused, result.error())));
      }
    });
  }
  for (std::size_t i = 0; i < wanted_.size(); ++i) {
    Wanted& wanted = wanted_[i];
    if (wanted.answered || wanted.name.hashed() != name) {
      continue;
    }
    if (result || ++wanted.refusals >= attached_.size()) {
      answer_wanted(wanted, result.has_value(), result ? std::string() : result.error());
    }
  }
}

void App::answer_wanted(Wanted& wanted, bool accepted, const std::string& why) {
  wanted.answered = accepted;
  wanted.refusals = 0;
  if (wanted.session != SessionHandle::kNone) {
    // In a later turn: this may be inside of an action of the layer.
    notify([this, session = wanted.session, name = FullName(wanted.name), accepted] {
      layer_.on_subscription(now_ms(), session, name, accepted);
      carry_out();
    });
    return;
  }
  if (Done done = std::exchange(wanted.done, {})) {
    answer([done = std::move(done), accepted, why]() mutable {
      if (accepted) {
        done(Outcome{});
      } else {
        done(std::unexpected(AppError(AppFault::kRefused, why)));
      }
    });
  }
}

App::Call App::subscribe(const TextName& service, Done done) {
  if (std::ranges::any_of(service.component, &std::string::empty)) {
    return std::unexpected(AppError(AppFault::kBadName, "'" + service.text() + "'"));
  }
  const TextName own{service.component, name_.id()};
  if (std::ranges::find(wanted_, own.hashed(), [](const Wanted& wanted) { return wanted.name.hashed(); }) != wanted_.end()) {
    return std::unexpected(AppError(AppFault::kBadName, service.text() + " is subscribed already"));
  }
  if (!layer_.serve(FullName(service).service())) {
    return std::unexpected(AppError(AppFault::kTooMany, "services of one application"));
  }
  want(own, SessionHandle::kNone, std::move(done));
  want(TextName{service.component, kAnycastId}, SessionHandle::kNone, {});
  return {};
}

App::Call App::unsubscribe(const TextName& service) {
  const Name own = TextName{service.component, name_.id()}.hashed();
  if (own == name_.hashed() || std::ranges::find(wanted_, own, [](const Wanted& wanted) { return wanted.name.hashed(); }) == wanted_.end()) {
    return std::unexpected(AppError(AppFault::kBadName, service.text() + " is not subscribed"));
  }
  layer_.stop_serving(FullName(service).service());
  unwant(own);
  unwant(Name{own.component, kAnycastId});
  return {};
}

App::Call App::set_route(const TextName& service, ConnectionId connection) {
  if (find(connection) == nullptr) {
    return std::unexpected(AppError(AppFault::kNotConnected, "setting a route to " + service.text()));
  }
  if (routes_.size() >= kMaxRoutesSet) {
    return std::unexpected(AppError(AppFault::kTooMany, "routes"));
  }
  routes_[service_of(service.hashed())] = connection;
  return {};
}

App::Call App::remove_route(const TextName& service) {
  if (routes_.erase(service_of(service.hashed())) == 0) {
    return std::unexpected(AppError(AppFault::kBadName, "no route is set to " + service.text()));
  }
  return {};
}

// --- ways --------------------------------------------------------------------------------------------------------

void App::on_connection_state(ConnectionId id, ConnectionState state, const std::string& why) {
  notify([this, id, state, why] {
    Attached* const attached = find(id);
    if (attached != nullptr && state == ConnectionState::kClosed && attached->done) {
      const Connected done = std::exchange(attached->done, {});
      done(std::unexpected(AppError(AppFault::kRefused, why)));
    }
    if (attached != nullptr && state != ConnectionState::kUp) {
      attached->waiting.clear();  // sessions repeat it
      attached->waiting_bytes = 0;
      on_port_writable(id);
    }
    if (attached != nullptr) {
      tell_network(state);
    }
    if (handlers_.on_connection) {
      handlers_.on_connection(id, state, why);
    }
  });
}

// Any connection that comes back may be the one that messages were lost on; only without all of them there is no network.
void App::tell_network(ConnectionState state) {
  const bool there = any_up();
  if (state == ConnectionState::kUp || there != network_) {
    network_ = there;
    layer_.on_network(now_ms(), there);
    carry_out();
  }
}

void App::on_port_writable(ConnectionId id) {
  Attached* const attached = find(id);
  if (attached == nullptr) {
    return;
  }
  while (!attached->waiting.empty()) {
    Waiting& next = attached->waiting.front();
    const std::span body(reinterpret_cast<const std::byte*>(next.body.data()), next.body.size());
    const SendStatus status = attached->port->send(next.header, body, {});
    if (status == SendStatus::kFull) {
      return;
    }
    if (status == SendStatus::kQueued) {
      count_sent(body.size());
    }
    attached->waiting_bytes -= next.body.size();
    attached->waiting.pop_front();
  }
  if (busy_ && std::ranges::all_of(attached_, [](const auto& one) { return one->waiting.empty(); })) {
    busy_ = false;
    if (handlers_.on_writable) {
      notify([this] { handlers_.on_writable(); });
    }
  }
}

App::Attached* App::way_to(const Name& to) {
  if (attached_.size() == 1) {
    return attached_.front().get();
  }
  const auto usable = [this](const auto& map, const Name& name) -> Attached* {
    const auto at = map.find(name);
    Attached* const attached = at == map.end() ? nullptr : find(at->second);
    return attached != nullptr && attached->connection->state() == ConnectionState::kUp ? attached : nullptr;
  };
  if (Attached* const route = usable(routes_, service_of(to))) {
    return route;
  }
  if (Attached* const way = usable(ways_, to)) {
    return way;
  }
  const auto up = std::ranges::find_if(attached_, [](const auto& one) { return one->connection->state() == ConnectionState::kUp; });
  return up == attached_.end() ? nullptr : up->get();
}

bool App::has_route(const Name& to) const { return routes_.contains(service_of(to)); }

void App::remember_way(const Name& source, ConnectionId id) {
  if (attached_.size() < 2 || source.id.is_null()) {
    return;
  }
  if (ways_.size() >= kMaxWaysKept) {
    ways_.clear();  // they are learned again
  }
  ways_[source] = id;
}

void App::count_sent(std::size_t body_bytes) {
  ++counters_.sent;
  counters_.sent_bytes += kFrameHeaderBytes + body_bytes;
}

namespace {

std::string joined(std::span<const std::byte> body, std::span<const std::byte> rest) {
  std::string out;
  out.reserve(body.size() + rest.size());
  for (const auto part : {body, rest}) {
    out.append(reinterpret_cast<const char*>(part.data()), part.size());
  }
  return out;
}

}  // namespace

void App::transmit(Attached& attached, const FrameHeader& header, std::span<const std::byte> body, std::span<const std::byte> rest) {
  if (keeper_ == nullptr || (held_.empty() && keeper_->durable() == keeper_->begun())) {
    give(attached, header, body, rest);
    return;
  }
  const std::size_t bytes = body.size() + rest.size();
  if (held_.size() >= kMaxWaitingFrames || held_bytes_ + bytes > kMaxWaitingBytes) {
    ++counters_.overflowed;
    return;
  }
  held_bytes_ += bytes;
  held_.push_back({keeper_->begun(), attached.id, {header, joined(body, rest)}});
}

void App::release_held() {
  while (!held_.empty() && held_.front().behind <= keeper_->durable()) {
    const Held next = std::move(held_.front());
    held_.pop_front();
    held_bytes_ -= next.frame.body.size();
    if (Attached* const attached = find(next.to)) {
      give(*attached, next.frame.header, std::as_bytes(std::span(next.frame.body)), {});
    }
  }
}

void App::give(Attached& attached, const FrameHeader& header, std::span<const std::byte> body, std::span<const std::byte> rest) {
  const std::size_t bytes = body.size() + rest.size();
  const auto wait = [&] {
    // Data that is repeated anyway may be lost here; commands are few.
    if (attached.waiting.size() >= kMaxWaitingFrames || attached.waiting_bytes + bytes > kMaxWaitingBytes) {
      ++counters_.overflowed;
      return;
    }
    busy_ |= carries_data(static_cast<MessageType>(header.session_message_type));
    attached.waiting_bytes += bytes;
    attached.waiting.push_back({header, joined(body, rest)});
  };
  if (!attached.waiting.empty()) {
    wait();
    return;
  }
  switch (attached.port->send(header, body, rest)) {
    case SendStatus::kQueued: count_sent(bytes); break;
    case SendStatus::kFull: wait(); break;
    case SendStatus::kDown: ++counters_.not_connected; break;
    case SendStatus::kTooBig: ++counters_.too_big; break;
  }
}

}  // namespace slipway
