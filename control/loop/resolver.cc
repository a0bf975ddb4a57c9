#include "loop/resolver.h"

#include <ares.h>
#include <fmt/format.h>
#include <netinet/in.h>

#include <algorithm>
#include <cctype>
#include <cstring>
#include <mutex>
#include <optional>

namespace slipway {

namespace {

constexpr std::uint64_t kTickNs = 100'000'000;  // how often c-ares looks at its deadlines
constexpr std::size_t kMaxNameBytes = 253;

// The library's own set-up is for a whole process, and not safe to be done twice at once.
int start_library() {
  static std::once_flag once;
  static int status = ARES_SUCCESS;
  std::call_once(once, [] { status = ares_library_init(ARES_LIB_INIT_ALL); });
  return status;
}

std::vector<HostAddress> addresses_of(const ares_addrinfo* info) {
  std::vector<HostAddress> out;
  for (const auto* node = info->nodes; node != nullptr; node = node->ai_next) {
    HostAddress one;
    one.family = node->ai_family;
    if (node->ai_family == AF_INET) {
      std::memcpy(one.bytes, &reinterpret_cast<const sockaddr_in*>(node->ai_addr)->sin_addr, 4);
    } else if (node->ai_family == AF_INET6) {
      std::memcpy(one.bytes, &reinterpret_cast<const sockaddr_in6*>(node->ai_addr)->sin6_addr, 16);
    } else {
      continue;
    }
    const bool known = std::ranges::any_of(out, [&](const auto& o) { return o.family == one.family && std::memcmp(o.bytes, one.bytes, 16) == 0; });
    if (!known) {
      out.push_back(one);
    }
  }
  return out;
}

std::string remedy_of(int status) {
  switch (status) {
    case ARES_ENOTFOUND:
    case ARES_ENODATA:
    case ARES_EBADNAME:
      return "check its spelling, DNS and /etc/hosts";
    default:
      return "is a server of /etc/resolv.conf reachable?";
  }
}

}  // namespace

bool is_host_name(std::string_view text) {
  const auto good = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '_' || c == '.'; };
  if (text.empty() || text.size() > kMaxNameBytes || !std::ranges::all_of(text, good) || text.front() == '.' || text.front() == '-' ||
      text.find("..") != std::string_view::npos) {
    return false;
  }
  const auto without_dot = text.back() == '.' ? text.substr(0, text.size() - 1) : text;
  const auto last = without_dot.substr(without_dot.rfind('.') + 1);
  return std::ranges::any_of(last, [](char c) { return std::isdigit(static_cast<unsigned char>(c)) == 0; });
}

// One question is one channel: it reads the system's files when it is made, and dies with its answer.
struct Resolver::Question {
  Question(Resolver& resolver_, std::uint64_t number_, std::string host_, Call call_)
      : resolver(resolver_), number(number_), host(std::move(host_)), call(std::move(call_)) {}
  ~Question() {
    resolver.loop_.cancel(timer);
    if (channel != nullptr) {
      over = true;
      ares_destroy(channel);
    }
    for (const int fd : descriptors) {
      resolver.loop_.unwatch(fd);
    }
  }
  Question(const Question&) = delete;
  Question& operator=(const Question&) = delete;

  static void on_socket(void* self, ares_socket_t fd, int readable, int writable) {
    static_cast<Question*>(self)->watch(fd, (readable != 0 ? fd_event::kReadable : 0) | (writable != 0 ? fd_event::kWritable : 0));
  }
  static void on_answer(void* self, int status, int, ares_addrinfo* info) {
    static_cast<Question*>(self)->answered(status, info);
    ares_freeaddrinfo(info);
  }

  void watch(int fd, std::uint32_t events) {
    const auto at = std::ranges::find(descriptors, fd);
    if (events == 0) {
      if (at != descriptors.end()) {
        descriptors.erase(at);
        resolver.loop_.unwatch(fd);
      }
    } else if (at != descriptors.end()) {
      resolver.loop_.set_events(fd, events);
    } else if (resolver.loop_.watch(fd, events, [this, fd](std::uint32_t happened) { ready(fd, happened); })) {
      descriptors.push_back(fd);  // else c-ares runs into its deadline
    }
  }
  void ready(int fd, std::uint32_t happened) {
    const bool readable = (happened & (fd_event::kReadable | fd_event::kTrouble)) != 0;
    ares_process_fd(channel, readable ? fd : ARES_SOCKET_BAD, (happened & fd_event::kWritable) != 0 ? fd : ARES_SOCKET_BAD);
  }
  void answered(int status, const ares_addrinfo* info) {
    if (over) {
      return;
    }
    auto addresses = status == ARES_SUCCESS ? addresses_of(info) : std::vector<HostAddress>{};
    if (!addresses.empty()) {
      settle(std::move(addresses));
    } else {
      const int why = status == ARES_SUCCESS ? static_cast<int>(ARES_ENODATA) : status;
      settle(std::unexpected(fmt::format("`{}` cannot be resolved: {}; {}", host, ares_strerror(why), remedy_of(why))));
    }
  }
  // c-ares may still be on the stack: the channel goes, and the caller hears of it, at the end of the turn.
  void settle(Answer with) {
    over = true;
    answer = std::move(with);
    resolver.loop_.defer([&r = resolver, n = number, alive = weak] {
      if (!alive.expired()) {
        r.finish(n);
      }
    });
  }

  Resolver& resolver;
  const std::uint64_t number;
  const std::string host;
  Call call;
  std::weak_ptr<Question> weak;
  ares_channel channel = nullptr;
  std::vector<int> descriptors;
  TimerId timer = TimerId::kNone;
  bool over = false;
  std::optional<Answer> answer;
};

Resolver::~Resolver() = default;

std::uint64_t Resolver::resolve(const std::string& host, Call call) {
  const auto number = next_++;
  auto question = std::make_shared<Question>(*this, number, host, std::move(call));
  question->weak = question;
  open_.push_back(question);
  ares_options options{};
  options.timeout = kTryMs;
  options.tries = kTries;
  options.sock_state_cb = &Question::on_socket;
  options.sock_state_cb_data = question.get();
  int status = start_library();
  if (status == ARES_SUCCESS) {
    status = ares_init_options(&question->channel, &options, ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB);
  }
  if (status == ARES_SUCCESS && !servers_.empty()) {
    status = ares_set_servers_ports_csv(question->channel, servers_.c_str());
  }
  if (status != ARES_SUCCESS) {
    question->settle(std::unexpected(fmt::format("`{}` cannot be resolved: {}", host, ares_strerror(status))));
    return number;
  }
  question->timer = loop_.every(kTickNs, [q = question.get()] { ares_process_fd(q->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD); });
  ares_addrinfo_hints hints{};
  hints.ai_family = AF_UNSPEC;
  ares_getaddrinfo(question->channel, host.c_str(), nullptr, &hints, &Question::on_answer, question.get());
  return number;
}

void Resolver::cancel(std::uint64_t number) {
  std::erase_if(open_, [&](const auto& q) { return q->number == number; });
}

void Resolver::finish(std::uint64_t number) {
  const auto at = std::ranges::find(open_, number, [](const auto& q) { return q->number; });
  if (at == open_.end()) {
    return;
  }
  auto call = std::move((*at)->call);
  auto answer = std::move(*(*at)->answer);
  open_.erase(at);
  call(std::move(answer));  // last: the caller may end this resolver
}

}  // namespace slipway
