#include "app/connection.h"

#include <vector>

namespace slipway {

std::string_view connection_state_text(ConnectionState state) {
  switch (state) {
    case ConnectionState::kConnecting: return "connecting";
    case ConnectionState::kUp: return "up";
    case ConnectionState::kWaiting: return "waiting";
    case ConnectionState::kClosed: return "closed";
  }
  return "unknown";
}

SendStatus AppPort::send_parts(const FrameHeader& header, std::span<const std::byte> body, std::span<const std::byte> rest) {
  std::vector<std::byte> joined;
  joined.reserve(body.size() + rest.size());
  joined.insert(joined.end(), body.begin(), body.end());
  joined.insert(joined.end(), rest.begin(), rest.end());
  return send(header, joined);
}

std::expected<std::shared_ptr<Connection>, AppError> Connection::open(Loop& loop, ConnectOptions options) {
  const std::string_view address = options.address;
  for (const std::string_view native : {"tcp://", "unix://", "udp://"}) {
    if (address.starts_with(native)) {
      return open_native_connection(loop, options);
    }
  }
  for (const std::string_view upstream : {"http://", "https://", "grpc://", "ws://", "wss://"}) {
    if (address.starts_with(upstream)) {
      return open_upstream_connection(loop, options);
    }
  }
  return std::unexpected(AppError(AppFault::kAddress, "'" + options.address + "' begins with none of tcp, unix, udp (native), "
                                                      "http, https, grpc, ws, wss (upstream's protocol)"));
}

}  // namespace slipway
