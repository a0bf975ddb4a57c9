#include "edge/uuid.h"

#include <cstdint>
#include <cstdio>
#include <random>

namespace slipway {

std::string random_uuid() {
  std::random_device device;
  const std::uint32_t a = device();
  const std::uint32_t b = (device() & 0xFFFF0FFF) | 0x4000;
  const std::uint32_t c = (device() & 0x3FFFFFFF) | 0x80000000;
  const std::uint32_t d = device();
  char text[37];
  std::snprintf(text, sizeof text, "%08x-%04x-%04x-%04x-%04x%08x", a, b >> 16, b & 0xFFFF, c >> 16, c & 0xFFFF, d);
  return text;
}

}  // namespace slipway
