#pragma once
// What the control service asks of the node. The node implements it; tests have a fake. Control thread.

#include <cstdint>
#include <expected>
#include <functional>
#include <string>
#include <vector>

#include "controller/controller_messages.h"

namespace slipway {

template <class Row>
struct ControllerPage {
  std::vector<Row> rows;
  std::uint32_t next = 0;   // where to go on; 0: this was the last
};

class ControllerBackend {
 public:
  virtual ~ControllerBackend() = default;
  virtual ControllerPage<ControllerConnectionRow> controller_connections(std::uint32_t after, std::uint32_t at_most) = 0;
  virtual ControllerPage<ControllerRouteRow> controller_routes(std::uint32_t after, std::uint32_t at_most) = 0;

  // Errors are the texts of acknowledgements. "connection not found" means: try again later (upstream-control 4.5).
  // Dials from now on, and again when the link is lost; success does not mean that it is up.
  virtual std::expected<void, std::string> controller_connect(const ControllerConnection& connection) = 0;
  virtual std::expected<void, std::string> controller_disconnect(const std::string& link_id) = 0;
  virtual std::expected<void, std::string> controller_route(bool add, const TextName& name, const std::string& link_id) = 0;
  // What `reconcile` compares with: links and routes that came by this service.
  [[nodiscard]] virtual std::vector<std::string> controller_links() const = 0;
  struct HeldRoute {
    TextName name;
    std::string link_id;
  };
  [[nodiscard]] virtual std::vector<HeldRoute> controller_held_routes() const = 0;
  // Runs when every worker has applied what was changed so far.
  virtual void controller_applied(std::move_only_function<void()> call) = 0;
  virtual void controller_log(std::string text) = 0;
};

}  // namespace slipway
