#include "server_process.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <utility>

namespace slipway::bench {
namespace {

constexpr int kListenTries = 30'000;
constexpr int kListenEveryUs = 1'000;

std::string bench_name = "bench";
std::vector<pid_t> running;

// In the child: it does not outlive us.
void follow_parent(pid_t parent) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) {
    std::_Exit(1);
  }
}

}  // namespace

void name_bench(std::string_view bench) {
  bench_name = bench;
  std::atexit([] {
    for (const pid_t pid : running) {
      kill(pid, SIGKILL);
    }
  });
}

void die(const std::string& why) {
  std::fprintf(stderr, "%s: %s\n", bench_name.c_str(), why.c_str());
  std::exit(1);
}

std::uint16_t free_port() {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t bytes = sizeof address;
  if (bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 || getsockname(fd, reinterpret_cast<sockaddr*>(&address), &bytes) != 0) {
    die("cannot find a free port");
  }
  close(fd);
  return ntohs(address.sin_port);
}

bool listens(std::uint16_t port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const bool there = connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  close(fd);
  return there;
}

void wait_for_listener(std::uint16_t port) {
  for (int i = 0; !listens(port); ++i) {
    if (i == kListenTries) {
      die(fmt::format("nothing listens on port {}; did the server start?", port));
    }
    usleep(kListenEveryUs);
  }
}

TemporaryFolder::TemporaryFolder() {
  std::string path = (std::filesystem::temp_directory_path() / "slipway-bench-XXXXXX").string();
  if (mkdtemp(path.data()) == nullptr) {
    die("cannot make a temporary folder");
  }
  path_ = path;
}

TemporaryFolder::~TemporaryFolder() { std::filesystem::remove_all(path_); }

std::string slipwayd_path() {
  const char* build = std::getenv("SLIPWAY_BUILD");
  const auto path = std::filesystem::path(build != nullptr ? build : "build") / "tools" / "slipwayd";
  if (!std::filesystem::exists(path)) {
    die(fmt::format("there is no {}; tools/build makes it, and tools/bench does so by itself", path.string()));
  }
  return path;
}

ServerProcess::ServerProcess(std::vector<std::string> words, const std::string& log) {
  std::vector<char*> argv;
  for (auto& word : words) {
    argv.push_back(word.data());
  }
  argv.push_back(nullptr);
  const pid_t parent = getpid();
  pid_ = fork();
  if (pid_ == 0) {
    follow_parent(parent);
    const int fd = open(log.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    dup2(fd, 1);
    dup2(fd, 2);
    execvp(argv[0], argv.data());
    std::_Exit(127);
  }
  if (pid_ < 0) {
    die(fmt::format("cannot start {}", words[0]));
  }
  running.push_back(pid_);
}

ServerProcess::ServerProcess(const std::function<void()>& body) {
  const pid_t parent = getpid();
  pid_ = fork();
  if (pid_ == 0) {
    follow_parent(parent);
    body();
    std::_Exit(0);
  }
  if (pid_ < 0) {
    die("cannot make a process");
  }
  running.push_back(pid_);
}

void ServerProcess::kill_at_once() {
  if (pid_ > 0) {
    std::erase(running, pid_);
    kill(pid_, SIGKILL);
    waitpid(std::exchange(pid_, -1), nullptr, 0);
  }
}

ServerProcess::~ServerProcess() {
  if (pid_ <= 0) {
    return;
  }
  std::erase(running, pid_);
  kill(pid_, SIGTERM);
  for (int i = 0; i < 300; ++i) {
    if (waitpid(pid_, nullptr, WNOHANG) != 0) {
      return;
    }
    usleep(10'000);
  }
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
}

std::uint64_t ServerProcess::cpu_ns() const {
  clockid_t clock{};
  timespec time{};
  if (clock_getcpuclockid(pid_, &clock) != 0 || clock_gettime(clock, &time) != 0) {
    die("a server has died");
  }
  return static_cast<std::uint64_t>(time.tv_sec) * 1'000'000'000u + static_cast<std::uint64_t>(time.tv_nsec);
}

std::uint64_t ServerProcess::resident_bytes() const {
  std::ifstream file(fmt::format("/proc/{}/status", pid_));
  std::string word;
  while (file >> word) {
    std::uint64_t kb = 0;
    if (word == "VmRSS:" && file >> kb) {
      return kb * 1024;
    }
  }
  die("a server has died");
}

}  // namespace slipway::bench
