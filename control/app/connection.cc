#include "app/connection.h"

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
