#pragma once
// One side of a connection in memory, for tests and fuzzers: feeds a Transport in pieces of any size, each piece in a
// heap block of exactly its size, and keeps what comes out.

#include <cstdint>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "edge/transport.h"

namespace slipway::test {

inline std::string text_of(std::span<const std::byte> bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

struct Closed {
  std::int32_t stream;
  TransportFault fault;
  std::int32_t status;
  std::string message;
};

class Peer {
 public:
  explicit Peer(std::size_t memory_bytes = 64u << 20) : memory(memory_bytes) {}
  ~Peer() { transport.reset(); }

  bool make(std::shared_ptr<const TransportConfig> config) {
    transport = Transport::create(std::move(config),
                                  {.memory = &memory,
                                   .events = &events,
                                   .connection = 42,
                                   .release = [](void* self, std::uint64_t token) { static_cast<Peer*>(self)->on_release(token); },
                                   .context = this},
                                  now);
    return transport != nullptr;
  }

  // All bytes, in pieces of `piece` bytes (0: random sizes).
  void feed(std::string_view bytes, std::size_t piece = 1u << 20) {
    while (!bytes.empty()) {
      const std::size_t want = piece != 0 ? piece : 1 + random() % 37;
      const std::size_t take = std::min(want, bytes.size());
      feed_one(bytes.substr(0, take));
      bytes.remove_prefix(take);
    }
  }

  // What it wants to send, at most `limit` bytes of it, given as sent.
  std::string take(std::size_t limit = ~std::size_t{0}) {
    std::string out;
    while (out.size() < limit) {
      iovec pieces[16];
      const std::size_t count = transport->gather(pieces);
      drain_events();
      std::size_t bytes = 0;
      for (std::size_t i = 0; i < count && out.size() < limit; ++i) {
        const std::size_t part = std::min(pieces[i].iov_len, limit - out.size());
        out.append(static_cast<const char*>(pieces[i].iov_base), part);
        bytes += part;
      }
      if (bytes == 0) {
        break;
      }
      transport->consumed(bytes);
    }
    return out;
  }

  // A message whose memory is ours until it is told released; then it is overwritten, so that a late look is seen.
  WriteResult send(std::int32_t stream, const std::string& text, std::size_t pieces = 1) {
    auto block = std::make_unique<Block>();
    block->bytes = std::make_unique<char[]>(text.size() + 1);
    block->size = text.size();
    std::copy(text.begin(), text.end(), block->bytes.get());
    std::vector<iovec> parts;
    for (std::size_t at = 0, i = 0; i < pieces; ++i) {
      const std::size_t part = i + 1 == pieces ? text.size() - at : text.size() / pieces;
      parts.push_back({block->bytes.get() + at, part});
      at += part;
    }
    const std::uint64_t token = reinterpret_cast<std::uintptr_t>(block.get());
    held.insert(token);
    const WriteResult result = transport->write_message(stream, parts, token);
    if (result == WriteResult::kQueued) {
      (void)block.release();
    } else {
      held.erase(token);
    }
    return result;
  }

  void drain_events() {
    const auto batch = std::move(events);
    events.clear();
    for (const TransportEvent& e : batch) {
      on_event(e);
    }
  }

  std::mt19937 random{7};
  TransportMemory memory;
  TransportEvents events;
  std::unique_ptr<Transport> transport;
  TransportTime now{.now_ns = 1'000'000'000, .unix_s = 1'700'000'000};
  bool release_windows = true;
  std::size_t unreleased = 0;
  std::vector<std::int32_t> opened;
  std::vector<std::string> messages;
  std::vector<std::size_t> told_bytes;
  std::vector<Closed> closed;
  std::string partial;
  bool partial_begun = false;
  bool ready = false;
  bool goaway = false;
  std::vector<std::int32_t> half_closed;
  bool broken_order = false;  // parts of messages came in an order that cannot be
  bool failed = false;
  TransportFault fault = TransportFault::kNone;
  std::set<std::uint64_t> held;

 private:
  struct Block {
    std::unique_ptr<char[]> bytes;
    std::size_t size;
  };

  void feed_one(std::string_view bytes) {
    std::size_t used = 0;
    bool again = true;
    while (again || used < bytes.size()) {
      const std::size_t left = bytes.size() - used;
      const std::unique_ptr<std::byte[]> input(new std::byte[left]);
      const std::size_t room_bytes = transport->needs_room() ? kEdgeRoomBytes + random() % 20'000 : 0;
      const std::unique_ptr<std::byte[]> room(new std::byte[room_bytes]);
      std::copy_n(reinterpret_cast<const std::byte*>(bytes.data()) + used, left, input.get());
      const FeedResult result = transport->feed({input.get(), left}, {room.get(), room_bytes}, now);
      drain_events();
      broken_order = broken_order || result.used > left || result.room_used > room_bytes;
      used += result.used;
      again = result.again;
      if (!again && result.used == 0 && result.room_used == 0) {
        break;
      }
    }
    broken_order = broken_order || used != bytes.size();
  }

  void on_event(const TransportEvent& e) {
    broken_order = broken_order || e.connection != 42;
    switch (e.kind) {
      case TransportEventKind::kReady:
        ready = true;
        break;
      case TransportEventKind::kStreamOpen:
        opened.push_back(e.stream);
        break;
      case TransportEventKind::kMessage:
        broken_order = broken_order || e.begin == partial_begun;
        partial_begun = !e.end;
        partial += text_of(e.bytes);
        if (release_windows) {
          transport->release(e.stream, e.bytes.size());
        } else {
          unreleased += e.bytes.size();
        }
        if (e.end) {
          messages.push_back(std::move(partial));
          told_bytes.push_back(e.message_bytes);
          partial.clear();
        }
        break;
      case TransportEventKind::kStreamClosed: {
        const StreamHead* head = transport->head(e.stream);
        closed.push_back({e.stream, e.fault, e.grpc_status, head == nullptr ? std::string() : head->grpc_message});
        partial.clear();
        partial_begun = false;
        break;
      }
      case TransportEventKind::kHalfClosed:
        half_closed.push_back(e.stream);
        break;
      case TransportEventKind::kGoaway:
        goaway = true;
        break;
      case TransportEventKind::kFailed:
        failed = true;
        fault = e.fault;
        break;
    }
  }

  void on_release(std::uint64_t token) {
    if (held.erase(token) != 1) {
      broken_order = true;
      return;
    }
    std::unique_ptr<Block> block(reinterpret_cast<Block*>(static_cast<std::uintptr_t>(token)));
    std::fill_n(block->bytes.get(), block->size, '!');
  }
};

// Carries bytes both ways until both are silent. `piece`: how they are cut on the way.
inline void exchange(Peer& a, Peer& b, std::size_t piece = 1u << 20) {
  for (;;) {
    const std::string there = a.take();
    b.feed(there, piece);
    const std::string back = b.take();
    a.feed(back, piece);
    if (there.empty() && back.empty()) {
      return;
    }
  }
}

inline std::shared_ptr<TransportConfig> server_config() {
  auto config = std::make_shared<TransportConfig>();
  config->role = TransportRole::kServer;
  return config;
}

inline std::shared_ptr<TransportConfig> client_config() {
  auto config = std::make_shared<TransportConfig>();
  config->role = TransportRole::kClient;
  config->authority = "127.0.0.1:46357";
  return config;
}

inline std::string random_text(std::mt19937& random, std::size_t bytes) {
  std::string text(bytes, '\0');
  for (char& c : text) {
    c = static_cast<char>(random());
  }
  return text;
}

}  // namespace slipway::test
