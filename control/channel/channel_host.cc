#include "channel/channel_host.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "channel/channel_bounds.h"
#include "channel/key_file.h"

namespace slipway {
namespace {

// As upstream's channel manager sets up its groups.
constexpr std::uint32_t kChannelRetries = 10;
constexpr std::chrono::milliseconds kChannelTimeout{1'000};

std::string shown(const TextName& name) { return TextName{name.component, kNullId}.text(); }

bool usable(const TextName& name) { return std::ranges::none_of(name.component, &std::string::empty); }

std::string bounded(std::string text) {
  text.resize(std::min(text.size(), kMaxAskerBytes));
  return text;
}

ChannelError error_of(const AppError& error) {
  if (error.fault == AppFault::kSession) {
    return {ChannelFault::kSession, error.about, error.session};
  }
  return {ChannelFault::kSession, error.message()};
}

}  // namespace

ChannelHost::ChannelHost(Loop& loop, ChannelHostOptions options) : loop_(loop), options_(std::move(options)) {}

ChannelHost::~ChannelHost() {
  *alive_ = false;
  for (auto& [key, channel] : channels_) {
    for (auto& [text, wish] : channel.wishes) {
      loop_.cancel(wish.timer);
    }
    if (channel.session) {
      channel.session->on_event({});
    }
  }
}

std::expected<std::unique_ptr<ChannelHost>, std::string> ChannelHost::create(Loop& loop, std::shared_ptr<LocalConnection> connection,
                                                                             ChannelHostOptions options) {
  std::unique_ptr<ChannelHost> host(new ChannelHost(loop, std::move(options)));
  if (auto opened = host->open(std::move(connection)); !opened) {
    return std::unexpected(opened.error());
  }
  return host;
}

std::expected<void, std::string> ChannelHost::open(std::shared_ptr<LocalConnection> connection) {
  AppOptions app{.name = options_.local_name,
                 .identity = options_.identity,
                 .direction = {.sends = false, .receives = false},
                 .binding = options_.binding,
                 .groups = {.between_steps = options_.between_steps},
                 .keeper = options_.store == nullptr ? nullptr : this};
  // Nobody has a reason to invite a moderator of others' channels.
  auto made = App::create(loop_, std::move(app), {.on_session = [](const std::shared_ptr<AppSession>& session) { (void)session->close(); }});
  if (!made) {
    return std::unexpected(made.error().message());
  }
  app_ = std::move(*made);
  connection_ = connection;
  auto used = app_->use(std::move(connection), [this](std::expected<ConnectionId, AppError> up) {
    if (!up) {
      options_.log(true, "channels: the node does not take its own name " + options_.local_name.text() + ": " + up.error().message());
    }
  });
  if (!used) {
    return std::unexpected(used.error().message());
  }
  if (auto taken = take_up_stored(); !taken) {
    return taken;
  }
  if (options_.file_managed) {
    reconcile();
  }
  return {};
}

// The channels become those of the configuration file, with the members that it lists.
void ChannelHost::reconcile() {
  for (auto& [key, channel] : channels_) {
    const auto same = [&](const HostedChannel& hosted) { return hosted.name == channel.name && hosted.mls == channel.mls; };
    if (std::ranges::none_of(options_.hosted, same)) {
      options_.log(false, "channel " + shown(channel.name) + " is no longer in the configuration file: it is deleted");
      close(channel);
    }
  }
  for (const HostedChannel& hosted : options_.hosted) {
    Channel* channel = find(hosted.name);
    if (channel != nullptr && channel->closing) {  // it was of the other kind
      channel->closed.push_back([this, alive = std::weak_ptr(alive_), hosted](const Result&) {
        if (const auto still = alive.lock(); still && *still) {
          begin_hosting(hosted);
        }
      });
    } else {
      begin_hosting(hosted);
    }
  }
}

void ChannelHost::begin_hosting(const HostedChannel& hosted) {
  if (find(hosted.name) == nullptr) {
    make(hosted.name, hosted.mls, "the configuration file", true, {});
  }
  if (find(hosted.name) == nullptr) {
    return;  // the log says why
  }
  Channel& channel = *find(hosted.name);
  channel.from_file = true;
  std::ranges::for_each(hosted.participants, [&](const TextName& who) { wish(channel, who); });
  for (const ChannelMemberRow& member : row_of(channel, true).members) {
    const auto listed = [&](const TextName& who) { return who.component == member.name.component && (who.id.is_null() || who.id == member.name.id); };
    if (!member.moderator && std::ranges::none_of(hosted.participants, listed)) {
      options_.log(false, "channel " + shown(channel.name) + ": " + member.name.text() + " is not in the configuration file");
      begin_change(channel, false, member.name, {});
    }
  }
}

TextName ChannelHost::local_name() const { return TextName{*app_->name().text_components(), app_->name().id()}; }

// --- answers -------------------------------------------------------------------------------------------------

void ChannelHost::answer(Done done, Result result) {
  if (done) {
    loop_.defer([done = std::move(done), result = std::move(result)]() mutable { done(std::move(result)); });
  }
}

void ChannelHost::refuse(Done done, ChannelFault fault, std::string about) {
  ++counters_.refused;
  answer(std::move(done), std::unexpected(ChannelError{fault, std::move(about)}));
}

void ChannelHost::tell(ChannelEvent event) {
  loop_.defer([this, alive = std::weak_ptr(alive_), event = std::move(event)] {
    if (const auto still = alive.lock(); still && *still && listener_) {
      listener_(event);
    }
  });
}

ChannelHost::Channel* ChannelHost::find(const TextName& name) {
  const auto at = channels_.find(key_of(name));
  return at == channels_.end() ? nullptr : &at->second;
}

ChannelHost::Channel* ChannelHost::to_change(const char* doing, const TextName& name, bool from_file, Done& done) {
  const std::string about = std::string(doing) + " " + shown(name);
  Channel* const channel = find(name);
  if (stopping_) {
    refuse(std::move(done), ChannelFault::kStopping, about);
  } else if (!from_file && (options_.file_managed || (channel != nullptr && channel->from_file))) {
    refuse(std::move(done), ChannelFault::kFileManaged, about);
  } else if (channel == nullptr) {
    refuse(std::move(done), ChannelFault::kUnknown, about);
  } else if (channel->closing) {
    refuse(std::move(done), ChannelFault::kClosing, about);
  } else {
    return channel;
  }
  return nullptr;
}

// --- creating and deleting -----------------------------------------------------------------------------------

void ChannelHost::create(const TextName& name, const ChannelOptions& options, const ChannelAsker& asker, Done done) {
  const std::string about = "creating " + shown(name);
  const Channel* const there = find(name);
  if (stopping_) {
    refuse(std::move(done), ChannelFault::kStopping, about);
  } else if (options_.file_managed) {
    refuse(std::move(done), ChannelFault::kFileManaged, about);
  } else if (!usable(name) || !name.id.is_null()) {
    refuse(std::move(done), ChannelFault::kBadName, about);
  } else if (there != nullptr) {
    refuse(std::move(done), there->closing ? ChannelFault::kClosing : ChannelFault::kExists, about);
  } else if (channels_.size() >= options_.limit) {
    refuse(std::move(done), ChannelFault::kTooMany, about);
  } else {
    make(name, options.mls, bounded(asker.who), false, std::move(done));
  }
}

void ChannelHost::make(const TextName& name, bool mls, std::string asker, bool from_file, Done done) {
  const Key key = key_of(name);
  Channel& channel = channels_[key];
  channel.name = {name.component, kNullId};
  channel.mls = mls;
  channel.created_by = std::move(asker);
  channel.created_s = unix_now_s();
  channel.from_file = from_file;
  save_about(channel);
  MulticastOptions options{.channel = channel.name, .timeout = kChannelTimeout, .max_retries = kChannelRetries, .mls_enabled = mls, .metadata = {}};
  auto made = app_->create_session(options, [this, alive = std::weak_ptr(alive_), key, done = std::move(done)](auto session) mutable {
    const auto still = alive.lock();
    const auto at = still && *still ? channels_.find(key) : channels_.end();
    if (at == channels_.end()) {
      return;
    }
    Channel& there = at->second;
    if (!session) {
      options_.log(true, "channel " + shown(there.name) + " cannot be made: " + session.error().message());
      answer(std::move(done), std::unexpected(error_of(session.error())));
      channels_.erase(at);
      return;
    }
    there.session = *session;
    there.session->on_event([this, key](const SessionEvent& event) { on_session_event(key, event); });
    ++counters_.created;
    options_.log(false, "channel " + shown(there.name) + " created for " + there.created_by +
                            (there.mls ? "; the node is a member of its group and could read" : ", without MLS"));
    tell({ChannelChange::kCreated, there.name, {}});
    answer(std::move(done), {});
    while (!there.early.empty()) {
      auto call = std::move(there.early.front());
      there.early.pop_front();
      call(there);
    }
  });
  if (!made) {  // `done` went with the call
    options_.log(true, "channel " + shown(channel.name) + " cannot be made: " + made.error().message());
    channels_.erase(key);
  }
}

void ChannelHost::remove(const TextName& name, const ChannelAsker& asker, Done done) {
  Channel* const channel = to_change("deleting", name, false, done);
  if (channel == nullptr) {
    return;
  }
  options_.log(false, "channel " + shown(name) + " is deleted for " + bounded(asker.who));
  channel->closed.push_back(std::move(done));
  close(*channel);
}

void ChannelHost::close(Channel& channel) {
  channel.closing = true;
  erase_all(channel.name);
  auto end = [this](Channel& there) {
    if (!there.session->close()) {
      const Key key = key_of(there.name);
      loop_.defer([this, alive = std::weak_ptr(alive_), key] {
        if (const auto still = alive.lock(); still && *still) {
          gone(key);
        }
      });
    }
  };
  if (channel.session) {
    end(channel);
  } else {
    channel.early.push_back(std::move(end));
  }
}

void ChannelHost::gone(const Key& key) {
  const auto at = channels_.find(key);
  if (at == channels_.end()) {
    return;
  }
  Channel channel = std::move(at->second);
  channels_.erase(at);
  for (auto& [text, wish] : channel.wishes) {
    loop_.cancel(wish.timer);
  }
  ++counters_.removed;
  erase_all(channel.name);
  tell({ChannelChange::kRemoved, channel.name, {}});
  for (Done& done : channel.closed) {
    answer(std::move(done), {});
  }
}

void ChannelHost::on_session_event(const Key& key, const SessionEvent& event) {
  const auto at = channels_.find(key);
  if (at == channels_.end()) {
    return;
  }
  if (std::holds_alternative<SessionClosed>(event)) {
    gone(key);
    return;
  }
  const auto* presence = std::get_if<Presence>(&event);
  if (presence == nullptr || !presence->member.text_components()) {
    return;
  }
  const TextName member{*presence->member.text_components(), presence->member.id()};
  const auto change = [&] {
    switch (presence->change) {
      case PresenceChange::kJoined: return ChannelChange::kMemberIn;
      case PresenceChange::kOnline: return ChannelChange::kMemberOnline;
      case PresenceChange::kOffline: return ChannelChange::kMemberOffline;
      default: return ChannelChange::kMemberOut;
    }
  }();
  tell({change, at->second.name, member});
  if (change == ChannelChange::kMemberOut) {
    // Who is listed and left is let in again when it is there again.
    for (auto& [text, wish] : at->second.wishes) {
      if (wish.who.component == member.component && !wish.asked && wish.timer == TimerId::kNone) {
        wish.wait_ms = kInviteAgainMs;
        wish.timer = loop_.after(wish.wait_ms * 1'000'000, [this, key, who = text] { ask(key, who); });
      }
    }
  }
}

// --- participants ------------------------------------------------------------------------------------------------

void ChannelHost::invite(const TextName& channel, const TextName& participant, const ChannelAsker& asker, Done done) {
  change("inviting into", true, channel, participant, asker, std::move(done));
}

void ChannelHost::remove_participant(const TextName& channel, const TextName& participant, const ChannelAsker& asker, Done done) {
  change("removing from", false, channel, participant, asker, std::move(done));
}

void ChannelHost::change(const char* doing, bool in, const TextName& name, const TextName& participant, const ChannelAsker& asker, Done done) {
  Channel* const channel = to_change(doing, name, false, done);
  if (channel == nullptr) {
    return;
  }
  if (!usable(participant)) {
    refuse(std::move(done), ChannelFault::kBadName, "'" + participant.text() + "'");
    return;
  }
  options_.log(false, "channel " + shown(name) + ": " + (in ? "inviting " : "removing ") + participant.text() + " for " + bounded(asker.who));
  if (channel->session) {
    begin_change(*channel, in, participant, std::move(done));
  } else {
    channel->early.push_back([this, in, participant, done = std::move(done)](Channel& there) mutable {
      begin_change(there, in, participant, std::move(done));
    });
  }
}

void ChannelHost::begin_change(Channel& channel, bool in, const TextName& participant, Done done) {
  if (channel.waiting >= kMaxChannelWaiting) {
    ++counters_.refused;
    answer(std::move(done), std::unexpected(ChannelError{ChannelFault::kSession, SessionError{SessionFault::kQueueFull, participant.text()}.message(),
                                                         SessionFault::kQueueFull}));
    return;
  }
  ++channel.waiting;
  // A call that is refused does not call back.
  auto shared = std::make_shared<Done>(std::move(done));
  auto finish = [this, alive = std::weak_ptr(alive_), key = key_of(channel.name), in, shared](std::expected<Outcome, AppError> result) {
    const auto still = alive.lock();
    if (!still || !*still) {
      return;
    }
    if (const auto at = channels_.find(key); at != channels_.end()) {
      --at->second.waiting;
    }
    if (result) {
      ++(in ? counters_.invited : counters_.taken_out);
      answer(std::move(*shared), {});
    } else {
      ++(in ? counters_.invites_failed : counters_.removals_failed);
      answer(std::move(*shared), std::unexpected(error_of(result.error())));
    }
  };
  const auto session = channel.session;
  const auto begun = in ? session->invite(participant, finish) : session->remove(participant, finish);
  if (!begun) {
    finish(std::unexpected(begun.error()));
  }
}

// --- the configuration file's ------------------------------------------------------------------------------------------

void ChannelHost::wish(Channel& channel, const TextName& who) {
  const std::string text = who.text();
  channel.wishes[text] = {.who = who};
  const Key key = key_of(channel.name);
  channel.wishes[text].timer = loop_.after(1, [this, key, text] { ask(key, text); });
}

void ChannelHost::ask(const Key& key, const std::string& who) {
  const auto at = channels_.find(key);
  if (at == channels_.end() || stopping_) {
    return;
  }
  Channel& channel = at->second;
  Wish& wish = channel.wishes.at(who);
  wish.timer = TimerId::kNone;
  wish.asked = true;
  Done done = [this, alive = std::weak_ptr(alive_), key, who](Result result) {
    const auto still = alive.lock();
    const auto there = still && *still ? channels_.find(key) : channels_.end();
    if (there == channels_.end()) {
      return;
    }
    Wish& asked = there->second.wishes.at(who);
    asked.asked = false;
    if (result || result.error().session == SessionFault::kAlreadyMember) {
      return;
    }
    asked.wait_ms = asked.wait_ms == 0 ? kInviteAgainMs : std::min(asked.wait_ms * 2, kInviteAgainMaxMs);
    options_.log(false, "channel " + shown(there->second.name) + ": " + who + " is not in yet: " + result.error().message());
    asked.timer = loop_.after(asked.wait_ms * 1'000'000, [this, key, who] { ask(key, who); });
  };
  if (channel.session) {
    begin_change(channel, true, wish.who, std::move(done));
  } else {
    channel.early.push_back([this, participant = wish.who, done = std::move(done)](Channel& there) mutable {
      begin_change(there, true, participant, std::move(done));
    });
  }
}

// --- the store -----------------------------------------------------------------------------------------------------------

void ChannelHost::stored(const std::string& what, const std::expected<void, std::string>& result) {
  if (result) {
    ++counters_.stored;
    return;
  }
  ++counters_.store_failed;
  options_.log(true, what + " is not kept, so that a restart finds an older state: " + result.error());
}

void ChannelHost::save_about(const Channel& channel) {
  if (options_.store == nullptr) {
    return;
  }
  const std::string name = shown(channel.name);
  options_.store->put(std::string(kAboutPrefix) + name, encode_about({channel.mls, channel.from_file, channel.created_s, channel.created_by}),
                      [this, alive = std::weak_ptr(alive_), name](const std::expected<void, std::string>& result) {
                        if (const auto still = alive.lock(); still && *still) {
                          stored("channel " + name, result);
                        }
                      });
}

void ChannelHost::erase_all(const TextName& name) {
  if (options_.store == nullptr) {
    return;
  }
  for (const std::string_view prefix : {kAboutPrefix, kSessionPrefix, kGroupPrefix}) {
    options_.store->erase(std::string(prefix) + shown(name), {});
  }
}

void ChannelHost::keep(SessionHandle session, std::uint64_t key, StoredSession parts) {
  const auto at = std::ranges::find_if(channels_, [&](const auto& entry) {
    const Channel& channel = entry.second;
    return channel.store_key == key || (channel.session && channel.session->handle() == session);
  });
  if (at == channels_.end() || at->second.closing) {
    return;
  }
  Channel& channel = at->second;
  channel.store_key = key;
  if (parts.record) {
    channel.kept.record = std::move(parts.record);
  }
  if (parts.progress) {
    channel.kept.progress = std::move(parts.progress);
  }
  const std::string name = shown(channel.name);
  std::vector<std::pair<std::string, std::string>> values;
  values.emplace_back(std::string(kSessionPrefix) + name, encode_session(key, channel.kept));
  if (parts.group) {
    values.emplace_back(std::string(kGroupPrefix) + name, std::string(view_of(parts.group)));
  }
  const std::uint64_t number = connection_->hold();
  options_.store->put_all(std::move(values), [this, alive = std::weak_ptr(alive_), number, name](const std::expected<void, std::string>& result) {
    if (const auto still = alive.lock(); still && *still) {
      connection_->release(number);  // also when it failed: the members must go on
      stored("channel " + name, result);
    }
  });
}

void ChannelHost::forget(std::uint64_t key) {
  const auto at = std::ranges::find(channels_, key, [](const auto& entry) { return entry.second.store_key; });
  if (at != channels_.end()) {
    at->second.store_key = 0;
    options_.store->erase(std::string(kSessionPrefix) + shown(at->second.name), {});
    options_.store->erase(std::string(kGroupPrefix) + shown(at->second.name), {});
  }
}

std::expected<void, std::string> ChannelHost::take_up_stored() {
  if (options_.store == nullptr) {
    return {};
  }
  const auto by_name = [&](std::string_view prefix) {
    std::map<std::string, std::string> out;
    for (auto& [name, value] : options_.store->take_loaded(prefix)) {
      out[name.substr(prefix.size())] = std::move(value);
    }
    return out;
  };
  const auto about = by_name(kAboutPrefix);
  const auto sessions = by_name(kSessionPrefix);
  auto groups = by_name(kGroupPrefix);
  std::expected<void, std::string> result;
  for (const auto& [text, value] : about) {
    const auto name = parse_name(text);
    const auto known = decode_about(value);
    if (!name || !known) {
      result = std::unexpected("the stored channel " + text + " cannot be read: another version wrote it");
      break;
    }
    const auto session = sessions.find(text);
    const auto group = groups.find(text);
    result = take_up(*name, *known, session == sessions.end() ? std::string_view() : session->second,
                     group == groups.end() ? std::string_view() : group->second);
    if (!result) {
      break;
    }
  }
  for (auto& [name, value] : groups) {
    wipe(value);
  }
  return result;
}

std::expected<void, std::string> ChannelHost::take_up(const TextName& name, const ChannelAbout& about, std::string_view session, std::string_view group) {
  if (session.empty()) {  // nobody was in yet
    make(name, about.mls, about.created_by, about.from_file && options_.file_managed, {});
    if (Channel* const made = find(name)) {
      made->created_s = about.created_s;
    }
    return {};
  }
  auto kept = decode_session(session);
  if (!kept) {
    return std::unexpected("the stored session of channel " + name.text() + " cannot be read: another version wrote it");
  }
  const Key key = key_of(name);
  Channel& channel = channels_[key];
  channel.name = {name.component, kNullId};
  channel.mls = about.mls;
  channel.created_by = about.created_by;
  channel.created_s = about.created_s;
  channel.from_file = about.from_file && options_.file_managed;
  channel.restored = true;
  channel.store_key = kept->key;
  channel.kept = kept->parts;
  if (!group.empty()) {
    kept->parts.group = shared_copy(group);
  }
  auto restored = app_->restore(kept->key, kept->parts);
  if (!restored) {
    return std::unexpected("channel " + name.text() + " cannot go on after the restart: " + restored.error().message());
  }
  channel.session = *restored;
  channel.session->on_event([this, key](const SessionEvent& event) { on_session_event(key, event); });
  options_.log(false, "channel " + shown(name) + " goes on" + (about.mls ? "; the node is a member of its group and could read" : ", without MLS"));
  return {};
}

// --- what there is to see -----------------------------------------------------------------------------------------------

ChannelRow ChannelHost::row_of(const Channel& channel, bool members) const {
  ChannelRow row;
  row.name = channel.name;
  row.state = channel.closing ? "closing" : "open";
  row.mls = channel.mls;
  row.created_by = channel.created_by;
  row.created_s = channel.created_s;
  row.from_file = channel.from_file;
  row.restored = channel.restored;
  row.waiting = channel.waiting;
  if (!channel.session) {
    return row;
  }
  row.session_id = channel.session->id();
  if (const std::uint64_t epoch = channel.session->epoch(); channel.mls && epoch != kNoEpoch) {
    row.epoch = epoch;
  }
  const auto participants = channel.session->participants();
  row.member_count = static_cast<std::uint32_t>(participants.size());
  if (members) {
    for (const ParticipantInfo& info : participants) {
      TextName name{{}, info.name.id()};
      if (info.name.text_components()) {
        name.component = *info.name.text_components();
      }
      row.members.push_back({std::move(name), info.status == MemberStatus::kOnline, info.name == app_->name()});
    }
  }
  return row;
}

std::vector<ChannelRow> ChannelHost::list() const {
  std::vector<ChannelRow> rows;
  for (const auto& [key, channel] : channels_) {
    rows.push_back(row_of(channel, false));
  }
  return rows;
}

std::expected<ChannelRow, ChannelError> ChannelHost::show(const TextName& name) const {
  const auto at = channels_.find(key_of(name));
  if (at == channels_.end()) {
    return std::unexpected(ChannelError{ChannelFault::kUnknown, shown(name)});
  }
  return row_of(at->second, true);
}

}  // namespace slipway
