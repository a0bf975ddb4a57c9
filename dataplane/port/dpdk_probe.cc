#include "port/dpdk_probe.h"

#include <fmt/format.h>
#include <net/if.h>
#include <rte_dev.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <unistd.h>

#include <array>
#include <filesystem>

#include "port/eal.h"

namespace slipway {
namespace {

namespace fs = std::filesystem;

std::string full_pci_address(std::string_view device) {
  return (device.size() == 7 ? "0000:" : "") + std::string(device);
}

std::string name_of(std::string_view device) {
  const std::string_view name = device.substr(0, device.find(','));
  return is_pci_address(name) ? full_pci_address(name) : std::string(name);
}

// Kernel drivers that lend their device to DPDK without being unbound.
bool is_bifurcated(std::string_view driver) { return driver == "mlx5_core" || driver == "mlx4_core"; }
bool is_dpdk_driver(std::string_view driver) {
  return driver == "vfio-pci" || driver == "uio_pci_generic" || driver == "igb_uio" || is_bifurcated(driver);
}

// What can be seen beforehand, which DPDK itself says less clearly or not at all.
std::expected<void, std::string> check_pci(const std::string& address) {
  std::error_code error;
  const fs::path path = fs::path("/sys/bus/pci/devices") / address;
  if (!fs::exists(path, error)) {
    return std::unexpected(fmt::format("There is no PCI device {}; `lspci` and `dpdk-devbind.py --status` show what there is.", address));
  }
  const std::string driver = fs::read_symlink(path / "driver", error).filename();
  const std::string bind = fmt::format("`modprobe vfio-pci && dpdk-devbind.py --bind=vfio-pci {}`", address);
  if (driver.empty()) {
    return std::unexpected(fmt::format("The PCI device {} has no driver; bind it with {}.", address, bind));
  }
  if (!is_dpdk_driver(driver)) {
    std::string interfaces;
    for (const auto& entry : fs::directory_iterator(path / "net", error)) {
      interfaces += (interfaces.empty() ? " as " : ", ") + entry.path().filename().string();
    }
    return std::unexpected(fmt::format("The PCI device {} is bound to the kernel's driver {}{}; if the system can do without it, bind it with {}.",
                                       address, driver, interfaces, bind));
  }
  if (driver == "vfio-pci") {
    const std::string group = fs::read_symlink(path / "iommu_group", error).filename();
    if (group.empty()) {
      return std::unexpected(fmt::format("The PCI device {} is in no IOMMU group; start the kernel with `intel_iommu=on iommu=pt` (or amd_iommu=on) "
                                         "and switch the IOMMU on in the firmware.", address));
    }
    const std::string node = "/dev/vfio/" + group;
    if (access(node.c_str(), R_OK | W_OK) != 0) {
      return std::unexpected(fmt::format("No right to open {} for the PCI device {}; run as root, or `chown` the file to the user of the node.", node, address));
    }
  }
  return {};
}

std::string why_not_probed(const std::string& device, bool pci, int error) {
  const std::string said = take_dpdk_error();
  const std::string tail = said.empty() ? rte_strerror(-error) : said;
  if (pci) {
    return fmt::format("DPDK does not take the PCI device {} ({}); is the package with its driver installed (librte-net-…), and no other "
                       "process using it?", device, tail);
  }
  if (geteuid() != 0) {
    return fmt::format("DPDK does not make the virtual device `{}` ({}); most of them need root, or CAP_NET_RAW and CAP_NET_ADMIN.", device, tail);
  }
  return fmt::format("DPDK does not make the virtual device `{}` ({}); check its name and arguments, and that the package with its driver "
                     "is installed (librte-net-…).", device, tail);
}

}  // namespace

bool is_pci_address(std::string_view device) {
  device = device.substr(0, device.find(','));
  static constexpr std::string_view kLong = "hhhh:hh:hh.d";
  const std::string_view pattern = device.size() == kLong.size() ? kLong : kLong.substr(5);
  if (device.size() != pattern.size()) {
    return false;
  }
  for (std::size_t i = 0; i < device.size(); ++i) {
    const auto c = static_cast<unsigned char>(device[i]);
    const bool fits = pattern[i] == 'h' ? std::isxdigit(c) != 0 : pattern[i] == 'd' ? (c >= '0' && c <= '7') : device[i] == pattern[i];
    if (!fits) {
      return false;
    }
  }
  return true;
}

std::expected<ProbedDevice, std::string> probe_device(const std::string& device) {
  const bool pci = is_pci_address(device);
  const std::string name = name_of(device);
  ProbedDevice probed;
  if (rte_eth_dev_get_port_by_name(name.c_str(), &probed.id) == 0) {
    probed.borrowed = true;
    return probed;
  }
  if (pci) {
    if (auto checked = check_pci(name); !checked) {
      return std::unexpected(checked.error());
    }
  } else if (const std::string interface = kernel_interface_of(device);
             !interface.empty() && if_nametoindex(interface.c_str()) == 0) {
    return std::unexpected(fmt::format("There is no network interface {} for `{}`; `ip link` shows what there is.", interface, device));
  }
  (void)take_dpdk_error();
  const auto comma = device.find(',');
  const std::string arguments = name + (comma == std::string::npos ? "" : device.substr(comma));
  if (const int error = rte_dev_probe(arguments.c_str()); error != 0) {
    return std::unexpected(why_not_probed(device, pci, error));
  }
  if (rte_eth_dev_get_port_by_name(name.c_str(), &probed.id) != 0) {
    return std::unexpected(fmt::format("`{}` is a device for DPDK, but no network port.", device));
  }
  return probed;
}

void remove_device(const ProbedDevice& device) {
  rte_eth_dev_info info{};
  rte_device* bus_device = rte_eth_dev_info_get(device.id, &info) == 0 ? info.device : nullptr;
  if (device.borrowed) {
    return;
  }
  rte_eth_dev_close(device.id);
  if (bus_device != nullptr) {
    rte_dev_remove(bus_device);
  }
  (void)take_dpdk_error();
}

std::string kernel_interface_of(std::string_view device) {
  for (const std::string_view driver : std::to_array<std::string_view>({"net_af_packet", "eth_af_packet", "net_af_xdp", "net_pcap", "eth_pcap"})) {
    if (!device.starts_with(driver)) {
      continue;
    }
    for (auto at = device.find(','); at != std::string_view::npos; at = device.find(',', at + 1)) {
      if (device.substr(at + 1).starts_with("iface=")) {
        const std::string_view name = device.substr(at + 7);
        return std::string(name.substr(0, name.find(',')));
      }
    }
  }
  return {};
}

}  // namespace slipway
