#pragma once
// Names of hosts to addresses, on an event loop and without blocking it: c-ares. Asks as the system does: /etc/hosts and
// the servers of /etc/resolv.conf, both read anew for each question, so that a change needs no restart.
//
// Threads: that of the loop. A question that is asked again while it is open is another question.

#include <sys/socket.h>

#include <cstdint>
#include <expected>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "loop/loop.h"

namespace slipway {

// An IPv4 or IPv6 address, without a port.
struct HostAddress {
  int family = AF_UNSPEC;          // AF_INET, AF_INET6
  std::uint8_t bytes[16] = {};     // network order; the first 4 for AF_INET
};

class Resolver {
 public:
  // Best first (RFC 6724), never empty; or a sentence: what failed, and what to try.
  using Answer = std::expected<std::vector<HostAddress>, std::string>;
  using Call = std::move_only_function<void(Answer)>;

  // `servers`: HOST:PORT, comma separated, instead of the system's; for tests.
  explicit Resolver(Loop& loop, std::string servers = {}) : loop_(loop), servers_(std::move(servers)) {}
  ~Resolver();  // forgets what is open
  Resolver(const Resolver&) = delete;
  Resolver& operator=(const Resolver&) = delete;

  // Calls back later, never from within; exactly once unless it is cancelled or the resolver goes away.
  std::uint64_t resolve(const std::string& host, Call call);
  void cancel(std::uint64_t question);  // of one that is answered: nothing
  [[nodiscard]] std::size_t open() const { return open_.size(); }

  static constexpr int kTryMs = 1'500;          // for one server's answer, first; c-ares doubles it for each round
  static constexpr int kTries = 2;              // rounds over all servers

 private:
  struct Question;
  void finish(std::uint64_t number);

  Loop& loop_;
  std::string servers_;
  std::uint64_t next_ = 1;
  std::vector<std::shared_ptr<Question>> open_;
};

// Whether a text may be the name of a host: letters, digits, `-`, `_` and dots, at most 253 bytes, and no number at
// its end (which would be a mistyped address).
[[nodiscard]] bool is_host_name(std::string_view text);

}  // namespace slipway
