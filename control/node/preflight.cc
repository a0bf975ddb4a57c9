#include "node/preflight.h"

#include <fmt/format.h>
#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>

#include "port/pool.h"
#include "port/socket_features.h"

namespace slipway {

namespace {

namespace fs = std::filesystem;

constexpr std::uint32_t kWantedDescriptors = 4'096;

std::optional<std::string> read_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  if (!std::getline(file, line)) {
    return std::nullopt;
  }
  return line;
}

std::optional<std::uint64_t> read_value(const std::string& path) {
  std::ifstream file(path);
  std::uint64_t value = 0;
  if (!(file >> value)) {
    return std::nullopt;
  }
  return value;
}

bool is_pci(const std::string& device) { return device.size() >= 12 && device[4] == ':' && device[7] == ':'; }

bool has_capability(const std::string& root, unsigned number) {
  std::ifstream file(root + "/proc/self/status");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("CapEff:")) {
      return (std::stoull("0x" + line.substr(line.find_first_not_of(" \t", 7)), nullptr, 16) >> number & 1) != 0;
    }
  }
  return false;
}

Check check_io_uring(const NodeSettings& settings) {
  Check check{.name = "io_uring", .found = {}, .repair = {}};
  if (std::ranges::none_of(settings.workers, [](const auto& w) { return w.kind == WorkerKind::kSocket; })) {
    check.found = "not needed: there is no socket worker";
    return check;
  }
  const auto features = probe_socket_features();
  if (!features) {
    check.result = CheckResult::kBad;
    check.found = features.error();
    check.repair = "sysctl -w kernel.io_uring_disabled=0";
    return check;
  }
  for (const auto& feature : describe(*features)) {
    check.found += fmt::format("{}{}{}", check.found.empty() ? "" : ", ", feature.used ? "" : "no ", feature.name);
  }
  return check;
}

Check check_huge_pages(const NodeSettings& settings, const std::string& root) {
  Check check{.name = "huge_pages", .found = {}, .repair = {}};
  const std::uint64_t wanted = pool_bytes(settings.limits.buffers) * std::max<std::size_t>(1, settings.ports.size());
  std::uint64_t reserved = 0;
  std::uint64_t free = 0;
  std::error_code fault;
  for (const auto& size : fs::directory_iterator(root + "/sys/kernel/mm/hugepages", fault)) {
    const auto name = size.path().filename().string();  // hugepages-2048kB
    std::uint64_t kib = 0;
    std::istringstream(name.substr(name.find('-') + 1)) >> kib;
    reserved += kib * 1024 * read_value(size.path() / "nr_hugepages").value_or(0);
    free += kib * 1024 * read_value(size.path() / "free_hugepages").value_or(0);
  }
  bool mounted = false;
  std::ifstream mounts(root + "/proc/mounts");
  for (std::string line; std::getline(mounts, line);) {
    mounted |= line.find(" hugetlbfs ") != std::string::npos;
  }
  check.found = fmt::format("{} MiB reserved, {} MiB free, {}; this configuration would use {} MiB", reserved >> 20, free >> 20,
                            mounted ? "hugetlbfs is mounted" : "hugetlbfs is not mounted", wanted >> 20);
  if (!settings.huge_pages) {
    check.found += "; not used (`slipway.huge_pages: false`)";
    return check;
  }
  const auto pages = (wanted + (2u << 20) - 1) / (2u << 20);
  const bool ports = !settings.ports.empty();
  if (free < wanted) {
    check.result = ports ? CheckResult::kNotice : CheckResult::kGood;
    check.found += ports ? "; ordinary pages are used instead: DPDK ports are slower" : "; ordinary pages do for sockets";
    check.repair = ports ? fmt::format("sysctl -w vm.nr_hugepages={}", pages + (reserved - free) / (2u << 20)) : "";
  } else if (!mounted) {
    check.result = CheckResult::kNotice;
    check.repair = "mount -t hugetlbfs none /dev/hugepages";
  }
  return check;
}

Check check_cgroup(const NodeSettings& settings, const std::string& root) {
  Check check{.name = "cgroup_memory", .found = "no limit", .repair = {}};
  const std::uint64_t wanted = pool_bytes(settings.limits.buffers) + settings.limits.node_bytes + (128u << 20);
  std::string group = "/";
  std::ifstream file(root + "/proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("0::")) {
      group = line.substr(3);
    }
  }
  const auto limit = read_line(root + "/sys/fs/cgroup" + group + "/memory.max");
  if (!limit || *limit == "max") {
    return check;
  }
  const auto bytes = std::strtoull(limit->c_str(), nullptr, 10);
  check.found = fmt::format("{} MiB; buffers and `limits.node_bytes` may need {} MiB", bytes >> 20, wanted >> 20);
  if (bytes < wanted) {
    check.result = CheckResult::kNotice;
    check.repair = "raise MemoryMax= of the service, or lower `slipway.limits.node_bytes`";
  }
  return check;
}

Check check_descriptors() {
  Check check{.name = "open_files", .found = {}, .repair = {}};
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  check.found = fmt::format("{} at most", limit.rlim_max);
  if (limit.rlim_max < kWantedDescriptors) {
    check.result = CheckResult::kNotice;
    check.repair = "ulimit -Hn 65536, or LimitNOFILE=65536 in the service";
  }
  return check;
}

Check check_cpus(const NodeSettings& settings) {
  Check check{.name = "cpus", .found = {}, .repair = {}};
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  sched_getaffinity(0, sizeof allowed, &allowed);
  check.found = fmt::format("{} may be used", CPU_COUNT(&allowed));
  std::size_t spinning = 0;
  for (const auto& worker : settings.workers) {
    if (worker.cpu && (*worker.cpu >= CPU_SETSIZE || !CPU_ISSET(*worker.cpu, &allowed))) {
      check.result = CheckResult::kBad;
      check.found += fmt::format("; worker {} wants CPU {}, which is not among them", worker.name, *worker.cpu);
      check.repair = "choose another `cpu`, or widen the cpuset: taskset -pc, AllowedCPUs= of the service";
    }
    spinning += worker.kind == WorkerKind::kPoll && worker.idle == IdlePolicy::kSpin;
  }
  if (check.result == CheckResult::kGood && spinning >= static_cast<std::size_t>(CPU_COUNT(&allowed))) {
    check.result = CheckResult::kNotice;
    check.found += fmt::format("; {} workers spin and leave none for the control thread", spinning);
    check.repair = "use `idle: pause` or fewer poll workers";
  }
  return check;
}

Check check_device(const PortSettings& port, const std::string& root) {
  Check check{.name = fmt::format("port {}", port.name), .found = {}, .repair = {}};
  if (!is_pci(port.device)) {
    check.found = fmt::format("{}: a virtual device", port.device);
    const bool packet = port.device.starts_with("net_af_") || port.device.starts_with("net_tap");
    if (packet && !has_capability(root, 12) && !has_capability(root, 13)) {  // CAP_NET_ADMIN, CAP_NET_RAW
      check.result = CheckResult::kBad;
      check.found += "; it needs CAP_NET_RAW (and CAP_NET_ADMIN)";
      check.repair = "run as root, or AmbientCapabilities=CAP_NET_RAW CAP_NET_ADMIN";
    }
    return check;
  }
  const auto folder = root + "/sys/bus/pci/devices/" + port.device;
  std::error_code fault;
  if (!fs::exists(folder, fault)) {
    check.result = CheckResult::kBad;
    check.found = fmt::format("there is no PCI device {}", port.device);
    check.repair = "lspci -D shows what there is";
    return check;
  }
  const auto driver = fs::read_symlink(folder + "/driver", fault).filename().string();
  check.found = fmt::format("driver {}", driver.empty() ? "none" : driver);
  if (driver != "vfio-pci" && driver != "uio_pci_generic" && driver != "igb_uio" && driver != "mlx5_core" && driver != "mlx4_core") {
    check.result = CheckResult::kBad;
    check.found += ", which is no DPDK driver";
    check.repair = fmt::format("modprobe vfio-pci && dpdk-devbind.py --bind=vfio-pci {}", port.device);
  }
  return check;
}

Check check_iommu(const NodeSettings& settings, const std::string& root) {
  Check check{.name = "iommu", .found = "not needed: no PCI port", .repair = {}};
  if (std::ranges::none_of(settings.ports, [](const auto& p) { return is_pci(p.device); })) {
    return check;
  }
  std::error_code fault;
  const auto groups = std::distance(fs::directory_iterator(root + "/sys/kernel/iommu_groups", fault), fs::directory_iterator());
  check.found = fmt::format("{} groups", groups);
  if (groups == 0) {
    check.result = CheckResult::kNotice;
    check.found = "none: vfio-pci works only without protection of memory";
    check.repair = "boot with intel_iommu=on or amd_iommu=on, or: echo 1 > /sys/module/vfio/parameters/enable_unsafe_noiommu_mode";
  }
  return check;
}

}  // namespace

std::vector<Check> preflight(const NodeSettings& settings, const std::string& root) {
  std::vector<Check> out{check_io_uring(settings), check_huge_pages(settings, root), check_cgroup(settings, root),
                         check_descriptors(),      check_cpus(settings),             check_iommu(settings, root)};
  for (const auto& port : settings.ports) {
    out.push_back(check_device(port, root));
  }
  return out;
}

bool preflight_text(const std::vector<Check>& checks, std::string& out) {
  constexpr std::array<std::string_view, 3> kWords = {"ok", "note", "BAD"};
  bool good = true;
  for (const auto& check : checks) {
    good &= check.result != CheckResult::kBad;
    out += fmt::format("{:5}{:14} {}\n", kWords[static_cast<std::size_t>(check.result)], check.name, check.found);
    if (!check.repair.empty()) {
      out += fmt::format("     {:14} repair: {}\n", "", check.repair);
    }
  }
  return good;
}

}  // namespace slipway
