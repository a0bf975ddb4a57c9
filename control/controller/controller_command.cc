#include "controller/controller_command.h"

#include <algorithm>

namespace slipway {
namespace {

std::string text_of(const std::expected<void, std::string>& result) { return result ? std::string() : result.error(); }

TextName text_name(const ControllerName& name) { return {.component = name.text, .id = name.encoded ? name.name.id : kNullId}; }

std::string route_fault(const ControllerRoute& route) {
  if (std::ranges::any_of(route.name.text, [](const auto& part) { return part.empty(); })) {
    return "the route's name has no text: give `str_name` with three parts";
  }
  if (!route.link_id || route.link_id->empty()) {
    return "link_id cannot be empty";
  }
  return {};
}

void disconnect(const std::string& link_id, ControllerBackend& backend, CommandOutcome& out) {
  out.connections.push_back({link_id, link_id.empty() ? "link_id cannot be empty" : text_of(backend.controller_disconnect(link_id))});
}

void set_route(bool add, const ControllerRoute& route, ControllerBackend& backend, CommandOutcome& out) {
  auto fault = route_fault(route);
  if (fault.empty()) {
    fault = text_of(backend.controller_route(add, text_name(route.name), *route.link_id));
  }
  out.routes.push_back({route.written, std::move(fault)});
}

void withdraw_others(const ConfigurationCommand& command, ControllerBackend& backend, CommandOutcome& out) {
  for (const auto& held : backend.controller_held_routes()) {
    const bool wanted = std::ranges::any_of(
        command.set, [&](const auto& route) { return route.link_id == held.link_id && text_name(route.name) == held.name; });
    if (!wanted) {
      out.routes.push_back({encode_route(held.name, held.link_id), text_of(backend.controller_route(false, held.name, held.link_id))});
    }
  }
  for (const auto& link : backend.controller_links()) {
    if (std::ranges::none_of(command.connect, [&](const auto& connection) { return connection.link_id == link; })) {
      disconnect(link, backend, out);
    }
  }
}

}  // namespace

CommandOutcome carry_out(const ConfigurationCommand& command, ControllerBackend& backend) {
  CommandOutcome out;
  if (command.reconcile) {
    withdraw_others(command, backend, out);
  }
  for (const auto& link : command.disconnect) {
    disconnect(link, backend, out);
  }
  for (const auto& connection : command.connect) {
    if (!(command.reconcile && connection.link_id.empty())) {  // of a desired state they are passed over
      out.connections.push_back({connection.link_id, text_of(backend.controller_connect(connection))});
    }
  }
  for (const auto& route : command.set) {
    set_route(true, route, backend, out);
  }
  for (const auto& route : command.remove) {
    set_route(false, route, backend, out);
  }
  return out;
}

}  // namespace slipway
