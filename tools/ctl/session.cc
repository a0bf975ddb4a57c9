// slipwayctl session: applications with sessions, for scripts. Listens and answers; sends to one, to any, to a channel.

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <utility>

#include "api_client.h"
#include "frame/utf8.h"
#include "session_application.h"
#include "table.h"
#include "verbs.h"

namespace slipway::ctl {
namespace {

using Json = nlohmann::json;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr milliseconds kLook{200};  // between two looks at signals

void say(const Arguments& a, const Json& json, const std::string& text) {
  say(a, json.dump(-1, ' ', false, Json::error_handler_t::replace), text);
}

Json json_of(const AppMessage& message) {
  Json out{{"source", message.source.shown()}, {"destination", message.destination.shown()}, {"session", message.session_id},
           {"message", message.message_id}, {"payload_type", message.payload_type}, {"bytes", size_of(message.payload)}};
  if (message.epoch != kNoEpoch) {
    out["epoch"] = message.epoch;
  }
  if (!message.metadata.empty()) {
    out["metadata"] = message.metadata;
  }
  const std::string_view payload = text_of(message.payload);
  out[is_utf8(payload) ? "payload" : "payload_hex"] = is_utf8(payload) ? std::string(payload) : fmt::format("{:02x}", fmt::join(std::span(reinterpret_cast<const std::uint8_t*>(payload.data()), payload.size()), ""));
  return out;
}

void print(const Arguments& a, const AppMessage& message) {
  if (a.quiet) {
    return;
  }
  if (a.raw) {
    std::printf("%.*s\n", static_cast<int>(size_of(message.payload)), text_of(message.payload).data());
    std::fflush(stdout);
    return;
  }
  say(a, json_of(message), safe_text(message.source.shown()) + "  " + safe_text(text_of(message.payload).substr(0, 400)));
}

Json undelivered_of(const std::vector<Undelivered>& list) {
  static constexpr std::array<const char*, 4> kReasons{"no acknowledgement", "stalled", "offline", "left"};
  Json out = Json::array();
  for (const Undelivered& one : list) {
    out.push_back({{"member", one.member.shown()}, {"why", kReasons[static_cast<std::size_t>(one.reason)]}});
  }
  return out;
}

template <class Options>
Options session_options(const Arguments& a) {
  Options options;
  if (!a.best_effort) {
    options.timeout = milliseconds(a.ack_ms);
    options.max_retries = a.retries;
  }
  return options;
}

// --- listen ------------------------------------------------------------------------------------------------------

struct Heard {
  std::uint64_t messages = 0;
  std::uint64_t answered = 0;
  bool told_to_end = false;
};

void take_message(const Arguments& a, BlockingSession& session, const AppMessage& message, Heard& heard) {
  const std::string_view payload = text_of(message.payload);
  ++heard.messages;
  print(a, message);
  if (!a.until.empty() && payload == a.until) {
    heard.told_to_end = true;
    return;
  }
  if (a.answer.empty() || payload.starts_with(a.answer)) {
    return;
  }
  const std::string answer = a.answer + std::string(payload);
  auto sent = session.kind() == SessionKind::kAnycast ? session.publish_to(message, answer) : session.publish(answer);
  if (!sent) {
    std::fprintf(stderr, "cannot answer: %s\n", safe_text(sent.error().message()).c_str());
    return;
  }
  ++heard.answered;
}

}  // namespace

int verb_session_listen(const Arguments& a) {
  Ready ready = start_application(a, a.name);
  if (!ready.app) {
    return ready.code;
  }
  std::vector<std::unique_ptr<BlockingSession>> sessions;
  Heard heard;
  const auto until = steady_clock::now() + std::chrono::seconds(a.seconds == 0 ? 1'000'000 : a.seconds);
  bool enough = false;
  while (!interrupted() && !enough && !heard.told_to_end && steady_clock::now() < until) {
    // New sessions are looked for whenever nothing is to be read.
    if (auto opened = ready.app->listen_for_session(sessions.empty() ? kLook : milliseconds(0))) {
      const BlockingSession& session = **opened;
      say(a, {{"opened", session.id()}, {"kind", session_kind_text(session.kind())}, {"with", (*opened)->destination().shown()}, {"mls", session.encrypted()}},
          fmt::format("{} session {} with {}", session_kind_text(session.kind()), session.id(), safe_text((*opened)->destination().shown())));
      sessions.push_back(std::move(*opened));
    }
    for (auto at = sessions.begin(); at != sessions.end() && !enough && !heard.told_to_end;) {
      const auto message = (*at)->get_message(sessions.size() == 1 ? milliseconds(20) : milliseconds(2));
      if (message) {
        take_message(a, **at, *message, heard);
        enough = a.count > 0 && heard.messages >= a.count;
      } else if (message.error().session == SessionFault::kClosed) {
        say(a, {{"closed", (*at)->id()}}, fmt::format("session {} closed", (*at)->id()));
        enough = a.once;
        at = sessions.erase(at);
        continue;
      }
      ++at;
    }
  }
  if (heard.told_to_end || enough) {
    std::this_thread::sleep_for(milliseconds(a.wait_ms));  // for the last acknowledgements
  }
  say(a, {{"messages", heard.messages}, {"answered", heard.answered}}, fmt::format("{} messages, {} answered", heard.messages, heard.answered));
  return a.count > 0 && heard.messages < a.count && !heard.told_to_end ? static_cast<int>(ExitCode::kTimeout) : 0;
}

// --- send, invite ------------------------------------------------------------------------------------------------

namespace {

struct Exchange {
  std::uint64_t sent = 0;
  std::uint64_t answers = 0;
  std::uint64_t lost = 0;           // members that a message did not reach
  std::vector<double> round_trips;  // milliseconds
  Json undelivered = Json::array();
};

using Publish = std::function<BlockingSession::Published(const std::string&)>;

// Sends what there is to send; after each message waits for its answers, and for its acknowledgements if asked for.
std::expected<Exchange, AppError> exchange(const Arguments& a, BlockingSession& session, const Publish& publish) {
  Exchange done;
  const milliseconds patience(a.context.timeout_ms);
  std::vector<Publication> open;
  const auto settle = [&]() -> std::expected<void, AppError> {
    for (Publication& publication : open) {
      auto outcome = publication.wait(patience);
      if (!outcome) {
        return std::unexpected(outcome.error());
      }
      done.lost += outcome->undelivered.size();
      for (const Json& one : undelivered_of(outcome->undelivered)) {
        done.undelivered.push_back(one);
      }
    }
    open.clear();
    return {};
  };
  std::string payload;
  while (!interrupted() && (a.lines ? static_cast<bool>(std::getline(std::cin, payload)) : done.sent < std::max<std::uint32_t>(a.count, 1))) {
    if (!a.lines) {
      payload = a.size > 0 ? std::string(a.size, 'x') : a.payload;
    }
    const auto begun = steady_clock::now();
    auto publication = publish(payload);
    if (!publication) {
      return std::unexpected(publication.error());
    }
    ++done.sent;
    open.push_back(std::move(*publication));
    for (std::uint32_t i = 0; i < a.answers; ++i) {
      const auto answer = session.get_message(patience);
      if (!answer) {
        return std::unexpected(answer.error());
      }
      ++done.answers;
      print(a, *answer);
    }
    if (a.answers > 0) {
      done.round_trips.push_back(std::chrono::duration<double, std::milli>(steady_clock::now() - begun).count());
    }
    if (open.size() >= kSendWindow / 2) {
      if (auto settled = settle(); !settled) {
        return std::unexpected(settled.error());
      }
    }
  }
  if (!a.last.empty()) {
    auto publication = publish(a.last);
    if (!publication) {
      return std::unexpected(publication.error());
    }
    open.push_back(std::move(*publication));
  }
  if (auto settled = settle(); !settled) {
    return std::unexpected(settled.error());
  }
  return done;
}

int report(const Arguments& a, BlockingSession& session, Exchange done, double setup_ms) {
  std::ranges::sort(done.round_trips);
  Json out{{"sent", done.sent}, {"answers", done.answers}, {"undelivered", done.undelivered}, {"setup_ms", setup_ms}};
  std::string text = fmt::format("sent {}, {} answers, set up in {:.1f} ms", done.sent, done.answers, setup_ms);
  if (!done.round_trips.empty()) {
    const double median = done.round_trips[done.round_trips.size() / 2];
    out["round_trip_p50_ms"] = median;
    text += fmt::format(", round trip {:.2f} ms", median);
  }
  if (done.lost > 0) {
    text += fmt::format(", {} times a member was not reached", done.lost);
  }
  (void)session.close(milliseconds(a.context.timeout_ms));
  say(a, out, text);
  return done.lost > 0 ? static_cast<int>(ExitCode::kNoReceiver) : 0;
}

std::string own_name(const Arguments& a) { return a.from_name.empty() ? fmt::format("slipwayctl/session/{}", getpid()) : a.from_name; }

int run_session(const Arguments& a, BlockingApp& app, const SessionOptions& options, const std::vector<TextName>& members, const TextName& peer) {
  const milliseconds patience(a.context.timeout_ms);
  const auto begun = steady_clock::now();
  auto session = app.create_session(options, patience);
  if (!session) {
    return failed(a, session.error());
  }
  for (const TextName& member : members) {
    if (auto invited = (*session)->invite(member, patience); !invited) {
      return failed(a, invited.error());
    }
    say(a, {{"invited", member.text()}}, "invited " + safe_text(member.text()));
  }
  const double setup_ms = std::chrono::duration<double, std::milli>(steady_clock::now() - begun).count();
  auto done = exchange(a, **session, [&](const std::string& payload) {
    return kind_of(options) == SessionKind::kAnycast ? (*session)->publish_with_destination(payload, peer, {}, patience)
                                                     : (*session)->publish(payload, {}, patience);
  });
  if (!done) {
    return failed(a, done.error());
  }
  return report(a, **session, std::move(*done), setup_ms);
}

}  // namespace

int verb_session_send(const Arguments& a) {
  const auto peer = parse_name(a.name);
  if (!peer) {
    return fail(a.context, {ExitCode::kUsage, peer.error(), ""});
  }
  Ready ready = start_application(a, own_name(a));
  if (!ready.app) {
    return ready.code;
  }
  if (a.anycast) {
    return run_session(a, *ready.app, session_options<AnycastOptions>(a), {}, *peer);
  }
  auto options = session_options<UnicastOptions>(a);
  options.peer = *peer;
  options.mls_enabled = !a.no_mls;
  return run_session(a, *ready.app, options, {}, *peer);
}

int verb_session_invite(const Arguments& a) {
  std::vector<TextName> members;
  for (const std::string& text : a.names) {
    const auto name = parse_name(text);
    if (!name) {
      return fail(a.context, {ExitCode::kUsage, name.error(), ""});
    }
    members.push_back(*name);
  }
  const auto channel = parse_name(a.name);
  if (!channel) {
    return fail(a.context, {ExitCode::kUsage, channel.error(), ""});
  }
  Ready ready = start_application(a, own_name(a));
  if (!ready.app) {
    return ready.code;
  }
  auto options = session_options<MulticastOptions>(a);
  options.channel = *channel;
  options.mls_enabled = !a.no_mls;
  return run_session(a, *ready.app, options, members, *channel);
}

}  // namespace slipway::ctl
