#include "node/service.h"

#include <fmt/format.h>
#include <systemd/sd-daemon.h>

#include <ctime>

namespace slipway {

void notify_ready(const std::string& status) { sd_notify(0, fmt::format("READY=1\nSTATUS={}", status).c_str()); }

void notify_reloading() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  sd_notify(0, fmt::format("RELOADING=1\nMONOTONIC_USEC={}", now.tv_sec * 1'000'000LL + now.tv_nsec / 1000).c_str());
}

void notify_stopping(const std::string& status) { sd_notify(0, fmt::format("STOPPING=1\nSTATUS={}", status).c_str()); }

void notify_alive() { sd_notify(0, "WATCHDOG=1"); }

void notify_status(const std::string& status) { sd_notify(0, fmt::format("STATUS={}", status).c_str()); }

std::uint64_t watchdog_interval_ms() {
  std::uint64_t us = 0;
  return sd_watchdog_enabled(0, &us) > 0 ? us / 1000 : 0;
}

}  // namespace slipway
