#pragma once
// Where a gRPC service of the control thread listens: addresses, TLS and credentials as the configuration says, opened, reloaded and
// closed. What the service does with a connection is its own affair. Control thread.

#include <cstdint>
#include <expected>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "api/rows.h"
#include "edge/transport_config.h"
#include "loop/loop.h"
#include "node/log.h"
#include "node/settings.h"

namespace slipway {

struct ListeningService {
  std::string what;   // "control service", for people
  std::string mark;   // before the address in the list of listeners
  // The service's path and bounds on what the configuration says.
  std::function<std::shared_ptr<const TransportConfig>(const TransportConfig&)> config;
  std::function<bool(int fd, std::shared_ptr<const TransportConfig>)> add;   // false: refused, and closed
  std::function<std::size_t()> connections;
};

class ControlListeners {
 public:
  ControlListeners(Loop& loop, Log& log, ListeningService service);
  ~ControlListeners();
  ControlListeners(const ControlListeners&) = delete;
  ControlListeners& operator=(const ControlListeners&) = delete;

  // Binds the addresses; nothing is accepted before start().
  std::expected<void, std::string> open(const std::vector<EdgeServerSettings>& servers, const NodeSettings& settings);
  void start();

  // A reload in two steps, so that several services change together or not at all: new addresses are opened, certificates and
  // credentials read again; then they are taken, and addresses that are no more are closed. A change that is not taken is undone.
  struct Change;
  std::expected<std::unique_ptr<Change>, std::string> prepare(const std::vector<EdgeServerSettings>& servers, const NodeSettings& next);
  void commit(Change& change, ReloadRow& row);
  void close();   // accepts nothing more
  [[nodiscard]] std::vector<ListenerRow> rows() const;

 private:
  friend struct Change;
  struct Listener {
    EdgeServerSettings settings;
    std::shared_ptr<const TransportConfig> config;
    int fd = -1;
    std::uint64_t accepted = 0;
    std::uint64_t refused = 0;
  };
  std::expected<std::unique_ptr<Listener>, std::string> open_one(const EdgeServerSettings& server, const NodeSettings& settings);
  void watch(Listener& listener);
  void accept(Listener& listener);
  void close(Listener& listener);

  Loop& loop_;
  Log& log_;
  ListeningService service_;
  std::vector<std::unique_ptr<Listener>> listeners_;
};

struct ControlListeners::Change {
  explicit Change(ControlListeners& of) : owner(&of) {}
  ~Change();
  Change(const Change&) = delete;
  Change& operator=(const Change&) = delete;

  ControlListeners* owner;
  std::vector<SocketAddress> addresses;
  std::vector<std::unique_ptr<Listener>> fresh;
  std::vector<std::pair<Listener*, std::shared_ptr<const TransportConfig>>> renewed;
};

}  // namespace slipway
