// slipwayctl pub, sub and instances: one application on the native client library.

#include <fmt/format.h>

#include <chrono>
#include <cstdio>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <utility>

#include "api_client.h"
#include "client/blocking.h"
#include "frame/utf8.h"
#include "table.h"
#include "verbs.h"

namespace slipway::ctl {
namespace {

using Json = nlohmann::json;
using std::chrono::steady_clock;

std::string dumped(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

std::expected<TextName, Failure> name_of(const std::string& text) {
  auto name = parse_name(text);
  if (!name) {
    return std::unexpected(Failure{ExitCode::kUsage, name.error(), ""});
  }
  return *name;
}

std::expected<std::unique_ptr<BlockingClient>, Failure> connect(const Arguments& a, const TextName& name) {
  if (const auto endpoint = parse_endpoint(a.context.node); !endpoint) {
    return std::unexpected(Failure{ExitCode::kUsage, endpoint.error(), ""});
  }
  // What happens to the link later is said on the side: the verb goes on when the link is up again.
  auto was_up = std::make_shared<bool>(false);
  const auto on_phase = [was_up, quiet = a.context.json](ClientLinkPhase phase, const std::string& why) {
    if (phase == ClientLinkPhase::kUp && std::exchange(*was_up, true) && !quiet) {
      std::fprintf(stderr, "connected again\n");
    } else if (phase == ClientLinkPhase::kWaiting && *was_up && !quiet) {
      std::fprintf(stderr, "%s; trying again\n", safe_text(why).c_str());
    }
  };
  auto client = BlockingClient::connect({.address = a.context.node,
                                         .client_name = name.text(),
                                         .connect_ms = static_cast<std::uint32_t>(a.context.timeout_ms),
                                         .retry_first = false,
                                         .on_phase = on_phase},
                                        name, static_cast<std::uint64_t>(a.context.timeout_ms));
  if (!client) {
    const bool refused = client.error().find("refused the link") != std::string::npos;
    return std::unexpected(Failure{refused ? ExitCode::kRefused : ExitCode::kNotReachable, client.error(), "--node ADDRESS or SLIPWAY_NODE names the node's native listener"});
  }
  return std::move(*client);
}

std::string own_name(const Arguments& a, const char* verb) {
  return a.from_name.empty() ? fmt::format("slipwayctl/{}/{}", verb, getpid()) : a.from_name;
}

// What the publisher has to send: the lines of stdin, or one payload some times.
class Payloads {
 public:
  explicit Payloads(const Arguments& a) : a_(a) {}
  bool next(std::string* payload) {
    if (a_.lines) {
      return static_cast<bool>(std::getline(std::cin, *payload));
    }
    if (sent_++ >= std::max<std::uint32_t>(a_.count, 1)) {
      return false;
    }
    *payload = a_.size > 0 ? std::string(a_.size, 'x') : a_.payload;
    return true;
  }

 private:
  const Arguments& a_;
  std::uint32_t sent_ = 0;
};

}  // namespace

int verb_pub(const Arguments& a) {
  const auto to = name_of(a.name);
  const auto from = name_of(own_name(a, "pub"));
  if (!to || !from) {
    return fail(a.context, to ? from.error() : to.error());
  }
  auto client = connect(a, *from);
  if (!client) {
    return fail(a.context, client.error());
  }
  const Destination destination((*client)->application(), *to, a.all ? Receivers::kAll : Receivers::kOne, "text/plain");
  Payloads payloads(a);
  std::string payload;
  std::uint64_t sent = 0;
  auto due = steady_clock::now();
  while (!interrupted() && payloads.next(&payload)) {
    if (a.rate > 0) {
      const auto wait = std::chrono::duration_cast<std::chrono::milliseconds>(due - steady_clock::now()).count();
      (*client)->run_for(wait > 0 ? static_cast<std::uint64_t>(wait) : 0);
      due += std::chrono::nanoseconds(static_cast<std::int64_t>(1e9 / a.rate));
    }
    if (auto result = (*client)->publish(destination, payload, static_cast<std::uint64_t>(a.context.timeout_ms)); !result) {
      return fail(a.context, {result.error().find("larger") != std::string::npos ? ExitCode::kRefused : ExitCode::kTimeout, result.error(), "see slipwayctl links"});
    }
    ++sent;
  }
  if (auto flushed = (*client)->flush(static_cast<std::uint64_t>(a.context.timeout_ms)); !flushed) {
    return fail(a.context, {ExitCode::kTimeout, flushed.error(), "the node does not read: see slipwayctl links"});
  }
  // A publish has no acknowledgement; that nobody received it is told within a round trip.
  std::uint64_t lost = 0;
  std::string reason;
  std::string what;
  std::string advice;
  while (const auto notice = (*client)->no_route(a.wait_ms)) {
    lost += 1 + notice->more;
    reason = notice->reason;
    what = notice->what;
    advice = notice->advice;
  }
  if (a.context.json) {
    std::printf("%s\n", dumped({{"to", to->text()}, {"from", (*client)->name().text()}, {"all", a.all}, {"sent", sent}, {"dropped", lost}, {"reason", reason}}).c_str());
  } else {
    std::printf("sent %s message%s to %s%s\n", count_text(sent).c_str(), sent == 1 ? "" : "s", safe_text(to->text()).c_str(), a.all ? " (all subscribers)" : "");
    if (lost > 0) {
      std::printf("the node says that nobody received %s of them: %s: %s. %s\n", count_text(lost).c_str(), reason.c_str(), what.c_str(), advice.c_str());
    }
  }
  return static_cast<int>(lost > 0 ? ExitCode::kNoReceiver : ExitCode::kOk);
}

namespace {

void print_message(const Arguments& a, const ClientMessage& message, std::uint64_t number) {
  const auto payload = message.payload_text();
  if (a.raw) {
    std::fwrite(payload.data(), 1, payload.size(), stdout);
    std::fputc('\n', stdout);
  } else if (a.context.json) {
    Json out = {{"number", number}, {"source", message.source_text()}, {"destination", message.destination_text()}, {"all", message.to_all()}, {"bytes", payload.size()},
                {"hop_limit", message.header().hop_limit}, {"session", message.header().session_id}, {"message", message.header().message_id}, {"payload_type", message.payload_type()}};
    if (is_utf8(payload)) {
      out["payload"] = payload;
    } else {
      std::string hex;
      for (const char c : payload) {
        hex += fmt::format("{:02x}", static_cast<unsigned char>(c));
      }
      out["payload_hex"] = hex;
    }
    std::printf("%s\n", dumped(out).c_str());
  } else {
    constexpr std::size_t kShown = 400;
    std::printf("%s  %s -> %s%s  %s%s\n", count_text(number).c_str(), safe_text(message.source_text()).c_str(), safe_text(message.destination_text()).c_str(),
                message.to_all() ? " (all)" : "", safe_text(payload.substr(0, kShown)).c_str(), payload.size() > kShown ? fmt::format(" ... ({} bytes)", payload.size()).c_str() : "");
  }
  std::fflush(stdout);
}

}  // namespace

int verb_sub(const Arguments& a) {
  std::vector<TextName> names;
  for (const auto& text : a.names) {
    const auto name = name_of(text);
    if (!name) {
      return fail(a.context, name.error());
    }
    names.push_back(*name);
  }
  auto client = connect(a, names[0]);
  if (!client) {
    return fail(a.context, client.error());
  }
  for (auto& name : names) {
    if (name.id.is_null() && !a.exact) {
      name.id = (*client)->name().id;  // one instance of the service, which can also be reached alone
    }
    if (auto subscribed = (*client)->subscribe(name, static_cast<std::uint64_t>(a.context.timeout_ms)); !subscribed) {
      return fail(a.context, {ExitCode::kRefused, fmt::format("cannot subscribe to {}: {}", name.text(), subscribed.error()), "see slipwayctl links and slipwayctl drops"});
    }
    if (a.context.json) {
      std::printf("%s\n", dumped({{"subscribed", name.text()}}).c_str());
      std::fflush(stdout);
    } else if (!a.raw) {
      std::fprintf(stderr, "subscribed to %s\n", safe_text(name.text()).c_str());
    }
  }
  const auto end = steady_clock::now() + std::chrono::seconds(a.seconds);
  std::uint64_t got = 0;
  while (!interrupted() && (a.count == 0 || got < a.count)) {
    constexpr std::uint64_t kLookMs = 200;
    if (a.seconds != 0 && steady_clock::now() >= end) {
      return a.count == 0 ? 0 : fail(a.context, {ExitCode::kTimeout, fmt::format("{} of {} messages came within {} s", got, a.count, a.seconds), ""});
    }
    const auto received = (*client)->receive(kLookMs);
    if (!received) {
      continue;
    }
    const auto message = received->message();
    print_message(a, message, ++got);
    if (a.echo) {
      TextName back;  // only hashes are known of the sender; the body needs no text
      FrameHeader header{.session_id = message.header().session_id, .message_id = message.header().message_id, .destination = message.source()};
      (void)(*client)->application().publish_frame(header, message.body());
    }
  }
  return 0;
}

int verb_instances(const Arguments& a) {
  const auto service = name_of(a.name);
  const auto from = name_of(own_name(a, "instances"));
  if (!service || !from) {
    return fail(a.context, service ? from.error() : service.error());
  }
  auto client = connect(a, *from);
  if (!client) {
    return fail(a.context, client.error());
  }
  const auto answer = (*client)->instances(*service, static_cast<std::uint64_t>(a.context.timeout_ms));
  if (!answer) {
    return fail(a.context, {ExitCode::kTimeout, answer.error(), ""});
  }
  Json ids = Json::array();
  for (const auto id : answer->ids) {
    ids.push_back(id_text(id));
    if (!a.context.json) {
      std::printf("%s\n", id_text(id).c_str());
    }
  }
  if (a.context.json) {
    std::printf("%s\n", dumped({{"service", service->text()}, {"instances", ids}, {"truncated", answer->truncated}}).c_str());
  } else if (answer->truncated) {
    std::fprintf(stderr, "there are more instances than one answer holds\n");
  }
  return static_cast<int>(answer->ids.empty() ? ExitCode::kNotFound : ExitCode::kOk);
}

}  // namespace slipway::ctl
