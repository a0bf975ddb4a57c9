#pragma once
// The node's side of the control service that upstream's tools speak (control/controller): its listeners, what it shows of links
// and routes, and what its commands change. Control thread.

#include <cstdint>
#include <expected>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "api/rows.h"
#include "controller/controller_backend.h"
#include "controller/controller_server.h"
#include "node/control_listeners.h"
#include "node/settings.h"

namespace slipway {

class Node;
struct NodeLink;

class NodeController final : private ControllerBackend {
 public:
  explicit NodeController(Node& node);
  ~NodeController() override;
  NodeController(const NodeController&) = delete;
  NodeController& operator=(const NodeController&) = delete;

  // Binds the addresses; nothing is accepted before start().
  std::expected<void, std::string> open(const NodeSettings& settings);
  void start();
  // New addresses are opened, others closed; certificates and credentials are read again. On an error nothing has changed.
  std::expected<void, std::string> reload(const NodeSettings& next, ReloadRow& row);
  void drain();   // accepts nothing more, and says goodbye
  [[nodiscard]] std::vector<ListenerRow> listeners() const { return listeners_.rows(); }

 private:
  struct AssignedRoute {
    HeldRoute held;
    std::string to;   // as Node::route() has it
  };

  ControllerPage<ControllerConnectionRow> controller_connections(std::uint32_t after, std::uint32_t at_most) override;
  ControllerPage<ControllerRouteRow> controller_routes(std::uint32_t after, std::uint32_t at_most) override;
  std::expected<void, std::string> controller_connect(const ControllerConnection& connection) override;
  std::expected<void, std::string> controller_disconnect(const std::string& link_id) override;
  std::expected<void, std::string> controller_route(bool add, const TextName& name, const std::string& link_id) override;
  [[nodiscard]] std::vector<std::string> controller_links() const override { return links_; }
  [[nodiscard]] std::vector<HeldRoute> controller_held_routes() const override;
  void controller_applied(std::move_only_function<void()> call) override;
  void controller_log(std::string text) override;

  [[nodiscard]] ControllerConnectionRow row_of(const NodeLink& link) const;
  [[nodiscard]] std::expected<void, std::string> allowed() const;  // to change anything
  [[nodiscard]] const NodeLink* find(const std::string& link_id) const;

  Node& node_;
  ControllerServer server_;
  ControlListeners listeners_;
  std::vector<std::string> links_;            // ids of those that commands have made
  std::vector<AssignedRoute> routes_;
};

// The configuration of a connection as commands have it, in either form (upstream-control 9): whoever writes it gives the
// id and, in the form without credentials, gets a link of class remote. The error says what is wrong.
[[nodiscard]] std::expected<EdgeClientSettings, std::string> assigned_client(const ControllerConnection& connection);

}  // namespace slipway
