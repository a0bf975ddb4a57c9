// slipway-chat: a channel in a terminal, encrypted from member to member.
//
//   SLIPWAY_SECRET=… slipway-chat org/team/alice --create org/team/room     then: /invite org/team/bob
//   SLIPWAY_SECRET=… slipway-chat org/team/bob                              waits to be invited
//
// /invite NAME, /remove NAME and /who for who created it; /quit; everything else is said.

#include <atomic>
#include <iostream>
#include <thread>

#include "example.h"

using namespace slipway;
using namespace slipway::example;
using std::chrono::milliseconds;

namespace {

std::string shown(const FullName& name) { return name.service().shown(); }

void show_event(const SessionEvent& event) {
  if (const auto* presence = std::get_if<Presence>(&event)) {
    static constexpr const char* kWhat[] = {"joined", "left", "was removed", "is online", "is offline"};
    std::printf("* %s %s\n", shown(presence->member).c_str(), kWhat[static_cast<int>(presence->change)]);
  } else if (const auto* lost = std::get_if<MessagesLost>(&event)) {
    std::printf("* %u messages of %s were lost\n", lost->count, shown(lost->source).c_str());
  }
  std::fflush(stdout);
}

// Prints what comes until the session ends or the user leaves.
void listen(BlockingSession& session, std::atomic<bool>& over) {
  while (!over) {
    const auto message = session.get_message(milliseconds(100));
    while (const auto event = session.get_event()) {
      show_event(*event);
    }
    if (message) {
      std::printf("<%s> %.*s\n", shown(message->source).c_str(), static_cast<int>(size_of(message->payload)), text_of(message->payload).data());
      std::fflush(stdout);
    } else if (message.error().session == SessionFault::kClosed) {
      std::printf("* the channel is closed\n");
      std::fflush(stdout);
      over = true;
    }
  }
}

void report(const BlockingSession::Call& result, const std::string& done) {
  std::printf("* %s\n", result ? done.c_str() : result.error().message().c_str());
  std::fflush(stdout);
}

// False: the user leaves.
bool act(BlockingSession& session, const std::string& line) {
  const auto argument = [&] { return parse_name(line.substr(line.find(' ') + 1)); };
  if (line == "/quit") {
    return false;
  }
  if (line == "/who") {
    for (const ParticipantInfo& member : session.participants()) {
      std::printf("* %s%s\n", shown(member.name).c_str(), member.status == MemberStatus::kOffline ? " (offline)" : "");
    }
    std::fflush(stdout);
  } else if (line.starts_with("/invite ") || line.starts_with("/remove ")) {
    const auto name = argument();
    if (!name) {
      report(std::unexpected(AppError(AppFault::kBadName, name.error())), "");
    } else if (line.starts_with("/invite ")) {
      report(session.invite(*name), name->text() + " is in");
    } else {
      report(session.remove(*name), name->text() + " is out");
    }
  } else if (!line.empty()) {
    // Not waited for: the session repeats what is not acknowledged.
    if (const auto said = session.publish(line, {.payload_type = "text/plain"}); !said) {
      report(std::unexpected(said.error()), "");
    }
  }
  return true;
}

std::unique_ptr<BlockingSession> open_channel(BlockingApp& app, const CommandLine& line) {
  if (!line.create.empty()) {
    return get(app.create_session(MulticastOptions{.channel = name_of(line.create), .timeout = milliseconds(1'000), .max_retries = 10}));
  }
  std::printf("* waiting to be invited\n");
  std::fflush(stdout);
  while (true) {
    auto session = app.listen_for_session(milliseconds(1'000));
    if (session && (*session)->kind() == SessionKind::kMulticast) {
      return std::move(*session);
    }
  }
}

}  // namespace

int main(int count, char** values) {
  const CommandLine line(count, values);
  if (line.words.size() != 1) {
    give_up("usage: slipway-chat NAME [--create CHANNEL] [--node ADDRESS]");
  }
  const auto app = connected_app(line.words[0], line.node);
  const auto session = open_channel(*app, line);
  std::printf("* in %s%s\n", shown(session->destination()).c_str(), session->encrypted() ? ", encrypted" : "");
  std::fflush(stdout);
  std::atomic<bool> over = false;
  std::thread reader([&] { listen(*session, over); });
  std::string text;
  while (!over && std::getline(std::cin, text) && act(*session, text)) {
  }
  over = true;
  reader.join();
  (void)session->close();
}
