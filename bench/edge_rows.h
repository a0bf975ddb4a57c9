#pragma once
// What the benchmark `edge` does with a server. Each row runs on connections of its own.

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "edge_client.h"
#include "server_process.h"

namespace slipway::bench {

// A server of the benchmark and how to speak to it.
struct EdgeServer {
  std::unique_ptr<ServerProcess> process;
  std::uint16_t port = 0;
  bool negotiates = true;
};

struct Load {
  const char* name;
  std::size_t receivers;
  std::size_t payload;
  std::uint64_t rate;    // messages a second; 0: as many as the window lets through
  std::uint32_t batch;   // written at once
  std::uint32_t window;  // published and not yet received by all
};

struct Block {
  std::uint64_t published = 0;
  std::uint64_t delivered = 0;
  std::uint64_t server_ns = 0;  // CPU time
  std::uint64_t client_ns = 0;
  std::uint64_t wall_ns = 0;
  [[nodiscard]] double cost_us() const { return static_cast<double>(server_ns) / static_cast<double>(delivered) / 1000; }
  [[nodiscard]] double rate() const { return static_cast<double>(delivered) * 1e9 / static_cast<double>(wall_ns); }
  [[nodiscard]] double client_share() const { return static_cast<double>(client_ns) / static_cast<double>(wall_ns); }
  [[nodiscard]] double server_share() const { return static_cast<double>(server_ns) / static_cast<double>(wall_ns); }
};

// One publisher and its receivers, for loads of that many receivers.
class Flow {
 public:
  // no_delay: the publisher sends at once what is paced; else it has Nagle's algorithm on, as upstream's applications have,
  // which gathers messages: the later a node acknowledges, the less they would seem to cost.
  Flow(ClientLoop& loop, EdgeServer& server, std::size_t receivers, bool no_delay);
  Block run(const Load& load, std::uint64_t ns);

 private:
  [[nodiscard]] std::uint64_t slowest() const;

  ClientLoop& loop_;
  EdgeServer& server_;
  Destination to_;
  std::unique_ptr<Client> publisher_;
  std::vector<std::unique_ptr<Client>> receivers_;
  std::unique_ptr<SignedMessages> messages_;
  std::size_t payload_ = ~std::size_t{0};
};

// Two applications that answer each other.
class PingPong {
 public:
  PingPong(ClientLoop& loop, EdgeServer& server);
  // Nanoseconds of each round trip.
  void run(std::uint32_t rounds, std::vector<std::uint64_t>& times);

 private:
  ClientLoop& loop_;
  std::array<std::unique_ptr<Client>, 2> clients_;
  std::array<std::unique_ptr<SignedMessages>, 2> messages_;
};

// Memory of a connection that is up and idle, of so many.
double connection_bytes(ClientLoop& loop, EdgeServer& server, std::size_t connections);

struct SubscriptionFigures {
  double bytes = 0;       // of memory, each
  double early_rate = 0;  // a second, of the first tenth
  double late_rate = 0;   // of the last `late` ones
};
SubscriptionFigures subscribe_many(ClientLoop& loop, EdgeServer& server, std::size_t names, std::size_t late);

// One connection floods a receiver and publishes to others at a rate: what share of that the others get once the
// flooded one has stopped reading, of what they get while it reads.
double others_share(ClientLoop& loop, EdgeServer& server);

struct RushFigures {
  double all_acknowledged_s = 0;  // from the first connect to the last acknowledgement
  double stream_share = 0;        // of its rate that a 1:1 stream beside keeps meanwhile
};
RushFigures rush(ClientLoop& loop, EdgeServer& server, std::size_t connections);

}  // namespace slipway::bench
