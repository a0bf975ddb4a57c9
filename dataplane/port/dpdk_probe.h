#pragma once
// Taking a device for DPDK and giving it back. Control thread.

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>

namespace slipway {

// "0000:03:00.0" or "03:00.0".
[[nodiscard]] bool is_pci_address(std::string_view device);

struct ProbedDevice {
  std::uint16_t id = 0;   // ethdev
  bool borrowed = false;  // it existed before (made by DPDK's own functions): not ours to remove
};

// The error is one sentence: why the device cannot be had, and what to do.
[[nodiscard]] std::expected<ProbedDevice, std::string> probe_device(const std::string& device);

// Closes the device and takes it from its DPDK driver; a PCI device can be bound to its kernel driver afterwards.
void remove_device(const ProbedDevice& device);

// The kernel's interface below a vdev (`iface=` of af_packet, af_xdp, pcap), or empty.
[[nodiscard]] std::string kernel_interface_of(std::string_view device);

}  // namespace slipway
