#include "api_client.h"

#include <fmt/format.h>
#include <http_parser.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <nlohmann/json.hpp>

#include "client/endpoint.h"

namespace slipway::ctl {
namespace {

constexpr std::size_t kMaxAnswerBytes = 256u << 20;

Failure not_reachable(const std::string& address, const std::string& why) {
  return {ExitCode::kNotReachable, fmt::format("no node answers at {}: {}", address, why),
          "is slipwayd running? --api ADDRESS or SLIPWAY_API names another control socket"};
}

class Deadline {
 public:
  explicit Deadline(int ms) : end_(std::chrono::steady_clock::now() + std::chrono::milliseconds(ms)) {}
  [[nodiscard]] int left_ms() const {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end_ - std::chrono::steady_clock::now()).count();
    return left > 0 ? static_cast<int>(left) : 0;
  }

 private:
  std::chrono::steady_clock::time_point end_;
};

class Socket {
 public:
  Socket() = default;
  explicit Socket(int fd) : fd_(fd) {}
  Socket(Socket&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Socket& operator=(Socket&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Socket() {
    if (fd_ >= 0) {
      close(fd_);
    }
  }
  [[nodiscard]] int fd() const { return fd_; }

 private:
  int fd_ = -1;
};

// Waits for the socket; false: the time is over or a signal came.
bool wait_for(int fd, short events, int ms) {
  pollfd one{.fd = fd, .events = events, .revents = 0};
  return poll(&one, 1, ms) > 0;
}

std::expected<Socket, Failure> open_socket(const std::string& address, const Deadline& deadline) {
  auto endpoint = parse_endpoint(address);
  if (!endpoint || endpoint->kind == Endpoint::Kind::kUdp) {
    return std::unexpected(Failure{ExitCode::kUsage, endpoint ? fmt::format("the control API is not on UDP: {}", address) : endpoint.error(),
                                   "--api unix:///run/slipway/control.sock or --api tcp://127.0.0.1:46368"});
  }
  if (const auto found = look_up(*endpoint, static_cast<std::uint64_t>(std::max(deadline.left_ms(), 0))); !found) {
    return std::unexpected(Failure{ExitCode::kNotReachable, found.error(), "or write its IP address: --api tcp://127.0.0.1:46368"});
  }
  Socket socket(::socket(endpoint->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (socket.fd() < 0) {
    return std::unexpected(not_reachable(address, strerror(errno)));
  }
  if (connect(socket.fd(), reinterpret_cast<const sockaddr*>(&endpoint->address), endpoint->address_bytes) != 0) {
    if (errno == EACCES || errno == EPERM) {
      return std::unexpected(Failure{ExitCode::kRefused, fmt::format("no permission to use {}", address), "run as the node's user or as root"});
    }
    if (errno != EINPROGRESS) {
      return std::unexpected(not_reachable(address, strerror(errno)));
    }
    if (!wait_for(socket.fd(), POLLOUT, deadline.left_ms())) {
      return std::unexpected(Failure{ExitCode::kTimeout, fmt::format("{} does not accept the connection in time", address), "--timeout SECONDS"});
    }
    int error = 0;
    socklen_t bytes = sizeof error;
    getsockopt(socket.fd(), SOL_SOCKET, SO_ERROR, &error, &bytes);
    if (error != 0) {
      return std::unexpected(not_reachable(address, strerror(error)));
    }
  }
  return socket;
}

struct Answer {
  int status = 0;
  std::string body;
  bool complete = false;
  bool stopped = false;
  const std::function<bool(std::string_view)>* on_bytes = nullptr;
};

http_parser_settings parser_settings() {
  http_parser_settings settings{};
  settings.on_headers_complete = [](http_parser* p) {
    static_cast<Answer*>(p->data)->status = static_cast<int>(p->status_code);
    return 0;
  };
  settings.on_body = [](http_parser* p, const char* at, std::size_t length) {
    auto* answer = static_cast<Answer*>(p->data);
    if (answer->on_bytes != nullptr && answer->status < 300) {
      answer->stopped = answer->stopped || !(*answer->on_bytes)({at, length});
      return 0;
    }
    if (answer->body.size() + length > kMaxAnswerBytes) {
      return 1;
    }
    answer->body.append(at, length);
    return 0;
  };
  settings.on_message_complete = [](http_parser* p) {
    static_cast<Answer*>(p->data)->complete = true;
    return 0;
  };
  return settings;
}

std::expected<void, Failure> send_all(const Socket& socket, std::string_view text, const Deadline& deadline, const std::string& address) {
  while (!text.empty()) {
    const ssize_t sent = ::send(socket.fd(), text.data(), text.size(), MSG_NOSIGNAL);
    if (sent > 0) {
      text.remove_prefix(static_cast<std::size_t>(sent));
    } else if (errno == EAGAIN) {
      if (!wait_for(socket.fd(), POLLOUT, deadline.left_ms())) {
        return std::unexpected(Failure{ExitCode::kTimeout, fmt::format("{} takes no request in time", address), ""});
      }
    } else if (errno != EINTR) {
      return std::unexpected(not_reachable(address, strerror(errno)));
    }
  }
  return {};
}

// deadline null: as long as it takes, or until a signal.
std::expected<void, Failure> read_answer(const Socket& socket, Answer* answer, const Deadline* deadline, const std::string& address) {
  http_parser parser;
  http_parser_init(&parser, HTTP_RESPONSE);
  parser.data = answer;
  const auto settings = parser_settings();
  std::array<char, 65536> buffer;
  while (!answer->complete && !answer->stopped) {
    if (!wait_for(socket.fd(), POLLIN, deadline != nullptr ? deadline->left_ms() : -1)) {
      if (interrupted()) {
        answer->stopped = true;
        break;
      }
      if (deadline != nullptr && deadline->left_ms() == 0) {
        return std::unexpected(Failure{ExitCode::kTimeout, fmt::format("{} did not answer in time", address), "--timeout SECONDS; is the node overloaded? see its log"});
      }
      continue;
    }
    const ssize_t got = recv(socket.fd(), buffer.data(), buffer.size(), 0);
    if (got < 0) {
      if (errno == EAGAIN || errno == EINTR) {
        continue;
      }
      return std::unexpected(not_reachable(address, strerror(errno)));
    }
    const std::size_t parsed = http_parser_execute(&parser, &settings, buffer.data(), static_cast<std::size_t>(got));
    // Parsing an end of file completes an answer that has no length.
    if (got == 0 && !answer->complete) {
      return std::unexpected(not_reachable(address, "it closed the connection before it had answered"));
    }
    if (parsed != static_cast<std::size_t>(got) && !answer->complete) {
      return std::unexpected(Failure{ExitCode::kFailed, fmt::format("{} does not speak HTTP: {}", address, http_errno_description(HTTP_PARSER_ERRNO(&parser))),
                                     "is this the address of the control API, not of the native listener?"});
    }
  }
  return {};
}

Failure failure_of(const Answer& answer) {
  Failure failure{ExitCode::kFailed, fmt::format("the node answered {}", answer.status), ""};
  const auto json = nlohmann::json::parse(answer.body, nullptr, false);
  if (json.is_object()) {
    failure.error = json.value("error", failure.error);
    failure.remedy = json.value("try", "");
  }
  if (answer.status == 404) {
    failure.code = ExitCode::kNotFound;
  } else if (answer.status == 400) {
    failure.code = ExitCode::kUsage;
  } else if (answer.status == 408 || answer.status == 504) {
    failure.code = ExitCode::kTimeout;
  } else if (answer.status >= 401) {
    failure.code = ExitCode::kRefused;
  }
  return failure;
}

std::string request_text(std::string_view method, std::string_view path, const Parameters& parameters) {
  std::string target(path);
  std::string body;
  if (method == "GET") {
    for (const auto& [key, value] : parameters) {
      target += fmt::format("{}{}={}", target.size() == path.size() ? '?' : '&', key, percent_encoded(value));
    }
  } else {
    nlohmann::json object = nlohmann::json::object();
    for (const auto& [key, value] : parameters) {
      object[key] = value;
    }
    body = object.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  }
  std::string text = fmt::format("{} {} HTTP/1.1\r\nHost: slipway\r\nConnection: close\r\n", method, target);
  if (method == "POST") {
    text += fmt::format("Content-Type: application/json\r\nContent-Length: {}\r\n", body.size());
  }
  return text + "\r\n" + body;
}

std::expected<void, Failure> exchange(const Context& context, std::string_view method, std::string_view path, const Parameters& parameters,
                                      Answer* answer, bool endless) {
  const std::string address = context.api.empty() ? default_api_address() : context.api;
  const Deadline deadline(context.timeout_ms);
  auto socket = open_socket(address, deadline);
  if (!socket) {
    return std::unexpected(socket.error());
  }
  if (auto sent = send_all(*socket, request_text(method, path, parameters), deadline, address); !sent) {
    return sent;
  }
  if (auto read = read_answer(*socket, answer, endless ? nullptr : &deadline, address); !read) {
    return read;
  }
  if (answer->status >= 300) {
    return std::unexpected(failure_of(*answer));
  }
  return {};
}

}  // namespace

std::string default_api_address() {
  if (const char* set = std::getenv("SLIPWAY_API"); set != nullptr && *set != '\0') {
    return set;
  }
  constexpr std::string_view kSystem = "/run/slipway/control.sock";
  if (geteuid() == 0) {
    return fmt::format("unix://{}", kSystem);
  }
  const char* runtime = std::getenv("XDG_RUNTIME_DIR");
  const std::string own = runtime != nullptr && *runtime != '\0' ? fmt::format("{}/slipway/control.sock", runtime)
                                                                 : fmt::format("/tmp/slipway-{}/control.sock", geteuid());
  return fmt::format("unix://{}", access(own.c_str(), F_OK) != 0 && access(kSystem.data(), F_OK) == 0 ? kSystem : own);
}

std::string percent_encoded(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || std::strchr("-._~/", c) != nullptr;
    if (plain && c != '\0') {
      out += c;
    } else {
      out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    }
  }
  return out;
}

std::expected<std::string, Failure> get(const Context& context, std::string_view path, const Parameters& parameters) {
  Answer answer;
  if (auto result = exchange(context, "GET", path, parameters, &answer, false); !result) {
    return std::unexpected(result.error());
  }
  return std::move(answer.body);
}

std::expected<std::string, Failure> post(const Context& context, std::string_view path, const Parameters& parameters) {
  Answer answer;
  if (auto result = exchange(context, "POST", path, parameters, &answer, false); !result) {
    return std::unexpected(result.error());
  }
  return std::move(answer.body);
}

std::expected<void, Failure> stream(const Context& context, std::string_view path, const Parameters& parameters,
                                    const std::function<bool(std::string_view)>& on_bytes) {
  Answer answer{.on_bytes = &on_bytes};
  return exchange(context, "POST", path, parameters, &answer, true);
}

}  // namespace slipway::ctl
