#pragma once
// A server that a whole-system benchmark starts, measures and stops.

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace slipway::bench {

// Ends the program with "<bench>: <why>" and stops every server that still runs. Name the bench first.
void name_bench(std::string_view bench);
[[noreturn]] void die(const std::string& why);

std::uint16_t free_port();
bool listens(std::uint16_t port);          // somebody, on loopback
void wait_for_listener(std::uint16_t port);  // up to half a minute, then ends the program
// Of the build that SLIPWAY_BUILD names; ends the program when there is none.
std::string slipwayd_path();

// Gone with all that is in it when this goes away.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  [[nodiscard]] std::string file(std::string_view name) const { return (path_ / name).string(); }

 private:
  std::filesystem::path path_;
};

// Stopped when this goes away.
class ServerProcess {
 public:
  ServerProcess(std::vector<std::string> words, const std::string& log);
  // A copy of this process that runs `body`, which does not return.
  explicit ServerProcess(const std::function<void()>& body);
  ~ServerProcess();
  ServerProcess(const ServerProcess&) = delete;
  ServerProcess& operator=(const ServerProcess&) = delete;

  [[nodiscard]] std::uint64_t cpu_ns() const;  // of all its threads
  [[nodiscard]] std::uint64_t resident_bytes() const;
  [[nodiscard]] pid_t pid() const { return pid_; }
  void kill_at_once();  // SIGKILL, and gone when this returns

 private:
  pid_t pid_ = -1;
};

}  // namespace slipway::bench
