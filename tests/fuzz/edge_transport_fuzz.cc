// The byte-stream state machine of an edge under any bytes: HTTP/2 with gRPC as server and client, with and without TLS
// below, in pieces that the input chooses, with messages written, windows opened late, streams ended and time passing
// in between. First byte: which side, which layers. Then commands of one byte, some with a length and that many bytes.
//
// Whatever comes: no bad access, memory within its bound, events in an order that can be, every token given back once.

#include <openssl/evp.h>
#include <openssl/sha.h>

#include <algorithm>
#include <cstring>
#include <set>
#include <string>

#include "edge/transport.h"
#include "require.h"

namespace slipway {
namespace {

constexpr std::size_t kMemoryBytes = 4u << 20;

struct Fuzzed {
  TransportMemory memory{kMemoryBytes};
  TransportEvents events;
  std::unique_ptr<Transport> transport;
  TransportTime now{.now_ns = 1'000'000'000, .unix_s = 1'700'000'000};
  std::set<std::uint64_t> held;
  std::set<std::int32_t> open;
  std::set<std::int32_t> inside;  // streams inside a message
  std::size_t unreleased = 0;
  std::int32_t last_stream = 1;
  std::uint64_t next_token = 1;
  bool failed = false;
  std::vector<std::byte> text = std::vector<std::byte>(5'000'000);

  void on_event(const TransportEvent& e) {
    FUZZ_REQUIRE(!failed);  // nothing follows a failure
    switch (e.kind) {
      case TransportEventKind::kStreamOpen:
        FUZZ_REQUIRE(open.insert(e.stream).second);
        last_stream = e.stream;
        break;
      case TransportEventKind::kMessage: {
        FUZZ_REQUIRE(open.contains(e.stream) && e.begin != inside.contains(e.stream));
        e.end ? (void)inside.erase(e.stream) : (void)inside.insert(e.stream);
        std::size_t sum = 0;  // every byte can be read
        for (const std::byte b : e.bytes) {
          sum += static_cast<std::size_t>(b);
        }
        asm volatile("" : : "r"(sum));
        unreleased += e.bytes.size();
        break;
      }
      case TransportEventKind::kStreamClosed:
        open.erase(e.stream);
        inside.erase(e.stream);
        break;
      case TransportEventKind::kFailed:
        FUZZ_REQUIRE(transport->failed() && !transport->error().text.empty());
        failed = true;
        FUZZ_REQUIRE(open.empty());
        break;
      case TransportEventKind::kReady:
      case TransportEventKind::kHalfClosed:
      case TransportEventKind::kGoaway:
        break;
    }
  }
  void drain() {
    const TransportEvents batch = std::move(events);
    events.clear();
    for (const TransportEvent& e : batch) {
      on_event(e);
    }
  }
  void feed(const std::uint8_t* data, std::size_t bytes) {
    bool again = true;
    for (std::size_t used = 0; again || used < bytes;) {
      const std::unique_ptr<std::byte[]> input(new std::byte[bytes - used]);
      std::memcpy(input.get(), data + used, bytes - used);
      const std::size_t room_bytes = transport->needs_room() ? kEdgeRoomBytes : 0;
      const std::unique_ptr<std::byte[]> room(new std::byte[room_bytes]);
      const FeedResult result = transport->feed({input.get(), bytes - used}, {room.get(), room_bytes}, now);
      drain();
      FUZZ_REQUIRE(result.used <= bytes - used && result.room_used <= room_bytes);
      FUZZ_REQUIRE(result.again || result.used == bytes - used);
      used += result.used;
      again = result.again;
    }
  }
  void send(std::size_t limit) {
    iovec pieces[64];
    for (std::size_t sent = 0; sent < limit;) {
      const std::size_t count = transport->gather(pieces);
      drain();
      std::size_t bytes = 0;
      for (std::size_t i = 0; i < count && sent + bytes < limit; ++i) {
        FUZZ_REQUIRE(pieces[i].iov_len > 0);
        std::size_t sum = 0;
        for (std::size_t b = 0; b < pieces[i].iov_len; ++b) {
          sum += static_cast<const std::uint8_t*>(pieces[i].iov_base)[b];
        }
        asm volatile("" : : "r"(sum));
        bytes += std::min(pieces[i].iov_len, limit - sent - bytes);
      }
      if (bytes == 0) {
        return;
      }
      transport->consumed(bytes);
      sent += bytes;
    }
  }
  // A WebSocket server's right answer to the request that was sent: nobody guesses it.
  void answer_upgrade() {
    iovec pieces[4];
    const std::size_t count = transport->gather(pieces);
    std::string request;
    for (std::size_t i = 0; i < count; ++i) {
      request.append(static_cast<const char*>(pieces[i].iov_base), pieces[i].iov_len);
    }
    drain();
    const std::size_t key = request.find("Sec-WebSocket-Key: ");
    if (key == std::string::npos) {
      return;
    }
    const std::string proof = request.substr(key + 19, 24) + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    std::uint8_t digest[SHA_DIGEST_LENGTH];
    SHA1(reinterpret_cast<const std::uint8_t*>(proof.data()), proof.size(), digest);
    std::uint8_t base64[32] = {};
    EVP_EncodeBlock(base64, digest, sizeof(digest));
    const std::string answer = "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " +
                               std::string(reinterpret_cast<const char*>(base64)) + "\r\n\r\n";
    feed(reinterpret_cast<const std::uint8_t*>(answer.data()), answer.size());
  }
  void write(std::size_t bytes) {
    const std::uint64_t token = next_token++;
    const iovec pieces[] = {{text.data(), bytes / 3}, {text.data() + bytes / 3, bytes - bytes / 3}};
    held.insert(token);
    if (transport->write_message(last_stream, pieces, token) != WriteResult::kQueued) {
      FUZZ_REQUIRE(held.erase(token) == 1);
    }
    drain();
  }
};

std::shared_ptr<TransportConfig> config_of(std::uint8_t choice) {
  auto config = std::make_shared<TransportConfig>();
  config->role = (choice & 1) != 0 ? TransportRole::kClient : TransportRole::kServer;
  config->authority = "fuzz";
  config->max_streams = 4;
  config->max_age_ms = 3'600'000;
  config->max_age_grace_ms = 60'000;
  if ((choice & 2) != 0) {
    config->protocol = TransportProtocol::kWebSocket;
    config->path = "/";
    config->max_message_bytes = 100'000;
  }
  if ((choice & 4) != 0 && config->role == TransportRole::kClient) {
    static const auto tls = TlsContext::load({.server = false, .system_roots = false, .skip_verify = true, .tickets = false});
    config->tls = *tls;
  }
  if ((choice & 8) != 0 && config->role == TransportRole::kClient) {
    config->proxy = std::make_shared<ProxyTunnel>(ProxyTunnel{.target = "fuzz:1"});
  }
  return config;
}

}  // namespace
}  // namespace slipway

#ifndef EDGE_FUZZ_CHOICE
#define EDGE_FUZZ_CHOICE(byte) ((byte) & ~2)
#endif

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace slipway;
  if (size == 0) {
    return 0;
  }
  static Fuzzed* current = nullptr;
  auto fuzzed = std::make_unique<Fuzzed>();
  current = fuzzed.get();
  fuzzed->transport = Transport::create(
      config_of(static_cast<std::uint8_t>(EDGE_FUZZ_CHOICE(data[0]))),
      {.memory = &fuzzed->memory, .events = &fuzzed->events, .connection = 1, .release = [](void*, std::uint64_t token) { FUZZ_REQUIRE(current->held.erase(token) == 1); }},
      fuzzed->now);
  FUZZ_REQUIRE(fuzzed->transport != nullptr);
  if (const std::int32_t stream = fuzzed->transport->open_stream(); stream > 0) {
    fuzzed->last_stream = stream;
  }
  bool peer_closed = false;
  for (std::size_t at = 1; at < size && !peer_closed;) {
    const std::uint8_t command = data[at++];
    if (command < 0xF0) {  // so many bytes of input, by the hundred above 128
      const std::size_t bytes = std::min<std::size_t>(command < 128 ? command + 1u : (command - 127u) * 100u, size - at);
      fuzzed->feed(data + at, bytes);
      at += bytes;
      continue;
    }
    const std::size_t value = at < size ? data[at++] : 0;
    switch (command) {
      case 0xF0: fuzzed->send(value * 64 + 1); break;
      case 0xF1: fuzzed->write(value); break;
      case 0xF2: fuzzed->write(value * 1000); break;
      case 0xF3: fuzzed->write(4'194'304 - 128 + value); break;
      case 0xF4:
        fuzzed->transport->release(fuzzed->last_stream, fuzzed->unreleased);
        fuzzed->unreleased = 0;
        break;
      case 0xF5: fuzzed->transport->finish_stream(fuzzed->last_stream, static_cast<int>(value), "why"); break;
      case 0xF6: fuzzed->transport->reset_stream(fuzzed->last_stream); break;
      case 0xF7: (void)fuzzed->transport->open_stream(); break;
      case 0xF8: fuzzed->transport->close(fuzzed->now); break;
      case 0xF9: fuzzed->transport->drain(); break;
      case 0xFA:
        fuzzed->transport->peer_closed();
        peer_closed = true;
        break;
      case 0xFC: fuzzed->answer_upgrade(); break;
      default:
        fuzzed->now.now_ns += value * 1'000'000'000;
        fuzzed->transport->tick(fuzzed->now);
        FUZZ_REQUIRE(fuzzed->transport->next_deadline_ns() > 0);
        break;
    }
    fuzzed->drain();
    FUZZ_REQUIRE(fuzzed->memory.account().used_bytes() <= kMemoryBytes);
  }
  fuzzed->send(64u << 20);
  FUZZ_REQUIRE(!fuzzed->transport->failed() || fuzzed->transport->finished());
  fuzzed->transport.reset();
  FUZZ_REQUIRE(fuzzed->held.empty() && fuzzed->memory.account().used_bytes() == 0);
  return 0;
}
