#pragma once
// The control service that upstream's tools speak to a node (controller.proto.v1.ControllerService/OpenControlChannel,
// upstream-control 4.4, 4.7, 4.9): gRPC on the control thread's loop, by the same codec as the data plane. `slimctl node route
// list` and `connection list` ask it. No registration; who may connect is the transport's affair (TLS, credentials).
//
// Bounded (controller_bounds.h): connections, streams, messages, requests that wait; lists are made a chunk at a time, as
// fast as their reader takes them. Control thread.

#include <cstddef>
#include <cstdint>
#include <expected>
#include <memory>
#include <string>

#include "controller/controller_backend.h"
#include "controller/controller_bounds.h"
#include "edge/transport_config.h"
#include "loop/loop.h"

namespace slipway {

inline constexpr const char* kControllerPath = "/controller.proto.v1.ControllerService/OpenControlChannel";

// The service's own path and bounds on what a listener's configuration says of TLS and credentials.
[[nodiscard]] std::shared_ptr<const TransportConfig> controller_config(const TransportConfig& listener);

template <class Connection>
class ConnectionList;

class ControllerServer {
 public:
  ControllerServer(Loop& loop, ControllerBackend& backend);
  ~ControllerServer();
  ControllerServer(const ControllerServer&) = delete;
  ControllerServer& operator=(const ControllerServer&) = delete;

  // A connection that was accepted; non-blocking. False: the limit is reached, or memory; it is closed.
  bool add(int fd, std::shared_ptr<const TransportConfig> config);
  [[nodiscard]] std::size_t connections() const;
  void drain();  // goodbye to all; new streams are refused

 private:
  class Connection;
  ControllerBackend& backend_;
  std::unique_ptr<ConnectionList<Connection>> connections_;
};

}  // namespace slipway
