#include "native_wire.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "frame/body.h"

namespace slipway::bench {
namespace {

[[noreturn]] void die(const std::string& why) {
  std::fprintf(stderr, "native: %s\n", why.c_str());
  std::exit(1);
}

void write_all(int fd, const void* bytes, std::size_t count) {
  const auto* at = static_cast<const char*>(bytes);
  while (count > 0) {
    const ssize_t sent = write(fd, at, count);
    if (sent <= 0) {
      die(fmt::format("a server does not read: {}", strerror(errno)));
    }
    at += sent;
    count -= static_cast<std::size_t>(sent);
  }
}

void read_exactly(int fd, void* bytes, std::size_t count) {
  auto* at = static_cast<char*>(bytes);
  while (count > 0) {
    const ssize_t got = read(fd, at, count);
    if (got <= 0) {
      die("a server closed the connection");
    }
    at += got;
    count -= static_cast<std::size_t>(got);
  }
}

void send_frame(int fd, std::span<const std::byte> frame) {
  const auto length = static_cast<std::uint32_t>(frame.size());
  write_all(fd, &length, sizeof length);
  write_all(fd, frame.data(), frame.size());
}

FrameBytes receive_frame(int fd) {
  std::uint32_t length = 0;
  read_exactly(fd, &length, sizeof length);
  if (length < kFrameHeaderBytes || length > kMaxControlFrameBytes) {
    die(fmt::format("slipwayd sent a frame of {} bytes", length));
  }
  FrameBytes frame(length);
  read_exactly(fd, frame.data(), length);
  return frame;
}

// NATS speaks lines.
std::string receive_line(int fd) {
  std::string line;
  char c = 0;
  while (c != '\n') {
    read_exactly(fd, &c, 1);
    line += c;
  }
  return line;
}

Name destination(Pattern pattern) {
  return pattern == Pattern::kOneToOne ? hash_name("bench", "native", "one", NameId{1, 1}) : hash_name("bench", "native", "many", NameId{1, 2});
}
const char* subject(Pattern pattern) { return pattern == Pattern::kOneToOne ? "bench.one" : "bench.many"; }

}  // namespace

int connect_and_greet(Server server, std::uint16_t port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  for (int tries = 0; connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0; ++tries) {
    if (tries == 100) {
      die(fmt::format("nothing listens on port {}: {}", port, strerror(errno)));
    }
    usleep(50'000);  // it is starting
  }
  const int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (server == Server::kSlipway) {
    send_frame(fd, encode_link(HelloBody{.version = "0.1.0", .node_id = "bench", .max_frame_bytes = kMaxFrameBytes}));
    const auto reply = decode_link(receive_frame(fd));
    const auto* hello = reply ? std::get_if<HelloReplyBody>(&*reply) : nullptr;
    if (hello == nullptr || !hello->accepted) {
      die(fmt::format("slipwayd refuses the link: {}", hello != nullptr ? hello->error : "it does not say hello"));
    }
  } else if (server == Server::kNats) {
    receive_line(fd);  // INFO
    const std::string hello = "CONNECT {\"verbose\":false,\"pedantic\":false,\"lang\":\"c\",\"version\":\"1\",\"protocol\":1}\r\nPING\r\n";
    write_all(fd, hello.data(), hello.size());
    while (receive_line(fd) != "PONG\r\n") {
    }
  }
  return fd;
}

void subscribe(Server server, int fd, Pattern pattern) {
  if (server == Server::kSlipway) {
    const FrameHeader header{.kind = FrameKind::kSubscribe, .destination = destination(pattern), .source = hash_name("bench", "native", "client", NameId{2, 2})};
    send_frame(fd, encode_subscribe(header, {.destination_text = {"bench", "native", pattern == Pattern::kOneToOne ? "one" : "many"}, .source_text = {"bench", "native", "client"}, .subscription_id = 1}));
    for (;;) {
      const auto frame = receive_frame(fd);
      if (frame_kind(frame.data()) != static_cast<std::uint8_t>(FrameKind::kSubscriptionAck)) {
        continue;
      }
      const auto ack = decode_subscription_ack(frame);
      if (!ack || !ack->success) {
        die(fmt::format("slipwayd refuses the subscription: {}", ack ? ack->error : ack.error()));
      }
      return;
    }
  }
  if (server == Server::kNats) {
    const std::string line = fmt::format("SUB {} {}\r\nPING\r\n", subject(pattern), pattern == Pattern::kOneToOne ? 1 : 2);
    write_all(fd, line.data(), line.size());
    while (receive_line(fd) != "PONG\r\n") {
    }
  }
}

std::string publish_bytes(Server server, Pattern pattern, std::size_t payload_bytes) {
  const std::string payload(payload_bytes, 'x');
  if (server == Server::kNats) {
    return fmt::format("PUB {} {}\r\n{}\r\n", subject(pattern), payload_bytes, payload);
  }
  // Ours, and the relay's, which carries the same bytes without looking at them.
  const FrameHeader header{.fanout = pattern == Pattern::kOneToOne ? 1u : 256u, .destination = destination(pattern), .source = hash_name("bench", "native", "client", NameId{2, 2})};
  const auto frame = encode_publish(header, {.payload = std::as_bytes(std::span(payload))});
  std::string out(kStreamPrefixBytes, '\0');
  store_le(out.data(), static_cast<std::uint32_t>(frame.size()));
  return out.append(reinterpret_cast<const char*>(frame.data()), frame.size());
}

std::size_t delivered_bytes(Server server, Pattern pattern, std::size_t payload_bytes) {
  if (server == Server::kNats) {
    return fmt::format("MSG {} {} {}\r\n", subject(pattern), pattern == Pattern::kOneToOne ? 1 : 2, payload_bytes).size() + payload_bytes + 2;
  }
  return publish_bytes(server, pattern, payload_bytes).size();
}

}  // namespace slipway::bench
