#include "controller/controller_messages.h"

#include <fmt/format.h>

#include <protozero/pbf_builder.hpp>
#include <protozero/pbf_writer.hpp>

#include "controller/controller_bounds.h"
#include "grpc_server/proto_read.h"

namespace slipway {
namespace {

using namespace proto_read;
using protozero::pbf_writer;

// ControlMessage.
constexpr std::uint32_t kMessageId = 1;
constexpr std::uint32_t kCommand = 2;
constexpr std::uint32_t kRouteListRequest = 4;
constexpr std::uint32_t kRouteListResponse = 5;
constexpr std::uint32_t kConnectionListRequest = 6;
constexpr std::uint32_t kConnectionListResponse = 7;
constexpr std::uint32_t kLastPayload = 11;
constexpr std::uint32_t kCommandAck = 20;

// A tag is gone once its value was taken.
NameId id_of(pbf_reader reader) {
  NameId out{0, 0};
  while (reader.next()) {
    const std::uint32_t tag = reader.tag();
    if (tag == 1 || tag == 2) {
      const std::uint64_t half = number_of(reader, "a name's id");
      (tag == 1 ? out.high : out.low) = half;
    } else {
      reader.skip();
    }
  }
  return out;
}

Name encoded_of(pbf_reader reader) {
  Name out;
  while (reader.next()) {
    const std::uint32_t tag = reader.tag();
    if (tag >= 1 && tag <= 3) {
      const std::uint64_t hash = number_of(reader, "a name's hash");
      out.component[tag - 1] = hash;
    } else if (tag == 4) {
      out.id = id_of(inside(bytes_of(reader, kControllerMessageBytes, "a name's id")));
    } else {
      reader.skip();
    }
  }
  return out;
}

ControllerName name_of(pbf_reader reader) {
  ControllerName out;
  while (reader.next()) {
    if (reader.tag() == 1) {
      out.encoded = true;
      out.name = encoded_of(inside(bytes_of(reader, kControllerMessageBytes, "a name")));
    } else if (reader.tag() == 2) {
      auto text = inside(bytes_of(reader, kControllerMessageBytes, "a name's text"));
      while (text.next()) {
        const std::uint32_t tag = text.tag();
        if (tag >= 1 && tag <= 3) {
          out.text[tag - 1] = text_of(text, kMaxComponentBytes, "a part of a name");
        } else {
          text.skip();
        }
      }
    } else {
      reader.skip();
    }
  }
  return out;
}

ControllerRoute route_of(std::string_view written) {
  ControllerRoute out{.name = {}, .link_id = {}, .written = std::string(written)};
  auto reader = inside(written);
  while (reader.next()) {
    if (reader.tag() == 1) {
      out.name = name_of(inside(bytes_of(reader, kControllerMessageBytes, "a name")));
    } else if (reader.tag() == 2) {
      out.link_id = text_of(reader, kControllerIdBytes, "a link id");
    } else {
      reader.skip();
    }
  }
  return out;
}

ControllerConnection connection_of(pbf_reader reader) {
  ControllerConnection out;
  while (reader.next()) {
    if (reader.tag() == 1) {
      out.link_id = text_of(reader, kControllerIdBytes, "a link id");
    } else if (reader.tag() == 2) {
      out.config = text_of(reader, kControllerConfigBytes, "a connection's configuration");
    } else {
      reader.skip();
    }
  }
  return out;
}

template <class List>
void check_room(const List& list) {
  if (list.size() >= kControllerItems) {
    refuse(fmt::format("a command has more than {} entries of one kind", kControllerItems));
  }
}

ConfigurationCommand command_of(pbf_reader reader) {
  ConfigurationCommand out;
  while (reader.next()) {
    switch (reader.tag()) {
      case 1:
        check_room(out.connect);
        out.connect.push_back(connection_of(inside(bytes_of(reader, kControllerMessageBytes, "a connection"))));
        break;
      case 2:
      case 3: {
        auto& list = reader.tag() == 2 ? out.set : out.remove;
        check_room(list);
        list.push_back(route_of(bytes_of(reader, kControllerMessageBytes, "a route")));
        break;
      }
      case 4:
        check_room(out.disconnect);
        out.disconnect.push_back(text_of(reader, kControllerIdBytes, "a link id"));
        break;
      case 5:
        out.reconcile = number_of(reader, "`reconcile`") != 0;
        break;
      default:
        reader.skip();
    }
  }
  return out;
}

ControllerRequest request_of(pbf_reader reader) {
  ControllerRequest out;
  while (reader.next()) {
    const std::uint32_t tag = reader.tag();
    if (tag == kMessageId) {
      out.message_id = text_of(reader, kControllerIdBytes, "the message id");
    } else if (tag == kCommand) {
      out.payload = command_of(inside(bytes_of(reader, kControllerMessageBytes, "a command")));
    } else if (tag == kRouteListRequest || tag == kConnectionListRequest) {
      (void)bytes_of(reader, kControllerMessageBytes, "a request");
      if (tag == kRouteListRequest) {
        out.payload = ListRoutes{};
      } else {
        out.payload = ListConnections{};
      }
    } else {
      if (tag <= kLastPayload || tag == kCommandAck) {
        out.payload = NotForNodes{tag};
      }
      reader.skip();
    }
  }
  return out;
}

// --- out --------------------------------------------------------------------------------------------

void write_name(pbf_writer& parent, std::uint32_t field, const ControllerName& name) {
  pbf_writer whole(parent, field);
  {
    pbf_writer encoded(whole, 1);
    for (std::uint32_t i = 0; i < 3; ++i) {
      encoded.add_uint64(i + 1, name.name.component[i]);
    }
    pbf_writer id(encoded, 4);
    id.add_uint64(1, name.name.id.high);
    id.add_uint64(2, name.name.id.low);
  }
  pbf_writer text(whole, 2);
  for (std::uint32_t i = 0; i < 3; ++i) {
    text.add_string(i + 1, name.text[i]);
  }
}

void write_connection(pbf_writer& parent, std::uint32_t field, const ControllerConnectionRow& row) {
  pbf_writer entry(parent, field);
  entry.add_uint64(1, row.id);
  entry.add_enum(2, static_cast<std::int32_t>(row.link_class));
  entry.add_string(3, row.config);
  if (row.link_id) {
    entry.add_string(4, *row.link_id);
  }
  entry.add_enum(5, row.outgoing ? 0 : 1);
  if (row.node_id) {
    entry.add_string(6, *row.node_id);
  }
}

// ControlMessage { message_id, payload { original_message_id, ... } }
template <class Fill>
std::string control_message(std::string_view message_id, std::uint32_t payload, std::string_view answered, Fill fill) {
  std::string out;
  pbf_writer message(out);
  message.add_string(kMessageId, message_id.data(), message_id.size());
  {
    pbf_writer inner(message, payload);
    inner.add_string(1, answered.data(), answered.size());
    fill(inner);
  }
  return out;
}

constexpr std::size_t kRowBytes = 64;  // keys, lengths and numbers of an entry

}  // namespace

static_assert(static_cast<int>(LinkClass::kLocal) == 0 && static_cast<int>(LinkClass::kRemote) == 1 && static_cast<int>(LinkClass::kPeer) == 2 &&
                  static_cast<int>(LinkClass::kEdge) == 3,
              "the values of ConnectionType");

std::expected<ControllerRequest, std::string> decode_controller_request(std::span<const std::byte> message) {
  return decode_message(message, request_of);
}

std::string encode_connections(std::string_view message_id, std::string_view answered, std::span<const ControllerConnectionRow> rows, bool done) {
  return control_message(message_id, kConnectionListResponse, answered, [&](pbf_writer& list) {
    for (const auto& row : rows) {
      write_connection(list, 2, row);
    }
    list.add_bool(3, done);
  });
}

std::string encode_routes(std::string_view message_id, std::string_view answered, std::span<const ControllerRouteRow> rows, bool done) {
  return control_message(message_id, kRouteListResponse, answered, [&](pbf_writer& list) {
    for (const auto& row : rows) {
      pbf_writer entry(list, 2);
      write_name(entry, 1, row.name);
      for (const auto& connection : row.connections) {
        write_connection(entry, 2, connection);
      }
    }
    list.add_bool(3, done);
  });
}

std::string encode_command_ack(std::string_view message_id, std::string_view answered, std::span<const ConnectionAck> connections,
                               std::span<const RouteAck> routes) {
  return control_message(message_id, kCommandAck, answered, [&](pbf_writer& ack) {
    for (const auto& connection : connections) {
      pbf_writer entry(ack, 2);
      entry.add_string(1, connection.link_id);
      entry.add_bool(2, connection.error.empty());
      entry.add_string(3, connection.error);
    }
    for (const auto& route : routes) {
      pbf_writer entry(ack, 3);
      entry.add_message(1, route.route);
      entry.add_bool(2, route.error.empty());
      entry.add_string(3, route.error);
    }
  });
}

std::size_t encoded_bytes(const ControllerConnectionRow& row) {
  return kRowBytes + row.config.size() + (row.link_id ? row.link_id->size() : 0) + (row.node_id ? row.node_id->size() : 0);
}

std::size_t encoded_bytes(const ControllerRouteRow& row) {
  std::size_t bytes = 2 * kRowBytes + row.name.text[0].size() + row.name.text[1].size() + row.name.text[2].size();
  for (const auto& connection : row.connections) {
    bytes += encoded_bytes(connection);
  }
  return bytes;
}

std::string encode_route(const TextName& name, const std::optional<std::string>& link_id) {
  std::string out;
  pbf_writer route(out);
  write_name(route, 1, {.text = name.component, .name = name.hashed(), .encoded = true});
  if (link_id) {
    route.add_string(2, *link_id);
  }
  return out;
}

}  // namespace slipway
