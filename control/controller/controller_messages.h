#pragma once
// Messages of upstream's control service (controller.proto.v1, upstream-control 3) as values, and to and from protobuf.
// Pure. Decoding throws nothing, takes fields in any order, skips those that it does not know, and bounds every list and text.

#include <array>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/link.h"
#include "frame/name.h"

namespace slipway {

// A name as control messages have it: the text, and what the sender made of it.
struct ControllerName {
  std::array<std::string, 3> text;   // empty parts: none was given
  Name name;
  bool encoded = false;              // `name` was given
  friend bool operator==(const ControllerName&, const ControllerName&) = default;
};

struct ControllerConnection {        // to be made
  std::string link_id;
  std::string config;                // JSON
};
struct ControllerRoute {
  ControllerName name;
  std::optional<std::string> link_id;
  std::string written;               // as it came: acknowledgements echo it
};

// One entry of a list of connections.
struct ControllerConnectionRow {
  std::uint64_t id = 0;              // the node's number for it
  LinkClass link_class = LinkClass::kEdge;
  bool outgoing = false;
  std::string config = "{}";         // JSON; never a secret
  std::optional<std::string> link_id;
  std::optional<std::string> node_id;
};
struct ControllerRouteRow {
  ControllerName name;
  std::vector<ControllerConnectionRow> connections;
};

struct ListRoutes {};
struct ListConnections {};
struct ConfigurationCommand {
  std::vector<ControllerConnection> connect;
  std::vector<ControllerRoute> set;
  std::vector<ControllerRoute> remove;
  std::vector<std::string> disconnect;   // link ids
  bool reconcile = false;                // this is all there should be
};
struct NotForNodes {                     // answers, and registrations of nodes: nobody should send them to a node
  std::uint32_t field = 0;               // 0: nothing at all
};

struct ControllerRequest {
  std::string message_id;
  std::variant<NotForNodes, ListRoutes, ListConnections, ConfigurationCommand> payload;
};

// The error says what is wrong.
[[nodiscard]] std::expected<ControllerRequest, std::string> decode_controller_request(std::span<const std::byte> message);

struct ConnectionAck {
  std::string link_id;
  std::string error;                     // empty: success
};
struct RouteAck {
  std::string route;                     // as it came
  std::string error;
};

// Whole ControlMessages. `answered`: the request's message id.
[[nodiscard]] std::string encode_connections(std::string_view message_id, std::string_view answered,
                                             std::span<const ControllerConnectionRow> rows, bool done);
[[nodiscard]] std::string encode_routes(std::string_view message_id, std::string_view answered, std::span<const ControllerRouteRow> rows, bool done);
[[nodiscard]] std::string encode_command_ack(std::string_view message_id, std::string_view answered, std::span<const ConnectionAck> connections,
                                             std::span<const RouteAck> routes);
// How much room an entry takes, roughly and never less.
[[nodiscard]] std::size_t encoded_bytes(const ControllerConnectionRow& row);
[[nodiscard]] std::size_t encoded_bytes(const ControllerRouteRow& row);

// A Route for tests and tools: what ControllerRoute::written holds.
[[nodiscard]] std::string encode_route(const TextName& name, const std::optional<std::string>& link_id);

}  // namespace slipway
