#pragma once
// The channel manager over gRPC on the loop, with its clock and its sweeps. Control thread.

#include <cstdint>

#include "channel_manager/channel_manager.h"
#include "grpc_server/call_server.h"

namespace slipway {

class ChannelManagerServer final : private CallServer::Service {
 public:
  ChannelManagerServer(Loop& loop, ChannelManager& manager);
  ~ChannelManagerServer() override;

  // The first sweep is at once: what expired while the node was down goes now.
  void start();
  // The service's path and bounds on what a listener's configuration says.
  [[nodiscard]] static std::shared_ptr<const TransportConfig> config(const TransportConfig& listener);
  bool add(int fd, std::shared_ptr<const TransportConfig> config) { return server_.add(fd, std::move(config)); }
  [[nodiscard]] std::size_t connections() const { return server_.connections(); }
  void drain();

 private:
  void on_call(std::string_view method, std::span<const std::byte> request, const Caller& caller, CallServer::Reply reply) override;
  void sweep();

  Loop& loop_;
  ChannelManager& manager_;
  CallServer server_;
  TimerId timer_ = TimerId::kNone;
};

}  // namespace slipway
