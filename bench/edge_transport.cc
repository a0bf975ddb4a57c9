// The byte-stream half of an edge in memory: a client's messages through feed and gather of both sides, against bare
// nghttp2 doing the same with copies (a message is put behind its prefix in a queue, copied into DATA frames by the
// library, collected again, and copied out whole by its prefix; windows open by themselves). Both arms: one connection,
// gRPC's method, the same windows, bursts of 32 messages. What lies between the two sides copies once, as the kernel would.

#include <fmt/format.h>
#include <nghttp2/nghttp2.h>

#include <array>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <memory>
#include <vector>

#include "edge/transport.h"
#include "harness.h"

namespace slipway::bench {
namespace {

constexpr std::size_t kBurst = 32;
constexpr std::size_t kPieceBytes = 32u << 10;  // what a receive buffer of a socket worker holds

[[noreturn]] void fail(const std::string& text) {
  fmt::print(stderr, "edge_transport: {}\n", text);
  std::exit(1);
}

// Bytes under way between two sides, in pieces as a socket would give them. A copy for both arms alike: the kernel's.
class Wire {
 public:
  void put(const void* data, std::size_t bytes) {
    const auto* at = static_cast<const std::byte*>(data);
    bytes_.insert(bytes_.end(), at, at + bytes);
  }
  template <class Take>
  void drain(Take&& take) {
    for (std::size_t at = 0; at < bytes_.size(); at += kPieceBytes) {
      take(std::span<const std::byte>(bytes_).subspan(at, std::min(kPieceBytes, bytes_.size() - at)));
    }
    bytes_.clear();
  }
  [[nodiscard]] bool empty() const { return bytes_.empty(); }

 private:
  std::vector<std::byte> bytes_;
};

// --- ours -------------------------------------------------------------------------------------------
class Ours {
 public:
  explicit Ours(std::size_t message_bytes) : message_(message_bytes, std::byte{0x5A}) {
    auto sc = std::make_shared<TransportConfig>();
    auto cc = std::make_shared<TransportConfig>();
    cc->role = TransportRole::kClient;
    cc->authority = "127.0.0.1:46357";
    const auto ignore = [](void*, std::uint64_t) {};
    server_ = Transport::create(sc, {.memory = &memory_, .events = &server_events_, .release = ignore}, {});
    client_ = Transport::create(cc, {.memory = &memory_, .events = &client_events_, .release = ignore}, {});
    stream_ = client_->open_stream();
    move();
  }

  std::uint64_t burst() {
    for (std::size_t i = 0; i < kBurst; ++i) {
      // Two pieces, as the translation of a message gives them: what is written anew, and what is referenced.
      const std::size_t head = std::min<std::size_t>(message_.size(), 48);
      const iovec pieces[] = {{message_.data(), head}, {message_.data() + head, message_.size() - head}};
      if (client_->write_message(stream_, pieces, i) >= WriteResult::kTooLarge) {
        fail("a message was refused");
      }
    }
    const std::uint64_t before = received_;
    while (received_ - before < kBurst) {
      move();
    }
    return kBurst;
  }

 private:
  void move() {
    one_way(*client_, *server_, server_events_);
    one_way(*server_, *client_, client_events_);
  }
  void one_way(Transport& from, Transport& to, TransportEvents& events) {
    for (;;) {
      iovec pieces[1024];
      const std::size_t count = from.gather(pieces);
      std::size_t bytes = 0;
      for (std::size_t i = 0; i < count; ++i) {
        wire_.put(pieces[i].iov_base, pieces[i].iov_len);
        bytes += pieces[i].iov_len;
      }
      if (bytes == 0) {
        return;
      }
      from.consumed(bytes);
      wire_.drain([&](std::span<const std::byte> piece) {
        to.feed(piece, {}, {});
        std::size_t held = 0;
        for (const TransportEvent& e : events) {
          held += e.bytes.size();
          received_ += e.kind == TransportEventKind::kMessage && e.end ? 1 : 0;
        }
        events.clear();
        to.release(stream_, held);
      });
    }
  }

  std::vector<std::byte> message_;
  TransportMemory memory_{64u << 20};
  TransportEvents server_events_, client_events_;
  std::unique_ptr<Transport> server_, client_;
  Wire wire_;
  std::int32_t stream_ = 0;
  std::uint64_t received_ = 0;
};

// --- bare nghttp2 -----------------------------------------------------------------------------------
class Bare {
 public:
  explicit Bare(std::size_t message_bytes) : message_(message_bytes, std::byte{0x5A}) {
    for (std::size_t i = 0; i < 4; ++i) {
      prefix_[1 + i] = static_cast<std::byte>(message_bytes >> (24 - 8 * i));
    }
    nghttp2_session_callbacks* callbacks = nullptr;
    nghttp2_session_callbacks_new(&callbacks);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_server_new(&server_, callbacks, this);
    nghttp2_session_client_new(&client_, callbacks, this);
    nghttp2_session_callbacks_del(callbacks);
    const nghttp2_settings_entry settings[] = {{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 1u << 20}};
    nghttp2_submit_settings(server_, 0, settings, 1);
    nghttp2_submit_settings(client_, 0, settings, 1);
    nghttp2_session_set_local_window_size(server_, 0, 0, 1 << 20);
    const auto nv = [](const char* name, const char* value) {
      return nghttp2_nv{reinterpret_cast<std::uint8_t*>(const_cast<char*>(name)), reinterpret_cast<std::uint8_t*>(const_cast<char*>(value)),
                        std::strlen(name), std::strlen(value), 0};
    };
    const nghttp2_nv headers[] = {nv(":method", "POST"), nv(":scheme", "http"), nv(":path", kOpenChannelPath), nv(":authority", "x"),
                                  nv("te", "trailers"), nv("content-type", "application/grpc")};
    const nghttp2_data_provider source{.source = {.ptr = this}, .read_callback = read};
    stream_ = nghttp2_submit_request(client_, nullptr, headers, std::size(headers), &source, nullptr);
    move();
  }
  ~Bare() {
    nghttp2_session_del(server_);
    nghttp2_session_del(client_);
  }

  std::uint64_t burst() {
    for (std::size_t i = 0; i < kBurst; ++i) {
      queue_.insert(queue_.end(), prefix_.begin(), prefix_.end());
      queue_.insert(queue_.end(), message_.begin(), message_.end());
    }
    nghttp2_session_resume_data(client_, stream_);
    const std::uint64_t before = received_;
    while (received_ - before < kBurst) {
      move();
    }
    return kBurst;
  }

 private:
  void move() {
    one_way(client_, server_);
    one_way(server_, client_);
  }
  void one_way(nghttp2_session* from, nghttp2_session* to) {
    const std::uint8_t* data = nullptr;
    for (ssize_t bytes = 0; (bytes = nghttp2_session_mem_send(from, &data)) > 0;) {
      wire_.put(data, static_cast<std::size_t>(bytes));
    }
    wire_.drain([&](std::span<const std::byte> piece) {
      if (nghttp2_session_mem_recv(to, reinterpret_cast<const std::uint8_t*>(piece.data()), piece.size()) < 0) {
        fail("nghttp2 failed");
      }
    });
  }
  static ssize_t read(nghttp2_session*, std::int32_t, std::uint8_t* out, std::size_t room, std::uint32_t*, nghttp2_data_source*, void* context) {
    auto& self = *static_cast<Bare*>(context);
    const std::size_t bytes = std::min(room, self.queue_.size() - self.sent_);
    if (bytes == 0) {
      self.queue_.clear();
      self.sent_ = 0;
      return NGHTTP2_ERR_DEFERRED;
    }
    std::memcpy(out, self.queue_.data() + self.sent_, bytes);
    self.sent_ += bytes;
    return static_cast<ssize_t>(bytes);
  }
  static int on_data(nghttp2_session*, std::uint8_t, std::int32_t, const std::uint8_t* data, std::size_t bytes, void* context) {
    auto& self = *static_cast<Bare*>(context);
    const auto* at = reinterpret_cast<const std::byte*>(data);
    self.partial_.insert(self.partial_.end(), at, at + bytes);
    std::size_t begin = 0;
    while (self.partial_.size() - begin >= 5) {
      std::size_t length = 0;
      for (std::size_t i = 1; i < 5; ++i) {
        length = length << 8 | static_cast<std::size_t>(self.partial_[begin + i]);
      }
      if (self.partial_.size() - begin < 5 + length) {
        break;
      }
      self.whole_.assign(self.partial_.data() + begin + 5, self.partial_.data() + begin + 5 + length);
      begin += 5 + length;
      ++self.received_;
    }
    self.partial_.erase(self.partial_.begin(), self.partial_.begin() + static_cast<std::ptrdiff_t>(begin));
    return 0;
  }
  static int on_frame(nghttp2_session* session, const nghttp2_frame* frame, void* context) {
    auto& self = *static_cast<Bare*>(context);
    if (session == self.server_ && frame->hd.type == NGHTTP2_HEADERS) {
      nghttp2_nv status{reinterpret_cast<std::uint8_t*>(const_cast<char*>(":status")), reinterpret_cast<std::uint8_t*>(const_cast<char*>("200")), 7, 3, 0};
      nghttp2_submit_headers(session, 0, frame->hd.stream_id, nullptr, &status, 1, nullptr);
    }
    return 0;
  }

  std::vector<std::byte> message_;
  std::array<std::byte, 5> prefix_{};
  std::vector<std::byte> queue_;
  std::vector<std::byte> partial_;
  std::vector<std::byte> whole_;
  std::size_t sent_ = 0;
  nghttp2_session* server_ = nullptr;
  nghttp2_session* client_ = nullptr;
  Wire wire_;
  std::int32_t stream_ = 0;
  std::uint64_t received_ = 0;
};

std::size_t resident_bytes() {
  std::ifstream file("/proc/self/statm");
  std::size_t all = 0, resident = 0;
  file >> all >> resident;
  return resident * 4096;
}

// What a server's half of an idle connection takes, its stream open and nothing waiting: allocated, and touched.
void measure_idle(Report& report) {
  constexpr std::size_t kIdle = 2000;
  TransportMemory memory(1u << 30);
  TransportEvents events;
  const auto server_config = std::make_shared<TransportConfig>();
  auto client_config = std::make_shared<TransportConfig>();
  client_config->role = TransportRole::kClient;
  client_config->authority = "127.0.0.1:46357";
  std::vector<std::unique_ptr<Transport>> idle;
  idle.reserve(kIdle);
  const auto ignore = [](void*, std::uint64_t) {};
  std::vector<std::byte> start;
  {
    const auto client = Transport::create(client_config, {.memory = &memory, .events = &events, .release = ignore}, {});
    (void)client->open_stream();
    iovec pieces[16];
    for (std::size_t i = 0, count = client->gather(pieces); i < count; ++i) {
      const auto* at = static_cast<const std::byte*>(pieces[i].iov_base);
      start.insert(start.end(), at, at + pieces[i].iov_len);
    }
  }
  const std::size_t allocated = memory.account().used_bytes();
  const std::size_t resident = resident_bytes();
  for (std::size_t i = 0; i < kIdle; ++i) {
    Transport& transport = *idle.emplace_back(Transport::create(server_config, {.memory = &memory, .events = &events, .release = ignore}, {}));
    transport.feed(start, {}, {});
    iovec pieces[16];
    std::size_t bytes = 0;
    for (std::size_t n = 0, count = transport.gather(pieces); n < count; ++n) {
      bytes += pieces[n].iov_len;
    }
    transport.consumed(bytes);
    events.clear();
  }
  report.figures.emplace_back("bytes allocated, an idle connection", static_cast<double>(memory.account().used_bytes() - allocated) / kIdle);
  report.figures.emplace_back("bytes resident, an idle connection", static_cast<double>(resident_bytes() - resident) / kIdle);
}

int run(const Options& options) {
  Report report{.bench = "edge_transport"};
  for (const auto& [name, bytes] : {std::pair{"64 B", std::size_t{64}}, std::pair{"1 KiB", std::size_t{1024}}, std::pair{"16 KiB", std::size_t{16'384}}}) {
    Ours ours(bytes);
    Bare bare(bytes);
    report.comparisons.push_back(compare(name, [&](std::uint64_t ns) { return Work{run_for(ns, [&] { return ours.burst(); })}; },
                                         [&](std::uint64_t ns) { return Work{run_for(ns, [&] { return bare.burst(); })}; }, options));
  }
  measure_idle(report);
  return print_report(report, options);
}

}  // namespace
}  // namespace slipway::bench

int main(int argc, char** argv) { return slipway::bench::run(slipway::bench::parse_options(argc, argv)); }
