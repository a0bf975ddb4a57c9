// crowd NODE COUNT: many members of channels in one process, for tests of who moderates them. Each has an identity and a key
// package of its own, answers what its moderator says and acknowledges every change, but opens nothing: it never joins the MLS
// group that it is let into. Names are org/crowd/m0 and so on; the secret is in SLIPWAY_SECRET. Says "ready" when all are
// subscribed; runs until its input ends, then prints how many were let in and what came.
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "app/app_identity.h"
#include "client/application.h"
#include "client/link.h"
#include "group/mls_group.h"
#include "identity/command_guard.h"
#include "identity/shared_secret.h"
#include "loop/loop.h"
#include "wire/session_wire.h"

namespace {

using namespace slipway;

struct Totals {
  std::size_t subscribed = 0;
  std::size_t let_in = 0;
  std::size_t commits = 0;
  std::size_t acknowledged = 0;
  std::size_t welcome_bytes = 0;
};

class Puppet {
 public:
  Puppet(ClientLink& link, Identity identity, const TextName& name, Totals& totals)
      : identity_(std::move(identity)),
        name_(TextName{name.component, identity_.provider().id()}),
        totals_(totals),
        package_(identity_, MlsGroupOptions{}),
        application_(link, TextName{name.component, identity_.provider().id()},
                     {.on_message = [this](const ClientMessage& message) { heard(message); }, .on_no_route = {}, .on_writable = {}, .on_subscription_lost = {}}) {
    application_.subscribe_self([this](const ClientResult&) { ++totals_.subscribed; });
  }

  [[nodiscard]] bool in() const { return in_; }
  void acknowledge(const SessionMessage& update) {
    if (in_ && update.session_id == session_) {
      ++totals_.acknowledged;
      answer(update, MessageType::kGroupAck, GroupAck{});
    }
  }
  // A sign of life, as a member gives it: to its moderator's own.
  void beat(const SessionMessage& heartbeat) {
    if (in_ && heartbeat.session_id == session_) {
      SessionMessage to = heartbeat;
      to.message_id = ++beats_;
      answer(to, MessageType::kHeartbeat, heartbeat.payload, heartbeat.metadata);
    }
  }
  std::function<void(ClientApplication&, const FullName& control)> on_control;  // of the session that it is let into

 private:
  void heard(const ClientMessage& message) {
    auto wire = decode_frame(message.frame());
    if (!wire) {
      return;
    }
    const SessionMessage& in = wire->message;
    switch (in.type) {
      case MessageType::kDiscoveryRequest: return answer(in, MessageType::kDiscoveryReply, DiscoveryReply{});
      case MessageType::kJoinRequest: {
        const auto& join = std::get<JoinRequest>(in.payload);
        session_ = in.session_id;
        if (join.control) {
          on_control(application_, *join.control);
        }
        auto package = join.mls ? package_.key_package() : std::expected<SharedBytes, std::string>(nullptr);
        return answer(in, MessageType::kJoinReply, JoinReply{package.value_or(nullptr), {name_, Direction{}, MemberStatus::kOnline}});
      }
      case MessageType::kGroupWelcome: {
        const auto& welcome = std::get<GroupWelcome>(in.payload);
        totals_.welcome_bytes += welcome.mls ? size_of(welcome.mls->content) : 0;
        totals_.let_in += in_ ? 0 : 1;
        in_ = true;
        return answer(in, MessageType::kGroupAck, GroupAck{});
      }
      case MessageType::kLeaveRequest:
        in_ = false;
        return answer(in, MessageType::kLeaveReply, LeaveReply{});
      default: return;
    }
  }
  void answer(const SessionMessage& to, MessageType type, Payload payload, Metadata metadata = {}) {
    SessionMessage out;
    out.metadata = std::move(metadata);
    out.session_type = to.session_type;
    out.type = type;
    out.session_id = to.session_id;
    out.message_id = to.message_id;
    out.source = name_;
    out.destination = to.source;
    out.identity = identity_.token();
    out.payload = std::move(payload);
    const std::string content = encode_content(out.payload);
    const auto signatures = sign_command(out, content, identity_.provider().key());
    if (!signatures) {
      std::abort();
    }
    const std::string body = encode_frame_body(out, content, *signatures);
    application_.publish_frame(frame_header_of(out), {reinterpret_cast<const std::byte*>(body.data()), body.size()});
  }

  AppIdentity identity_;
  FullName name_;
  Totals& totals_;
  MlsGroup package_;
  ClientApplication application_;
  std::uint32_t session_ = 0;
  std::uint32_t beats_ = 0x4000'0000;
  bool in_ = false;
};

}  // namespace

int main(int argc, char** argv) {
  const char* const secret = std::getenv("SLIPWAY_SECRET");
  if (argc != 3 || secret == nullptr) {
    std::fputs("crowd NODE COUNT, and SLIPWAY_SECRET\n", stderr);
    return 2;
  }
  const auto count = static_cast<std::size_t>(std::atoi(argv[2]));
  auto loop = std::move(*Loop::create());
  auto link = ClientLink::open(*loop, {.address = argv[1], .client_name = "crowd", .queue_bytes = 64u << 20});
  if (!link) {
    std::fprintf(stderr, "%s\n", link.error().c_str());
    return 1;
  }
  Totals totals;
  std::vector<std::unique_ptr<Puppet>> puppets;
  // What goes to all comes once for all: the first member listens for the others.
  std::unique_ptr<ClientApplication> ear;
  const auto listen = [&](ClientApplication&, const FullName& control) {
    if (ear || !control.text_components()) {
      return;
    }
    ear = std::make_unique<ClientApplication>(**link, TextName{{"org", "crowd", "ear"}, {}},
                                              ClientApplication::Handlers{.on_message =
                                                                              [&](const ClientMessage& message) {
                                                                                const auto wire = decode_frame(message.frame());
                                                                                if (wire && wire->message.type == MessageType::kHeartbeat) {
                                                                                  for (const auto& puppet : puppets) {
                                                                                    puppet->beat(wire->message);
                                                                                  }
                                                                                }
                                                                                if (wire && wire->message.type == MessageType::kGroupUpdate) {
                                                                                  ++totals.commits;
                                                                                  for (const auto& puppet : puppets) {
                                                                                    puppet->acknowledge(wire->message);
                                                                                  }
                                                                                }
                                                                              },
                                                                          .on_no_route = {},
                                                                          .on_writable = {},
                                                                          .on_subscription_lost = {}});
    ear->subscribe(TextName{*control.text_components(), control.id()});
  };
  for (std::size_t i = 0; i < count; ++i) {
    const TextName name{{"org", "crowd", "m" + std::to_string(i)}, {}};
    auto identity = shared_secret_identity({.base = name.text(), .secret = secret, .subject = {}, .key = {}});
    if (!identity) {
      std::fprintf(stderr, "%s\n", identity.error().message().c_str());
      return 1;
    }
    puppets.push_back(std::make_unique<Puppet>(**link, std::move(*identity), name, totals));
    puppets.back()->on_control = listen;
  }
  while (totals.subscribed < count) {
    loop->turn(100'000'000);
  }
  std::puts("ready");
  std::fflush(stdout);
  bool over = false;
  (void)loop->watch(STDIN_FILENO, fd_event::kReadable, [&](std::uint32_t) {
    char byte = 0;
    over = read(STDIN_FILENO, &byte, 1) <= 0;
  });
  while (!over) {
    loop->turn(100'000'000);
  }
  std::printf("{\"let_in\": %zu, \"commits\": %zu, \"acknowledged\": %zu, \"welcome_bytes\": %zu}\n", totals.let_in, totals.commits, totals.acknowledged,
              totals.welcome_bytes);
  ear.reset();
  puppets.clear();
  return 0;
}
