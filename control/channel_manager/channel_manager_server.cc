#include "channel_manager/channel_manager_server.h"

#include <ctime>
#include <utility>

#include "channel_manager/channel_manager_bounds.h"

namespace slipway {
namespace {

constexpr std::uint64_t kNsPerMs = 1'000'000;
constexpr CallLimits kLimits{.connections = kManagerConnections, .calls = kManagerCalls, .message_bytes = kManagerMessageBytes,
                             .memory_bytes = kManagerMemoryBytes};

std::uint64_t unix_s() { return static_cast<std::uint64_t>(std::time(nullptr)); }

}  // namespace

ChannelManagerServer::ChannelManagerServer(Loop& loop, ChannelManager& manager)
    : loop_(loop), manager_(manager),
      server_(loop, *this, kChannelManagerPath, kLimits) {}

std::shared_ptr<const TransportConfig> ChannelManagerServer::config(const TransportConfig& listener) {
  return call_config(listener, kChannelManagerPath, kLimits);
}

ChannelManagerServer::~ChannelManagerServer() { loop_.cancel(timer_); }

void ChannelManagerServer::start() { sweep(); }

void ChannelManagerServer::sweep() {
  manager_.sweep(unix_s());
  timer_ = loop_.after(kExpirySweepMs * kNsPerMs, [this] { sweep(); });
}

void ChannelManagerServer::drain() {
  loop_.cancel(std::exchange(timer_, TimerId::kNone));
  server_.drain();
}

void ChannelManagerServer::on_call(std::string_view method, std::span<const std::byte> request, const Caller& caller, CallServer::Reply reply) {
  manager_.handle(method, request, caller.subject, unix_s(), [reply = std::move(reply)](std::expected<std::string, ManagerCallError> answer) mutable {
    if (answer) {
      reply.answer(*answer);
    } else {
      reply.fail(answer.error().grpc_status, answer.error().why);
    }
  });
}

}  // namespace slipway
