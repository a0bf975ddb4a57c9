#include "node/log.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <cstdlib>

namespace slipway {

namespace {

std::uint64_t steady_ms() {
  return static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now().time_since_epoch()).count());
}

// Two lines are alike when they differ in numbers only.
std::string kind_of(std::string_view text) {
  std::string kind;
  kind.reserve(text.size());
  for (const char c : text) {
    if (c < '0' || c > '9') {
      kind += c;
    } else if (kind.empty() || kind.back() != '0') {
      kind += '0';
    }
  }
  return kind;
}

// sd-daemon(3): journald takes the level from a number in front.
const char* journal_prefix(LogLevel level) {
  switch (level) {
    case LogLevel::kError: return "<3>";
    case LogLevel::kWarn: return "<4>";
    case LogLevel::kInfo: return "<6>";
    default: return "<7>";
  }
}

bool under_journald() { return std::getenv("JOURNAL_STREAM") != nullptr; }

}  // namespace

Log::Log(Clock clock) : clock_(clock != nullptr ? clock : steady_ms) {
  auto sink = std::make_shared<spdlog::sinks::stderr_sink_mt>();
  logger_ = std::make_shared<spdlog::logger>("slipwayd", std::move(sink));
  logger_->set_pattern(under_journald() ? "%v" : "%Y-%m-%d %H:%M:%S.%e %l %v");
  logger_->set_level(spdlog::level::info);
  logger_->flush_on(spdlog::level::trace);
}

Log::~Log() { flush(); }

bool Log::known_level(std::string_view name) {
  return name == "trace" || name == "debug" || name == "info" || name == "warn" || name == "error" || name == "off";
}

void Log::set_level(std::string_view name) { logger_->set_level(spdlog::level::from_str(name == "error" ? "err" : std::string(name))); }

std::string Log::level() const {
  switch (logger_->level()) {
    case spdlog::level::trace: return "trace";
    case spdlog::level::debug: return "debug";
    case spdlog::level::info: return "info";
    case spdlog::level::warn: return "warn";
    case spdlog::level::err: return "error";
    default: return "off";
  }
}

void Log::put(LogLevel level, std::string_view text) {
  static const bool kJournal = under_journald();
  if (copy_ != nullptr) {
    copy_->append(text).append("\n");
  }
  const auto spd = static_cast<spdlog::level::level_enum>(level);
  if (kJournal) {
    logger_->log(spd, "{}{}", journal_prefix(level), text);
  } else {
    logger_->log(spd, "{}", text);
  }
}

void Log::close_window(Kind& kind) {
  if (kind.folded != 0) {
    put(kind.level, fmt::format("({} more lines like: {})", kind.folded, kind.last));
  }
}

void Log::write(LogLevel level, std::string_view text) {
  if (static_cast<int>(level) < static_cast<int>(logger_->level())) {
    return;
  }
  const std::lock_guard lock(mutex_);
  const auto now = clock_();
  auto key = kind_of(text);
  auto at = kinds_.find(key);
  if (at != kinds_.end() && now - at->second.since_ms >= kWindowMs) {
    close_window(at->second);
    kinds_.erase(at);
    at = kinds_.end();
  }
  if (at == kinds_.end()) {
    if (kinds_.size() < kMaxKinds) {
      kinds_.emplace(std::move(key), Kind{now, 1, 0, level, std::string(text)});
    }
    put(level, text);
    return;
  }
  if (at->second.written < kRepeats) {
    ++at->second.written;
    put(level, text);
  } else {
    ++at->second.folded;
    ++folded_;
    at->second.last = text;
  }
}

void Log::tick() {
  const std::lock_guard lock(mutex_);
  const auto now = clock_();
  for (auto at = kinds_.begin(); at != kinds_.end();) {
    if (now - at->second.since_ms >= kWindowMs) {
      close_window(at->second);
      at = kinds_.erase(at);
    } else {
      ++at;
    }
  }
}

void Log::flush() {
  const std::lock_guard lock(mutex_);
  for (auto& [key, kind] : kinds_) {
    close_window(kind);
  }
  kinds_.clear();
}

std::uint64_t Log::folded() const {
  const std::lock_guard lock(mutex_);
  return folded_;
}

void Log::copy_to(std::string* lines) {
  const std::lock_guard lock(mutex_);
  copy_ = lines;
}

}  // namespace slipway
