#include "node/sockets.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>

namespace slipway {

namespace {

constexpr int kBacklog = 1024;
constexpr rlim_t kHighDescriptors = 256;       // room for listeners below the limit of open files
constexpr rlim_t kHighestDescriptor = 32'768;  // beyond any connection; the table of a process is as long as its highest number

struct Sockaddr {
  sockaddr_storage storage{};
  socklen_t length = 0;
  [[nodiscard]] const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
  [[nodiscard]] int family() const { return storage.ss_family; }
};

// Of a process that is killed the kernel ends the sockets with the highest numbers first. A listener must be gone before
// the connections: upstream's applications connect again at once, and never again after a connection that was taken
// and then reset.
int above_connections(int fd) {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur < 4 * kHighDescriptors) {
    return fd;
  }
  const int high = fcntl(fd, F_DUPFD_CLOEXEC, static_cast<int>(std::min<rlim_t>(limit.rlim_cur, kHighestDescriptor) - kHighDescriptors));
  if (high >= 0) {
    close(fd);
  }
  return high >= 0 ? high : fd;
}

// Congestion control that paces, as bbr does, sets a timer for every burst; from here to here there is nothing to congest.
// Every kernel has reno.
void prepare_tcp(int fd, bool loopback) {
  const int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (loopback) {
    static constexpr std::string_view kUnpaced = "reno";
    setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, kUnpaced.data(), kUnpaced.size());
  }
}

Sockaddr of_ip(const IpEndpoint& ip) {
  Sockaddr out;
  if (ip.family == 6) {
    auto& in6 = reinterpret_cast<sockaddr_in6&>(out.storage);
    in6.sin6_family = AF_INET6;
    in6.sin6_port = htons(ip.port);
    std::memcpy(&in6.sin6_addr, ip.address.data(), 16);
    out.length = sizeof in6;
  } else {
    auto& in = reinterpret_cast<sockaddr_in&>(out.storage);
    in.sin_family = AF_INET;
    in.sin_port = htons(ip.port);
    std::memcpy(&in.sin_addr, ip.address.data(), 4);
    out.length = sizeof in;
  }
  return out;
}

Sockaddr of(const SocketAddress& address) {
  if (address.kind != SocketKind::kUnix) {
    return of_ip(address.ip);
  }
  Sockaddr out;
  auto& un = reinterpret_cast<sockaddr_un&>(out.storage);
  un.sun_family = AF_UNIX;
  std::memcpy(un.sun_path, address.path.data(), std::min(address.path.size(), sizeof un.sun_path - 1));
  out.length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + address.path.size() + 1);
  return out;
}

std::unexpected<std::string> refuse(const SocketAddress& address, std::string_view step, int error, std::string_view remedy) {
  return std::unexpected(fmt::format("{}: {} failed: {}; {}", address.text(), step, std::strerror(error), remedy));
}

std::string bind_remedy(const SocketAddress& address, int error) {
  if (error == EADDRINUSE) {
    return fmt::format("another program has it (`ss -ln{}p 'sport = :{}'` shows which): stop that, or choose another port",
                       address.kind == SocketKind::kTcp ? "t" : "u", address.ip.port);
  }
  if (error == EADDRNOTAVAIL) {
    return "no interface has this address (`ip addr`): choose one that is there, or 0.0.0.0";
  }
  if (error == EACCES && address.kind != SocketKind::kUnix) {
    return "ports below 1024 need CAP_NET_BIND_SERVICE: choose another port or grant it";
  }
  return address.kind == SocketKind::kUnix ? "choose a path in a folder that this user may write to" : "choose another address";
}

// A socket file that is in the way: 0 when it is gone or was never there, else the reason in `why`.
bool clear_socket_file(const SocketAddress& address, std::string& why) {
  struct stat info {};
  if (lstat(address.path.c_str(), &info) != 0) {
    return true;
  }
  if (!S_ISSOCK(info.st_mode)) {
    why = fmt::format("{}: there is a file that is no socket; remove it or choose another path", address.text());
    return false;
  }
  const int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  const auto to = of(address);
  const bool alive = probe >= 0 && (connect(probe, to.get(), to.length) == 0 || errno == EAGAIN);
  if (probe >= 0) {
    close(probe);
  }
  if (alive) {
    why = fmt::format("{}: a running program listens there, maybe another slipwayd; stop it or choose another path", address.text());
    return false;
  }
  if (unlink(address.path.c_str()) != 0 && errno != ENOENT) {
    why = fmt::format("{}: cannot replace the file of a node that is gone: {}; remove it", address.text(), std::strerror(errno));
    return false;
  }
  return true;
}

void make_folder_of(const std::string& path) {
  const auto slash = path.rfind('/');
  if (slash != std::string::npos && slash != 0) {
    mkdir(path.substr(0, slash).c_str(), 0755);  // if it fails, bind says so
  }
}

}  // namespace

std::expected<int, std::string> open_listening(const SocketAddress& address, std::uint32_t mode) {
  const bool stream = address.kind != SocketKind::kUdp;
  const auto at = of(address);
  const int fd = socket(at.family(), (stream ? SOCK_STREAM : SOCK_DGRAM) | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) {
    return refuse(address, "making a socket", errno, "raise the limit of open files (`ulimit -n`)");
  }
  const int on = 1;
  if (address.kind == SocketKind::kUnix) {
    make_folder_of(address.path);
    std::string why;
    if (!clear_socket_file(address, why)) {
      close(fd);
      return std::unexpected(why);
    }
  } else if (address.kind == SocketKind::kTcp) {
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    prepare_tcp(fd, is_loopback(address.ip));  // what is accepted inherits it, before it would begin to pace
  }
  if (at.family() == AF_INET6) {
    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
  }
  const auto mask = umask(0777 & ~mode);
  const int bound = bind(fd, at.get(), at.length);
  const int error = errno;
  umask(mask);
  if (bound != 0) {
    close(fd);
    return refuse(address, "binding", error, bind_remedy(address, error));
  }
  if (stream && ::listen(fd, kBacklog) != 0) {
    const int why = errno;
    close(fd);
    return refuse(address, "listening", why, bind_remedy(address, why));
  }
  return above_connections(fd);
}

std::expected<int, std::string> begin_connect(const SocketAddress& address) {
  const auto to = of(address);
  const int fd = socket(to.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) {
    return refuse(address, "making a socket", errno, "raise the limit of open files (`ulimit -n`)");
  }
  if (address.kind == SocketKind::kTcp) {
    prepare_tcp(fd, is_loopback(address.ip));
  }
  if (connect(fd, to.get(), to.length) != 0 && errno != EINPROGRESS && errno != EAGAIN) {
    const int error = errno;
    close(fd);
    return refuse(address, "connecting", error, "is the other node running there?");
  }
  return fd;
}

int connect_result(int fd) {
  int error = 0;
  socklen_t length = sizeof error;
  if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) != 0) {
    return errno;
  }
  return error;
}

std::expected<int, std::string> open_datagram_towards(const IpEndpoint& peer) {
  const int fd = socket(peer.family == 6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) {
    return std::unexpected(fmt::format("making a UDP socket failed: {}; raise the limit of open files (`ulimit -n`)", std::strerror(errno)));
  }
  IpEndpoint any;
  any.family = peer.family;
  const auto at = of_ip(any);
  if (bind(fd, at.get(), at.length) != 0) {
    const int error = errno;
    close(fd);
    return std::unexpected(fmt::format("binding a UDP socket failed: {}", std::strerror(error)));
  }
  return fd;
}

void remove_socket_file(int fd, const std::string& path) {
  // While we listen nobody replaces the file (see clear_socket_file), so the path is still ours.
  sockaddr_un own{};
  socklen_t length = sizeof own;
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&own), &length) == 0 && own.sun_family == AF_UNIX && path == own.sun_path) {
    unlink(path.c_str());
  }
}

int accept_one(int listener, SocketKind kind, std::string& peer) {
  sockaddr_storage from{};
  socklen_t length = sizeof from;
  const int fd = accept4(listener, reinterpret_cast<sockaddr*>(&from), &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (fd < 0) {
    return -1;
  }
  if (kind == SocketKind::kUnix) {
    ucred who{};
    socklen_t size = sizeof who;
    peer = getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size) == 0 ? fmt::format("pid {} uid {}", who.pid, who.uid) : "unix";
    return fd;
  }
  IpEndpoint ip;
  if (from.ss_family == AF_INET6) {
    const auto& in6 = reinterpret_cast<const sockaddr_in6&>(from);
    ip.family = 6;
    ip.port = ntohs(in6.sin6_port);
    std::memcpy(ip.address.data(), &in6.sin6_addr, 16);
  } else {
    const auto& in = reinterpret_cast<const sockaddr_in&>(from);
    ip.family = 4;
    ip.port = ntohs(in.sin_port);
    std::memcpy(ip.address.data(), &in.sin_addr, 4);
  }
  prepare_tcp(fd, is_loopback(ip));
  peer = to_text(ip);
  return fd;
}

bool is_loopback(const IpEndpoint& endpoint) {
  if (endpoint.family == 4) {
    return endpoint.address[0] == 127;
  }
  IpEndpoint loopback;
  loopback.address[15] = 1;
  return endpoint.family == 6 && endpoint.address == loopback.address;
}

}  // namespace slipway
