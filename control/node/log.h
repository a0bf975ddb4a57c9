#pragma once
// The node's log: lines on stderr, in the form that journald reads when it listens. A line that repeats (numbers
// aside) is written a few times, then counted, and the count is written now and then. Any thread.

#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>

namespace spdlog {
class logger;
}

namespace slipway {

enum class LogLevel : int { kTrace = 0, kDebug = 1, kInfo = 2, kWarn = 3, kError = 4, kOff = 6 };  // spdlog's

class Log {
 public:
  using Clock = std::uint64_t (*)();  // milliseconds, steady
  // `file`: where lines go, stderr if null (tests pass a buffer through `sink`).
  explicit Log(Clock clock = nullptr);
  ~Log();
  Log(const Log&) = delete;
  Log& operator=(const Log&) = delete;

  static bool known_level(std::string_view name);
  void set_level(std::string_view name);
  [[nodiscard]] std::string level() const;

  void write(LogLevel level, std::string_view text);
  void info(std::string_view text) { write(LogLevel::kInfo, text); }
  void warn(std::string_view text) { write(LogLevel::kWarn, text); }
  void error(std::string_view text) { write(LogLevel::kError, text); }
  void tick();   // writes counts that are due
  void flush();  // writes all counts
  [[nodiscard]] std::uint64_t folded() const;
  // For tests: lines go there too.
  void copy_to(std::string* lines);

  static constexpr std::uint32_t kRepeats = 5;         // lines alike that are written
  static constexpr std::uint64_t kWindowMs = 10'000;   // in this time; the rest is counted
  static constexpr std::size_t kMaxKinds = 1'024;      // kinds of lines remembered

 private:
  struct Kind {
    std::uint64_t since_ms;
    std::uint32_t written;
    std::uint64_t folded;
    LogLevel level;
    std::string last;
  };
  void put(LogLevel level, std::string_view text);
  void close_window(Kind& kind);

  Clock clock_;
  std::shared_ptr<spdlog::logger> logger_;
  mutable std::mutex mutex_;
  std::unordered_map<std::string, Kind> kinds_;
  std::uint64_t folded_ = 0;
  std::string* copy_ = nullptr;
};

}  // namespace slipway
