#pragma once
// Sockets as the control thread opens them: bind and listen, connect, with errors that say what to do. Everything
// is non-blocking and closed on exec. Control thread.

#include <cstdint>
#include <expected>
#include <string>

#include "node/settings.h"

namespace slipway {

// A listening stream socket or a bound datagram socket. A Unix socket file whose owner is dead is replaced; its
// folder is made when it is missing. `mode`: permissions of the file.
std::expected<int, std::string> open_listening(const SocketAddress& address, std::uint32_t mode);

// A stream socket whose connect() was begun (or has succeeded).
std::expected<int, std::string> begin_connect(const SocketAddress& address);
// 0 when the connection stands, else errno.
int connect_result(int fd);

// A datagram socket on any port, of the family of `peer`.
std::expected<int, std::string> open_datagram_towards(const IpEndpoint& peer);

// Removes the file of a Unix socket if it is still the one that `fd` is bound to.
void remove_socket_file(int fd, const std::string& path);

// One connection of a listener, or -1 with errno. `peer`: its address, for people.
int accept_one(int listener, SocketKind kind, std::string& peer);

bool is_loopback(const IpEndpoint& endpoint);

}  // namespace slipway
