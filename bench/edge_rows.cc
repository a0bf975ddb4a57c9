#include "edge_rows.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

#include "harness.h"

namespace slipway::bench {
namespace {

constexpr std::uint64_t kNs = 1'000'000'000;
constexpr std::uint64_t kLookNs = 10'000'000;  // how long a wait is at most
constexpr std::size_t kSubscriptionWindow = 256;

std::string fresh_service(const char* kind) {
  static std::uint64_t count = 0;
  return fmt::format("{}-{}", kind, ++count);
}

std::unique_ptr<Client> connected(ClientLoop& loop, const EdgeServer& server) {
  auto client = std::make_unique<Client>(loop, server.port, server.negotiates);
  loop.until([&] { return client->up(); }, "connecting");
  return client;
}

std::unique_ptr<Client> receiver_of(ClientLoop& loop, const EdgeServer& server, const Destination& to) {
  auto client = connected(loop, server);
  client->subscribe(to, 1);
  client->flush();
  loop.until([&] { return client->acknowledged == 1; }, "subscribing");
  return client;
}

// Publishes at a rate, in the steps in which it is asked; what is late is made up for.
class Pacer {
 public:
  explicit Pacer(std::uint64_t rate) : period_ns_(kNs / rate), due_ns_(wall_ns()) {}
  // How many are due.
  std::uint64_t due() {
    const std::uint64_t now = wall_ns();
    const std::uint64_t count = now < due_ns_ ? 0 : 1 + (now - due_ns_) / period_ns_;
    due_ns_ += count * period_ns_;
    return count;
  }
  [[nodiscard]] std::uint64_t wait_ns() const {
    const std::uint64_t now = wall_ns();
    return now < due_ns_ ? due_ns_ - now : 0;
  }

 private:
  std::uint64_t period_ns_;
  std::uint64_t due_ns_;
};

}  // namespace

// --- a flow ------------------------------------------------------------------------------------------------------------------

Flow::Flow(ClientLoop& loop, EdgeServer& server, std::size_t receivers, bool no_delay) : loop_(loop), server_(server), to_{.service = fresh_service("flow")} {
  // The relay takes the first for the publisher, and answers when all are there.
  publisher_ = std::make_unique<Client>(loop, server.port, server.negotiates, no_delay);
  for (std::size_t i = 0; i < receivers; ++i) {
    receivers_.push_back(std::make_unique<Client>(loop, server.port, server.negotiates));
  }
  loop.until([&] { return publisher_->up() && std::ranges::all_of(receivers_, [](const auto& r) { return r->up(); }); }, "connecting");
  if (!server.negotiates) {
    return;
  }
  for (std::size_t i = 0; i < receivers; ++i) {
    receivers_[i]->subscribe({.service = to_.service, .id = i + 1}, 1);
    receivers_[i]->flush();
  }
  loop.until([&] { return std::ranges::all_of(receivers_, [](const auto& r) { return r->acknowledged == 1; }); }, "subscribing");
}

std::uint64_t Flow::slowest() const {
  return (*std::ranges::min_element(receivers_, {}, [](const auto& r) { return r->received; }))->received;
}

Block Flow::run(const Load& load, std::uint64_t ns) {
  if (payload_ != load.payload) {
    payload_ = load.payload;
    messages_ = std::make_unique<SignedMessages>(*publisher_, to_, load.receivers == 1, load.payload);
  }
  for (const auto& receiver : receivers_) {
    receiver->received = 0;
  }
  Block block;
  const std::uint64_t period = load.rate == 0 ? 0 : kNs * load.batch / load.rate;
  const std::uint64_t server = server_.process->cpu_ns();
  const std::uint64_t client = thread_cpu_ns();
  const std::uint64_t start = wall_ns();
  std::uint64_t due = start;
  for (std::uint64_t now = start; now < start + ns; now = wall_ns()) {
    if (now < due) {
      loop_.turn(due - now);
    } else if (block.published + load.batch - slowest() > load.window) {
      loop_.turn(kLookNs);
    } else {
      for (std::uint32_t i = 0; i < load.batch; ++i) {
        publisher_->publish(messages_->next());
      }
      publisher_->flush();
      block.published += load.batch;
      due += period;
      loop_.turn(0);
    }
  }
  loop_.until([&] { return slowest() >= block.published; }, fmt::format("{}: deliveries", load.name));
  block.wall_ns = wall_ns() - start;
  block.server_ns = server_.process->cpu_ns() - server;
  block.client_ns = thread_cpu_ns() - client;
  block.delivered = block.published * receivers_.size();
  return block;
}

// --- latency -----------------------------------------------------------------------------------------------------------------

PingPong::PingPong(ClientLoop& loop, EdgeServer& server) : loop_(loop) {
  const std::array<Destination, 2> names = {Destination{fresh_service("ping")}, Destination{fresh_service("pong")}};
  for (std::size_t i = 0; i < 2; ++i) {
    clients_[i] = receiver_of(loop, server, names[i]);
  }
  for (std::size_t i = 0; i < 2; ++i) {
    messages_[i] = std::make_unique<SignedMessages>(*clients_[i], names[1 - i], true, 64);
  }
}

void PingPong::run(std::uint32_t rounds, std::vector<std::uint64_t>& times) {
  for (std::uint32_t i = 0; i < rounds; ++i) {
    const std::uint64_t start = wall_ns();
    for (std::size_t from = 0; from < 2; ++from) {
      Client& to = *clients_[1 - from];
      const std::uint64_t before = to.received;
      clients_[from]->publish(messages_[from]->next());
      clients_[from]->flush();
      loop_.until([&] { return to.received > before; }, "an answer");
    }
    times.push_back(wall_ns() - start);
  }
}

// --- memory and subscriptions ------------------------------------------------------------------------------------------------

double connection_bytes(ClientLoop& loop, EdgeServer& server, std::size_t connections) {
  constexpr std::size_t kAtOnce = 50;
  std::vector<std::unique_ptr<Client>> clients;
  const auto open = [&](std::size_t count) {
    while (count > 0) {
      const std::size_t first = clients.size();
      for (std::size_t i = 0; i < std::min(count, kAtOnce); ++i) {
        clients.push_back(std::make_unique<Client>(loop, server.port, server.negotiates));
      }
      count -= clients.size() - first;
      loop.until([&] { return std::all_of(clients.begin() + static_cast<std::ptrdiff_t>(first), clients.end(), [](const auto& c) { return c->up(); }); }, "connecting");
    }
  };
  open(kAtOnce);  // what the first ones cost the server is not theirs
  usleep(500'000);
  const std::uint64_t before = server.process->resident_bytes();
  open(connections);
  usleep(500'000);
  return (static_cast<double>(server.process->resident_bytes()) - static_cast<double>(before)) / static_cast<double>(connections);
}

SubscriptionFigures subscribe_many(ClientLoop& loop, EdgeServer& server, std::size_t names, std::size_t late) {
  const auto client = connected(loop, server);
  std::uint64_t sent = 0;
  const auto subscribe = [&](std::uint64_t up_to) {
    const std::uint64_t start = wall_ns();
    const std::uint64_t first = client->acknowledged;
    loop.until([&] {
      while (sent < up_to && sent - client->acknowledged < kSubscriptionWindow) {
        ++sent;
        client->subscribe({.service = fmt::format("subscribed-{}", sent)}, sent);
      }
      client->flush();
      if (client->refused > 0) {
        die("a subscription was refused");
      }
      return client->acknowledged == up_to;
    }, "subscribing", 600);
    return static_cast<double>(up_to - first) * 1e9 / static_cast<double>(wall_ns() - start);
  };
  subscribe(10);
  usleep(200'000);
  const std::uint64_t before = server.process->resident_bytes();
  SubscriptionFigures figures;
  figures.early_rate = subscribe(names / 10);
  subscribe(names);
  usleep(500'000);
  figures.bytes = (static_cast<double>(server.process->resident_bytes()) - static_cast<double>(before)) / static_cast<double>(names - 10);
  figures.late_rate = subscribe(names + late);
  return figures;
}

// --- trouble -------------------------------------------------------------------------------------------------------------------

double others_share(ClientLoop& loop, EdgeServer& server) {
  constexpr std::uint64_t kRate = 4'000;           // to all others together
  constexpr std::uint64_t kPhaseNs = 4 * kNs;
  constexpr std::size_t kMostPending = 64u << 10;  // of the publisher's connection, when the flood goes on
  const Destination flooded{fresh_service("flooded")};
  const auto frozen = receiver_of(loop, server, flooded);
  std::vector<std::unique_ptr<Client>> others;
  const auto publisher = connected(loop, server);
  std::vector<std::unique_ptr<SignedMessages>> messages;
  for (int i = 0; i < 4; ++i) {
    const Destination name{fresh_service("other")};
    others.push_back(receiver_of(loop, server, name));
    messages.push_back(std::make_unique<SignedMessages>(*publisher, name, true, 64));
  }
  SignedMessages flood(*publisher, flooded, true, 16384);
  const auto received = [&] {
    std::uint64_t sum = 0;
    for (const auto& other : others) {
      sum += other->received;
    }
    return sum;
  };
  std::uint64_t turn = 0;
  const auto phase = [&](std::uint64_t ns) {
    Pacer pacer(kRate);
    const std::uint64_t end = wall_ns() + ns;
    std::uint64_t owed = 0;
    const std::uint64_t before = received();
    while (wall_ns() < end) {
      for (owed += pacer.due(); owed > 0 && publisher->pending_bytes() < 2 * kMostPending; --owed) {
        publisher->publish(messages[turn % others.size()]->next());
        ++turn;
      }
      if (publisher->pending_bytes() < kMostPending) {
        publisher->publish(flood.next());
      }
      publisher->flush();
      loop.turn(publisher->pending_bytes() < kMostPending ? 0 : std::max<std::uint64_t>(pacer.wait_ns(), 100'000));
    }
    return received() - before;
  };
  const std::uint64_t reading = phase(kPhaseNs);
  frozen->set_reading(false);
  const std::uint64_t stopped = phase(kPhaseNs);
  return static_cast<double>(stopped) / static_cast<double>(reading);
}

RushFigures rush(ClientLoop& loop, EdgeServer& server, std::size_t connections) {
  constexpr std::uint64_t kRate = 10'000;
  const Destination to{fresh_service("beside")};
  const auto receiver = receiver_of(loop, server, to);
  const auto publisher = connected(loop, server);
  SignedMessages messages(*publisher, to, true, 64);
  std::vector<std::unique_ptr<Client>> crowd;
  std::vector<bool> asked(connections);
  Pacer pacer(kRate);
  const auto step = [&] {
    for (std::uint64_t n = pacer.due(); n > 0; --n) {
      publisher->publish(messages.next());
    }
    publisher->flush();
    loop.turn(pacer.wait_ns());
  };
  const auto keep_going = [&](std::uint64_t ns) {
    const std::uint64_t start = wall_ns();
    const std::uint64_t before = receiver->received;
    while (wall_ns() < start + ns) {
      step();
    }
    return static_cast<double>(receiver->received - before) * 1e9 / static_cast<double>(wall_ns() - start);
  };
  keep_going(kNs / 2);
  const double alone = keep_going(kNs);
  const std::uint64_t before = receiver->received;
  const std::uint64_t start = wall_ns();
  std::size_t acknowledged = 0;
  while (acknowledged < connections) {
    for (int i = 0; i < 20 && crowd.size() < connections; ++i) {
      crowd.push_back(std::make_unique<Client>(loop, server.port, server.negotiates));
    }
    step();
    acknowledged = 0;
    for (std::size_t i = 0; i < crowd.size(); ++i) {
      if (crowd[i]->up() && !asked[i]) {
        asked[i] = true;
        crowd[i]->subscribe({.service = fmt::format("crowd-{}", i)}, 1);
        crowd[i]->flush();
      }
      acknowledged += crowd[i]->acknowledged;
    }
    if (wall_ns() > start + 60 * kNs) {
      die(fmt::format("{} of {} connections that subscribe at once were acknowledged within a minute", acknowledged, connections));
    }
  }
  RushFigures figures;
  const std::uint64_t took = wall_ns() - start;
  figures.all_acknowledged_s = static_cast<double>(took) / 1e9;
  figures.stream_share = static_cast<double>(receiver->received - before) * 1e9 / static_cast<double>(took) / alone;
  return figures;
}

}  // namespace slipway::bench
