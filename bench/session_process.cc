#include "session_process.h"

#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <optional>

#include "app/app.h"
#include "client/application.h"
#include "harness.h"
#include "identity/shared_secret.h"
#include "message_floor.h"

namespace slipway::bench {
namespace {

using namespace std::chrono_literals;

constexpr const char* kSecret = "a-shared-secret-of-at-least-32-bytes!!";
constexpr const char* kFlowKey = "flow";
constexpr std::uint64_t kPatience_ns = 30'000'000'000;

TextName named(const std::string& last) { return {{"bench", "session", last}, kNullId}; }
std::string receiver_name(int index) { return fmt::format("r{}", index); }

// A message begins with its number in its flow.
std::uint64_t number_of(std::span<const std::byte> payload) {
  std::uint64_t number = 0;
  if (payload.size() >= sizeof number) {
    std::memcpy(&number, payload.data(), sizeof number);
  }
  return number;
}

template <class T, class E>
T get(std::expected<T, E> result, const char* doing) {
  if (!result) {
    if constexpr (std::is_same_v<E, std::string>) {
      die(fmt::format("{}: {}", doing, result.error()));
    } else {
      die(fmt::format("{}: {}", doing, result.error().message()));
    }
  }
  if constexpr (!std::is_void_v<T>) {
    return std::move(*result);
  }
}

class Worker {
 public:
  Worker(int index, const std::string& address, int fd, SharedCounts& counts) : fd_(fd), index_(index), counts_(counts) {
    prctl(PR_SET_TIMERSLACK, 1);
    loop_ = get(Loop::create(), "a loop");
    const std::string name = index < 0 ? "sender" : receiver_name(index);
    auto identity = get(shared_secret_identity({.base = "bench/session/" + name, .secret = kSecret}), "an identity");
    app_ = get(App::create(*loop_, {.name = named(name), .identity = std::move(identity)}), "an application");
    bool connected = false;
    (void)get(app_->connect({.address = address}, [&](auto done) { connected = get(std::move(done), "connecting") != ConnectionId::kNone; }), "connecting");
    link_ = get(ClientLink::open(*loop_, {.address = address}), "a link");
    bare_ = std::make_unique<ClientApplication>(*link_, TextName{{"bench", "bare", name}, kNullId},
                                                ClientApplication::Handlers{.on_message = [this](const ClientMessage& message) {
                                                                              const bool all = message.to_all();
                                                                              count(all ? Flow::kBareChannel : Flow::kBare, number_of(message.payload()));
                                                                            },
                                                                            .on_no_route = {},
                                                                            .on_writable = {},
                                                                            .on_subscription_lost = {}});
    bare_->subscribe_self();
    bare_->subscribe(TextName{{"bench", "bare", "all"}, NameId{7, 7}});
    until([&] { return connected && link_->settled(); }, "connecting");
    if (index >= 0) {
      app_->on_session([this](std::shared_ptr<AppSession> session) { take(std::move(session)); });
    }
  }

  [[noreturn]] void serve() {
    (void)get(loop_->watch(fd_, fd_event::kReadable, [this](std::uint32_t) {
      Order order;
      if (recv(fd_, &order, sizeof order, 0) != sizeof order) {
        std::_Exit(0);
      }
      orders_.push_back(order);
    }), "watching for orders");
    answer();  // ready
    for (;;) {
      loop_->turn();
      while (!orders_.empty()) {
        const Order order = orders_.front();
        orders_.erase(orders_.begin());
        carry_out(order);
        answer();
      }
    }
  }

 private:
  void answer() const {
    const char done = 1;
    (void)!send(fd_, &done, 1, MSG_NOSIGNAL);
  }
  template <class Condition>
  void until(Condition&& condition, const char* what) {
    const std::uint64_t end = wall_ns() + kPatience_ns;
    while (!condition()) {
      loop_->turn(100'000'000);
      if (wall_ns() > end) {
        die(fmt::format("process {}: {} took too long", index_, what));
      }
    }
  }

  void count(Flow flow, std::uint64_t number) {
    auto& counts = counts_.receiver[static_cast<std::size_t>(index_)];
    std::uint64_t& next = next_[static_cast<std::size_t>(flow)];
    if (number != next) {
      if (reliable(flow) || number < next) {
        counts.out_of_order.fetch_add(1, std::memory_order_relaxed);
      } else {
        counts.missing.fetch_add(number - next, std::memory_order_relaxed);
      }
    }
    next = number + 1;
    counts.received.fetch_add(1, std::memory_order_release);
  }
  void take(std::shared_ptr<AppSession> session) {
    const auto flow = static_cast<Flow>(std::stoul(session->metadata().at(kFlowKey)));
    session->on_message([this, flow, session](const AppMessage& message) {
      if (flow == Flow::kEcho) {
        (void)session->publish(message.payload);
      } else {
        count(flow, number_of(*message.payload));
      }
    });
    session->on_event([this, id = session.get()](const SessionEvent& event) {
      if (std::holds_alternative<SessionClosed>(event)) {
        std::erase_if(taken_, [id](const auto& one) { return one.get() == id; });
      }
    });
    taken_.push_back(std::move(session));
  }

  std::shared_ptr<AppSession>& session_of(Flow flow) { return sessions_[static_cast<std::size_t>(flow)]; }

  void carry_out(const Order& order) {
    switch (order.task) {
      case Task::kOpen: session_of(order.flow) = open(order.flow, static_cast<int>(order.count)); break;
      case Task::kSend: send_all(order); break;
      case Task::kFloor: floor(order); break;
      case Task::kPing: ping(order); break;
      case Task::kSetUp: set_up(order); break;
    }
    counts_of_app();
  }
  void counts_of_app() {
    if (index_ < 0) {
      const AppCounters& c = app_->counters();
      counts_.bytes = c.sent_bytes + c.received_bytes;
      counts_.messages = c.sent + c.received;
    }
  }

  std::shared_ptr<AppSession> open(Flow flow, int receivers) {
    if (flow == Flow::kBare || flow == Flow::kBareChannel) {
      return nullptr;
    }
    const bool mls = flow != Flow::kPlain && flow != Flow::kPlainChannel;
    const bool impatient = flow == Flow::kImpatient;
    const auto timeout = reliable(flow) ? std::optional(impatient ? 500ms : 1000ms) : std::nullopt;
    const std::uint32_t retries = impatient ? 4 : 60;
    const Metadata metadata = {{kFlowKey, std::to_string(static_cast<std::uint32_t>(flow))}};
    SessionOptions options = UnicastOptions{.peer = named(receiver_name(0)), .timeout = timeout, .max_retries = retries, .mls_enabled = mls, .metadata = metadata};
    if (to_all(flow)) {
      options = MulticastOptions{.channel = named(fmt::format("channel{}", static_cast<int>(flow))), .timeout = timeout, .max_retries = retries,
                                 .mls_enabled = mls, .metadata = metadata};
    }
    std::shared_ptr<AppSession> session;
    (void)get(app_->create_session(options, [&](auto made) { session = get(std::move(made), "a session"); }), "a session");
    until([&] { return session != nullptr; }, "a session");
    int invited = 0;
    for (int i = 0; to_all(flow) && i < receivers; ++i) {
      (void)get(session->invite(named(receiver_name(i)), [&](auto done) { (void)get(std::move(done), "an invitation"), ++invited; }), "an invitation");
    }
    until([&] { return invited == (to_all(flow) ? receivers : 0); }, "invitations");
    session->on_message([this](const AppMessage&) { ++answers_; });
    return session;
  }

  [[nodiscard]] std::uint64_t slowest(Flow flow) const {
    const std::size_t receivers = to_all(flow) ? kMaxReceivers : 1;
    std::uint64_t least = ~std::uint64_t{0};
    for (std::size_t i = 0; i < receivers; ++i) {
      least = std::min(least, counts_.receiver[i].received.load(std::memory_order_acquire));
    }
    return least;
  }

  // False: not taken, the window or the connection is full.
  bool send_one(Flow flow, Bytes& payload) {
    std::uint64_t& next = next_[static_cast<std::size_t>(flow)];
    std::memcpy(payload.data(), &next, sizeof next);
    if (flow == Flow::kBare || flow == Flow::kBareChannel) {
      auto& to = flow == Flow::kBare ? bare_one_ : bare_all_;
      if (!to) {
        to.emplace(*bare_, flow == Flow::kBare ? TextName{{"bench", "bare", receiver_name(0)}, kNullId} : TextName{{"bench", "bare", "all"}, NameId{7, 7}},
                   flow == Flow::kBare ? Receivers::kOne : Receivers::kAll);
      }
      if (bare_->publish(*to, payload) != PublishStatus::kQueued) {
        return false;
      }
    } else {
      Done done;
      if (reliable(flow)) {
        done = [this](std::expected<Outcome, AppError> outcome) {
          --unacknowledged_;
          counts_.undelivered.fetch_add(outcome ? outcome->undelivered.size() : 1, std::memory_order_relaxed);
        };
      }
      if (!session_of(flow)->publish(std::make_shared<const Bytes>(payload), {}, std::move(done))) {
        return false;
      }
      unacknowledged_ += reliable(flow) ? 1 : 0;
    }
    ++next;
    counts_.published.fetch_add(1, std::memory_order_relaxed);
    return true;
  }

  void send_all(const Order& order) {
    Bytes payload(std::max<std::size_t>(order.bytes, 8), std::byte{0x42});
    const std::uint64_t received = slowest(order.flow);
    std::uint32_t sent = 0;
    std::uint64_t due = wall_ns();
    while (sent < order.count) {
      const std::uint64_t now = wall_ns();
      if (now < due) {
        loop_->turn(due - now);
        continue;
      }
      if (order.window != 0 && sent + order.batch > slowest(order.flow) - received + order.window) {
        loop_->turn(500'000);
        continue;
      }
      for (std::uint32_t i = 0; i < order.batch && sent < order.count && send_one(order.flow, payload); ++i) {
        ++sent;
      }
      due = std::max(due + order.period_ns, now > 20 * order.period_ns ? now - 20 * order.period_ns : 0);
      loop_->turn(0);
    }
    if (reliable(order.flow)) {
      until([&] { return unacknowledged_ == 0; }, "acknowledgements");
    }
    loop_->turn(0);
  }

  void floor(const Order& order) {
    MessageFloor floor(order.bytes);
    std::uint64_t due = wall_ns();
    for (std::uint32_t done = 0; done < order.count;) {
      const std::uint64_t now = wall_ns();
      if (now < due) {
        loop_->turn(due - now);
        continue;
      }
      for (std::uint32_t i = 0; i < order.batch && done < order.count; ++i, ++done) {
        index_ < 0 ? floor.send() : floor.receive();
      }
      due = std::max(due + order.period_ns, now > 20 * order.period_ns ? now - 20 * order.period_ns : 0);
    }
  }

  void ping(const Order& order) {
    Bytes payload(std::max<std::size_t>(order.bytes, 8));
    for (std::uint32_t i = 0; i < order.count; ++i) {
      const std::uint64_t before = answers_;
      const std::uint64_t start = wall_ns();
      if (!send_one(Flow::kEcho, payload)) {
        die("a question was not taken");
      }
      until([&] { return answers_ > before; }, "an answer");
      counts_.time_us[i] = static_cast<std::uint32_t>((wall_ns() - start) / 1000);
    }
    until([&] { return unacknowledged_ == 0; }, "acknowledgements");
    counts_.time_count = order.count;
  }

  void set_up(const Order& order) {
    for (std::uint32_t i = 0; i < order.count; ++i) {
      const std::uint64_t start = wall_ns();
      const auto session = open(Flow::kUnicast, 1);
      counts_.time_us[i] = static_cast<std::uint32_t>((wall_ns() - start) / 1000);
      counts_of_app();
      bool closed = false;
      (void)get(session->close([&](auto) { closed = true; }), "closing");
      until([&] { return closed; }, "closing");
    }
    counts_.time_count = order.count;
  }

  int fd_;
  int index_;
  SharedCounts& counts_;
  std::unique_ptr<Loop> loop_;
  std::unique_ptr<App> app_;
  std::unique_ptr<ClientLink> link_;
  std::unique_ptr<ClientApplication> bare_;
  std::optional<Destination> bare_one_, bare_all_;
  std::array<std::shared_ptr<AppSession>, static_cast<std::size_t>(Flow::kCount)> sessions_;
  std::array<std::uint64_t, static_cast<std::size_t>(Flow::kCount)> next_{};
  std::vector<std::shared_ptr<AppSession>> taken_;
  std::vector<Order> orders_;
  std::uint64_t unacknowledged_ = 0;
  std::uint64_t answers_ = 0;
};

}  // namespace

void* make_shared_bytes(std::size_t bytes) {
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) {
    die("cannot share memory between processes");
  }
  return memory;
}
SharedCounts* make_shared_counts() { return new (make_shared_bytes(sizeof(SharedCounts))) SharedCounts{}; }

AppProcess::AppProcess(int index, std::string address, SharedCounts* counts) {
  int fds[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) != 0) {
    die("cannot make a socket pair");
  }
  process_ = std::make_unique<ServerProcess>([index, address = std::move(address), counts, ours = fds[1], theirs = fds[0]] {
    close(theirs);
    Worker(index, address, ours, *counts).serve();
  });
  close(fds[1]);
  fd_ = fds[0];
  wait();
}
AppProcess::~AppProcess() {
  process_.reset();
  close(fd_);
}

void AppProcess::order(const Order& order) {
  if (send(fd_, &order, sizeof order, MSG_NOSIGNAL) != sizeof order) {
    die("an application process has died");
  }
}
void AppProcess::wait() {
  char done = 0;
  if (recv(fd_, &done, 1, 0) != 1) {
    die("an application process has died");
  }
}

}  // namespace slipway::bench
