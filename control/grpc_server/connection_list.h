#pragma once
// The connections of a server on the loop, each of which ends itself. Control thread.
//
// `Connection` is a TransportSocketUser with a member `socket`, made from its server.

#include <unistd.h>

#include <cstddef>
#include <list>
#include <memory>
#include <utility>

#include "edge/transport_config.h"
#include "edge/transport_memory.h"
#include "edge_client/transport_socket.h"
#include "loop/loop.h"

namespace slipway {

template <class Connection>
class ConnectionList {
 public:
  ConnectionList(Loop& loop, std::size_t at_most, std::size_t memory_bytes) : loop_(loop), at_most_(at_most), memory_(memory_bytes) {}

  // A connection that was accepted; non-blocking. False: the limit is reached, or memory; it is closed.
  template <class Server>
  bool add(Server& server, int fd, std::shared_ptr<const TransportConfig> config) {
    if (list_.size() >= at_most_) {
      ::close(fd);
      return false;
    }
    auto connection = std::make_unique<Connection>(server);
    connection->socket = TransportSocket::create(loop_, fd, std::move(config), memory_, *connection);
    if (connection->socket == nullptr) {
      return false;
    }
    list_.push_back(std::move(connection));
    return true;
  }

  void end(const Connection* connection) {
    std::erase_if(list_, [connection](const auto& one) { return one.get() == connection; });
  }

  void drain() {
    for (auto& connection : list_) {
      connection->socket->drain();
      connection->socket->close();
    }
  }

  [[nodiscard]] std::size_t size() const { return list_.size(); }

 private:
  Loop& loop_;
  std::size_t at_most_;
  TransportMemory memory_;
  std::list<std::unique_ptr<Connection>> list_;
};

}  // namespace slipway
