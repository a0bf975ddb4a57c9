#pragma once
// What the service manager is told (sd_notify(3)). Without one, nothing. Control thread.

#include <cstdint>
#include <string>

namespace slipway {

void notify_ready(const std::string& status);
void notify_reloading();
void notify_stopping(const std::string& status);
void notify_alive();                     // feeds the watchdog
void notify_status(const std::string& status);
// How often the service manager wants to be told that we live; 0: it does not.
std::uint64_t watchdog_interval_ms();

}  // namespace slipway
