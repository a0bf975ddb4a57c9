#pragma once
// DPDK's environment (EAL), started once a process by the control thread before pools, ports and workers are made.
//
// Memory comes from huge pages when enough are free, else from ordinary pages, mapped at its full size and touched
// as it is used. No telemetry, no shared configuration files, a file prefix of our own. PCI is looked at only
// when a port is configured by PCI address, and then only the devices named are taken. Drivers are those of the
// DPDK driver folder of the system: installing another Debian driver package needs no rebuild.

#include <cstddef>
#include <cstdint>
#include <expected>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace slipway {

enum class HugePages : std::uint8_t { kAuto, kRequired, kNever };

struct EalOptions {
  std::size_t memory_bytes = 0;    // that pools, rings and ports will take: see pool_bytes(), kPortMemoryBytes
  HugePages huge_pages = HugePages::kAuto;
  bool pci = false;                // some port is a PCI device
  std::string file_prefix;         // empty: slipway-<pid>
  // DPDK's own messages, one line a call, from any thread. level: 1 emergency .. 8 debug, as syslog + 1.
  std::function<void(int level, std::string_view line)> log;
};

inline constexpr std::size_t kPortMemoryBytes = 32u << 20;  // rings and tables of one port, generously

class Eal {
 public:
  // One sentence on an error: what is missing and what to do. DPDK can be started once in a process.
  static std::expected<std::unique_ptr<Eal>, std::string> start(const EalOptions& options);
  Eal(const Eal&) = delete;
  Eal& operator=(const Eal&) = delete;
  ~Eal();  // after all ports, pools and workers are gone

  [[nodiscard]] bool huge_pages() const { return huge_pages_; }
  [[nodiscard]] std::size_t memory_bytes() const;   // of DPDK's heap now
  [[nodiscard]] std::string summary() const;        // for people: version, pages, IOVA mode

 private:
  Eal() = default;
  bool huge_pages_ = false;
};

// The last error that DPDK logged, for sentences like "...: DPDK says ...". Empties it.
[[nodiscard]] std::string take_dpdk_error();

// Free bytes of huge pages of all sizes on all NUMA nodes.
[[nodiscard]] std::size_t free_huge_page_bytes();

}  // namespace slipway
