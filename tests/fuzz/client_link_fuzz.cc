// What a node sends to a client: the input is written to the client's end of a connection after a proper hello, and
// the link must live on or end in good order. A stream link, with one application that subscribes.

#include <arpa/inet.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <string>

#include "client/application.h"

namespace {

using namespace slipway;

struct Listener {
  int fd = -1;
  std::string path;
  Listener() : path("/tmp/slipway-client-fuzz-" + std::to_string(getpid())) {
    unlink(path.c_str());
    fd = socket(AF_UNIX, SOCK_STREAM, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
    if (bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 || listen(fd, 8) != 0) {
      std::abort();
    }
  }
  ~Listener() {
    close(fd);
    unlink(path.c_str());
  }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static Listener listener;
  static std::uint64_t now = 1'000'000'000;
  auto loop = std::move(*Loop::create([] { return now; }));
  std::size_t received = 0;
  auto link = std::move(*ClientLink::open(*loop, {.address = "unix://" + listener.path, .reconnect = false}));
  {
    ClientApplication application(*link, *parse_name("o/n/s/0x1"), {.on_message = [&](const ClientMessage& m) { received += m.payload().size() + m.source_text().size(); }});
    application.subscribe_self();
    loop->turn(0);
    const int node = accept(listener.fd, nullptr, nullptr);
    const auto send_frame = [&](std::span<const std::byte> frame) {
      const auto length = static_cast<std::uint32_t>(frame.size());
      (void)!write(node, &length, sizeof length);
      (void)!write(node, frame.data(), frame.size());
    };
    send_frame(encode_link(HelloReplyBody{.accepted = true}));
    loop->turn(0);
    // First byte: raw, or as bodies of frames of this kind to our name.
    if (size > 0 && data[0] % 6 != 0) {
      std::vector<std::byte> frame(kFrameHeaderBytes + size - 1);
      store_header(frame.data(), {.kind = static_cast<FrameKind>(data[0] % 6), .fanout = data[0] / 6u, .destination = application.hashed_name(), .source = application.hashed_name()});
      std::memcpy(frame.data() + kFrameHeaderBytes, data + 1, size - 1);
      send_frame(frame);
    } else if (size > 1) {
      (void)!write(node, data + 1, size - 1);
    }
    for (int i = 0; i < 3; ++i) {
      now += 1'000'000;
      loop->turn(0);
    }
    close(node);
    loop->turn(0);
  }
  link.reset();
  loop->turn(0);
  return received == ~std::size_t{0} ? 1 : 0;
}
