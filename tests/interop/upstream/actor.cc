// An application on our endpoint library that does what its input tells it; actor.py is the same on upstream's bindings.
//
//   actor NAME ADDRESS [--plain] [--best-effort]      the secret is in SLIPWAY_SECRET
//
// One order a line: create ROOM, pair PEER, wait (for a session of somebody), invite NAME, remove NAME, offline, back, say TEXT, members, close.
// Each is answered by a line of JSON: {"done": ORDER} or {"failed": ORDER, "why"}; what is heard is told as {"heard", "from"}, the end of the
// session as {"over"}. Ends with its input.
#include <cstdlib>
#include <iostream>
#include <mutex>
#include <thread>

#include <nlohmann/json.hpp>

#include "app/blocking.h"
#include "identity/shared_secret.h"

using namespace slipway;
using namespace std::chrono_literals;
using nlohmann::json;

namespace {

constexpr auto kPatient = 60s;
bool encrypted = true;
bool reliable = true;

void tell(const json& line) {
  static std::mutex mutex;
  const std::lock_guard lock(mutex);
  std::cout << line.dump() << std::endl;
}

template <class Options>
Options with_settings(Options options) {
  options.mls_enabled = encrypted;
  if (reliable) {
    options.timeout = 1s;
    options.max_retries = 10;
  }
  return options;
}

void listen_to(BlockingSession& session) {
  for (;;) {
    const auto message = session.get_message(1s);
    if (message) {
      tell({{"heard", text_of(message->payload)}, {"from", message->source.service().shown()}});
    } else if (message.error().session == SessionFault::kClosed) {
      tell({{"over", true}});
      return;
    }
  }
}

std::expected<json, AppError> say(BlockingSession& session, const std::string& text) {
  auto sent = session.publish(text);
  auto outcome = sent ? sent->wait(kPatient) : std::unexpected(sent.error());
  if (!outcome) {
    return std::unexpected(outcome.error());
  }
  json missed = json::array();
  for (const Undelivered& one : outcome->undelivered) {
    missed.push_back(one.member.service().shown());
  }
  return missed;
}

std::expected<json, AppError> act(BlockingSession& session, const std::string& verb, const std::string& word) {
  if (verb == "say") {
    return say(session, word);
  }
  if (verb == "members") {
    json names = json::object();
    for (const ParticipantInfo& info : session.participants()) {
      names[info.name.service().shown()] = info.status == MemberStatus::kOnline;
    }
    return names;
  }
  const auto done = verb == "invite"    ? session.invite(parse_name(word).value(), kPatient)
                    : verb == "remove"  ? session.remove(parse_name(word).value(), kPatient)
                    : verb == "offline" ? session.go_offline(kPatient)
                    : verb == "back"    ? session.come_back(kPatient)
                                        : session.close(kPatient);
  return done ? std::expected<json, AppError>(nullptr) : std::unexpected(done.error());
}

std::expected<std::unique_ptr<BlockingSession>, AppError> begin(BlockingApp& app, const std::string& verb, const std::string& word) {
  if (verb == "wait") {
    return app.listen_for_session(kPatient);
  }
  if (verb == "create") {
    return app.create_session(with_settings(MulticastOptions{.channel = parse_name(word).value()}), kPatient);
  }
  return app.create_session(with_settings(UnicastOptions{.peer = parse_name(word).value()}), kPatient);
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> words(argv + 1, argv + argc);
  for (const std::string& word : words) {
    encrypted = encrypted && word != "--plain";
    reliable = reliable && word != "--best-effort";
  }
  auto identity = shared_secret_identity({.base = words.at(0), .secret = std::getenv("SLIPWAY_SECRET")});
  auto app = BlockingApp::create({.name = parse_name(words.at(0)).value(), .identity = identity.value()}).value();
  if (auto connected = app->connect({.address = words.at(1)}); !connected) {
    std::cerr << connected.error().message() << "\n";
    return 1;
  }
  tell({{"done", "start"}});
  std::vector<std::unique_ptr<BlockingSession>> sessions;  // the last is meant
  std::vector<std::jthread> listeners;
  for (std::string line; std::getline(std::cin, line);) {
    const std::size_t space = line.find(' ');
    const std::string verb = line.substr(0, space);
    const std::string word = space == std::string::npos ? "" : line.substr(space + 1);
    if (verb == "wait" || verb == "create" || verb == "pair") {
      auto session = begin(*app, verb, word);
      if (!session) {
        tell({{"failed", line}, {"why", session.error().message()}});
        continue;
      }
      listeners.emplace_back([&session = **session] { listen_to(session); });
      sessions.push_back(std::move(*session));
      tell({{"done", line}, {"mls", sessions.back()->encrypted()}});
    } else if (auto result = act(*sessions.back(), verb, word)) {
      tell({{"done", line}, {"result", *result}});
    } else {
      tell({{"failed", line}, {"why", result.error().message()}});
    }
  }
  std::_Exit(0);  // whoever still listens listens for nothing
}
