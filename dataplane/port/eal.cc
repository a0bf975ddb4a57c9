#include "port/eal.h"

#include <fmt/format.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_lcore.h>
#include <rte_log.h>
#include <rte_malloc.h>
#include <rte_version.h>
#include <sched.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <utility>
#include <vector>

namespace slipway {
namespace {

constexpr std::size_t kMiB = 1u << 20;
constexpr std::size_t kEalOverheadBytes = 16 * kMiB;

// DPDK logs to one stream per process, from any thread.
struct LogSink {
  std::mutex mutex;
  std::string line;
  std::string last_error;
  std::function<void(int, std::string_view)> log;
  FILE* stream = nullptr;
};
LogSink& sink() {
  static LogSink instance;
  return instance;
}

void one_line(LogSink& s, int level) {
  while (!s.line.empty() && (s.line.back() == '\n' || s.line.back() == ' ')) {
    s.line.pop_back();
  }
  if (!s.line.empty()) {
    if (level <= static_cast<int>(RTE_LOG_ERR)) {
      s.last_error = s.line;
    }
    if (s.log) {
      s.log(level, s.line);
    }
  }
  s.line.clear();
}

ssize_t write_log(void*, const char* text, std::size_t size) {
  LogSink& s = sink();
  const std::scoped_lock lock(s.mutex);
  const int level = rte_log_cur_msg_loglevel();
  for (std::size_t i = 0; i < size; ++i) {
    s.line += text[i];
    if (text[i] == '\n' || s.line.size() > 1000) {
      one_line(s, level);
    }
  }
  return static_cast<ssize_t>(size);
}

void divert_logs(const EalOptions& options) {
  LogSink& s = sink();
  const std::scoped_lock lock(s.mutex);
  s.log = options.log;
  if (s.stream == nullptr) {
    s.stream = fopencookie(nullptr, "w", {.read = nullptr, .write = write_log, .seek = nullptr, .close = nullptr});
    if (s.stream != nullptr) {
      setvbuf(s.stream, nullptr, _IOLBF, 1024);
      rte_openlog_stream(s.stream);
    }
  }
}

// The CPUs that this process may use, as EAL wants them: one lcore that floats over all. EAL would otherwise pin the
// control thread to one CPU, and workers that inherit its affinity with it.
std::string lcores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  std::string cpus;
  if (sched_getaffinity(0, sizeof set, &set) == 0) {
    for (int cpu = 0; cpu < RTE_MAX_LCORE; ++cpu) {
      if (CPU_ISSET(cpu, &set)) {
        cpus += (cpus.empty() ? "" : ",") + std::to_string(cpu);
      }
    }
  }
  return cpus.empty() ? "0" : "0@(" + cpus + ")";
}

std::string why_not_started(const EalOptions& options, bool huge, std::size_t megabytes) {
  const std::string said = take_dpdk_error();
  const std::string tail = said.empty() ? std::string(".") : fmt::format(" (DPDK says: {}).", said);
  switch (rte_errno) {
    case EALREADY:
      return "DPDK was already started in this process, and can be started only once" + tail;
    case EACCES:
      return fmt::format("DPDK may not use {}: run as root, or give the process CAP_IPC_LOCK, CAP_SYS_ADMIN and CAP_NET_ADMIN{}",
                         options.pci ? "huge pages and VFIO" : "the memory it needs", tail);
    case ENOMEM:
      return fmt::format("DPDK cannot map {} MiB of {}: free memory, raise the memory limit of the service or container, or lower `limits.buffers`{}",
                         megabytes, huge ? "huge pages" : "memory", tail);
    default:
      return fmt::format("DPDK does not start: {}{}", rte_strerror(rte_errno), tail);
  }
}

std::string huge_page_advice(std::size_t megabytes) {
  return fmt::format("reserve them with `sysctl vm.nr_hugepages={}`", megabytes / 2 + 16);
}

}  // namespace

std::string take_dpdk_error() {
  LogSink& s = sink();
  if (s.stream != nullptr) {
    fflush(s.stream);
  }
  const std::scoped_lock lock(s.mutex);
  return std::exchange(s.last_error, {});
}

std::size_t free_huge_page_bytes() {
  std::size_t total = 0;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/sys/kernel/mm/hugepages", error)) {
    const std::string name = entry.path().filename();  // hugepages-2048kB
    std::size_t pages = 0;
    std::ifstream(entry.path() / "free_hugepages") >> pages;
    total += pages * std::strtoull(name.c_str() + std::strlen("hugepages-"), nullptr, 10) * 1024;
  }
  return total;
}

std::expected<std::unique_ptr<Eal>, std::string> Eal::start(const EalOptions& options) {
  divert_logs(options);
  std::size_t megabytes = (options.memory_bytes + kEalOverheadBytes) / kMiB + 1;
  const bool enough = free_huge_page_bytes() >= megabytes * kMiB;
  const bool must = options.huge_pages == HugePages::kRequired || (options.pci && options.huge_pages != HugePages::kNever);
  if (must && !enough) {
    return std::unexpected(fmt::format("{} MiB of huge pages are needed{} and {} MiB are free: {}.", megabytes,
                                       options.pci ? " for PCI ports" : "", free_huge_page_bytes() / kMiB,
                                       huge_page_advice(megabytes)));
  }
  const bool huge = enough && options.huge_pages != HugePages::kNever;
  if (!huge && options.pci) {
    megabytes += megabytes * 3 / 4;  // a buffer then takes a whole page
  }
  // EAL keeps pointers into its arguments.
  static std::vector<std::string> words;
  static std::vector<char*> arguments;
  words = {"slipway", "--no-telemetry", "--lcores", lcores(), "--file-prefix",
           options.file_prefix.empty() ? fmt::format("slipway-{}", getpid()) : options.file_prefix};
  if (huge) {
    words.emplace_back("--in-memory");  // no files that outlive the process
  } else {
    words.insert(words.end(), {"--no-huge", "--no-shconf", "-m", std::to_string(megabytes)});
  }
  if (options.pci) {
    // An allow list with a device that no driver takes: nothing is probed now, attach() takes what is configured.
    words.insert(words.end(), {"-a", "0000:00:00.0"});
  } else {
    words.insert(words.end(), {"--no-pci", "--iova-mode=va"});
  }
  arguments.clear();
  for (auto& word : words) {
    arguments.push_back(word.data());
  }
  rte_errno = 0;
  if (rte_eal_init(static_cast<int>(arguments.size()), arguments.data()) < 0) {
    return std::unexpected(why_not_started(options, huge, megabytes));
  }
  auto eal = std::unique_ptr<Eal>(new Eal);
  eal->huge_pages_ = huge;
  return eal;
}

Eal::~Eal() {
  const std::string folder = rte_eal_get_runtime_dir();
  rte_eal_cleanup();
  rmdir(folder.c_str());  // EAL makes it and leaves it; only when empty
}

std::size_t Eal::memory_bytes() const {
  std::size_t bytes = 0;
  for (unsigned i = 0; i < rte_socket_count(); ++i) {
    rte_malloc_socket_stats stats{};
    const int socket = rte_socket_id_by_idx(i);
    if (socket >= 0 && rte_malloc_get_socket_stats(socket, &stats) == 0) {
      bytes += stats.heap_totalsz_bytes;
    }
  }
  return bytes;
}

std::string Eal::summary() const {
  return fmt::format("{}, {} MiB of {} pages, IOVA as {}", rte_version(), memory_bytes() / kMiB, huge_pages_ ? "huge" : "ordinary",
                     rte_eal_iova_mode() == RTE_IOVA_PA ? "physical addresses" : "virtual addresses");
}

}  // namespace slipway
