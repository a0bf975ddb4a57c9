// The C++ side of the benchmark `python`: bench/python_peer.py on the endpoint library itself, with the same orders and figures.
//
//   endpoint_peer listen NAME ENDPOINT
//   endpoint_peer talk NAME ENDPOINT PEER

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <deque>
#include <iterator>
#include <sstream>
#include <unistd.h>

#include "app/app.h"
#include "identity/shared_secret.h"

using namespace slipway;

namespace {

constexpr std::string_view kSecret = "a-secret-of-the-benchmark-with-32-bytes-and-more";
constexpr auto kRetry = std::chrono::seconds(2);

[[noreturn]] void give_up(const std::string& why) {
  std::fprintf(stderr, "endpoint_peer: %s\n", why.c_str());
  std::exit(1);
}

double seconds_of(clockid_t clock) {
  timespec time{};
  ::clock_gettime(clock, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}
double wall_s() { return seconds_of(CLOCK_MONOTONIC); }
double cpu_s() { return seconds_of(CLOCK_PROCESS_CPUTIME_ID); }

std::string message(char kind, std::size_t size) {
  std::string text(size, '.');
  text[0] = kind;
  return text;
}

class Peer {
 public:
  Peer(const std::string& name, const std::string& endpoint) : loop_(std::move(Loop::create().value())) {
    auto identity = shared_secret_identity({.base = name, .secret = kSecret, .subject = {}, .key = {}});
    if (!identity) {
      give_up(identity.error().message());
    }
    auto app = App::create(*loop_, AppOptions{.name = parse_name(name).value(), .identity = *identity});
    if (!app) {
      give_up(app.error().message());
    }
    app_ = std::move(*app);
    bool up = false;
    const auto begun = app_->connect({.address = endpoint}, [&up](std::expected<ConnectionId, AppError> connected) {
      up = connected ? true : (give_up(connected.error().message()), false);
    });
    if (!begun) {
      give_up(begun.error().message());
    }
    turn_until([&] { return up; });
    std::puts("ready");
    std::fflush(stdout);
  }

  void listen() {
    turn_until([this] { return (session_ = app_->take_session()) != nullptr; });
    hear();
    std::uint64_t count = 0;
    double used = cpu_s();
    while (true) {
      const std::string payload = next();
      switch (payload.empty() ? '\0' : payload[0]) {
        case 'm': ++count; break;
        case 'p': publish(payload); break;
        case 'e': publish(std::to_string(std::exchange(count, 0))); break;
        case 'c': {
          const double now = cpu_s();
          publish(std::to_string(now - std::exchange(used, now)));
          break;
        }
        default: break;
      }
    }
  }

  void talk(const std::string& peer) {
    UnicastOptions options{.peer = parse_name(peer).value(), .timeout = kRetry, .max_retries = 5, .mls_enabled = true, .metadata = {}};
    const auto begun = app_->create_session(options, [this](std::expected<std::shared_ptr<AppSession>, AppError> made) {
      session_ = made ? *made : (give_up(made.error().message()), nullptr);
    });
    if (!begun) {
      give_up(begun.error().message());
    }
    turn_until([this] { return session_ != nullptr; });
    hear();
    bool readable = false;
    (void)loop_->watch(STDIN_FILENO, fd_event::kReadable, [&](std::uint32_t) { readable = true; });
    char line[256];
    while (true) {
      turn_until([&] { return std::exchange(readable, false); });
      if (std::fgets(line, sizeof line, stdin) == nullptr) {
        return;
      }
      obey(line);
    }
  }

 private:
  template <class F>
  void turn_until(F&& condition) {
    while (!condition()) {
      (void)loop_->turn();
    }
  }

  void hear() {
    session_->on_message([this](AppMessage received) { heard_.emplace_back(text_of(received.payload)); });
  }
  std::string next() {
    turn_until([this] { return !heard_.empty(); });
    std::string payload = std::move(heard_.front());
    heard_.pop_front();
    return payload;
  }
  void publish(const std::string& payload) {
    while (true) {
      ++waiting_;
      const auto taken = session_->publish(shared_bytes(payload), {}, [this](std::expected<Outcome, AppError> outcome) {
        --waiting_;
        if (!outcome || !outcome->undelivered.empty()) {
          give_up("a message was not delivered");
        }
      });
      if (taken) {
        return;
      }
      --waiting_;
      (void)loop_->turn();  // no room: something is on its way
    }
  }

  void obey(const std::string& line) {
    std::istringstream words(line);
    std::string order;
    std::size_t count = 0;
    std::size_t size = 0;
    std::size_t ahead = 0;
    words >> order >> count >> size >> ahead;
    if (order == "flood") {
      flood(count, size, ahead);
    } else if (order == "ping") {
      ping(count, size);
    } else {
      publish("c");
      std::printf("{\"cpu\": %s}\n", next().c_str());
    }
    std::fflush(stdout);
  }

  void flood(std::size_t count, std::size_t size, std::size_t ahead) {
    const std::string payload = message('m', size);
    const double began = wall_s();
    const double cpu = cpu_s();
    for (std::size_t i = 0; i < count; ++i) {
      turn_until([&] { return waiting_ < ahead; });
      publish(payload);
    }
    turn_until([&] { return waiting_ == 0; });
    publish("e");
    if (next() != std::to_string(count)) {
      give_up("the other side has not all");
    }
    std::printf("{\"seconds\": %f, \"cpu\": %f}\n", wall_s() - began, cpu_s() - cpu);
  }

  void ping(std::size_t count, std::size_t size) {
    const std::string payload = message('p', size);
    std::vector<double> times_us;
    for (std::size_t i = 0; i < count; ++i) {
      const double began = wall_s();
      publish(payload);
      if (next() != payload) {
        give_up("something else came back");
      }
      times_us.push_back((wall_s() - began) * 1e6);
    }
    std::ranges::sort(times_us);
    std::printf("{\"p50_us\": %f, \"p99_us\": %f}\n", times_us[count / 2], times_us[count * 99 / 100]);
  }

  std::unique_ptr<Loop> loop_;
  std::unique_ptr<App> app_;
  std::shared_ptr<AppSession> session_;
  std::deque<std::string> heard_;
  std::size_t waiting_ = 0;
};

}  // namespace

int main(int count, char** values) {
  const std::vector<std::string> words(values + 1, values + count);
  if (words.size() == 3 && words[0] == "listen") {
    Peer(words[1], words[2]).listen();
  } else if (words.size() == 4 && words[0] == "talk") {
    Peer(words[1], words[2]).talk(words[3]);
  } else {
    give_up("usage: endpoint_peer listen NAME ENDPOINT | talk NAME ENDPOINT PEER");
  }
}
