#pragma once
// Cookies of the datagram hello: who sends one back has received at the address that he sends from. Nothing is
// kept for a hello until then, so that spoofed sources cost no memory. Control thread.

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/link.h"

namespace slipway {

class CookieJar {
 public:
  CookieJar();   // draws its secret
  ~CookieJar();  // wipes it
  CookieJar(const CookieJar&) = delete;
  CookieJar& operator=(const CookieJar&) = delete;

  // `with_port`: false for peers whose source port varies. Empty if the library refuses.
  [[nodiscard]] std::vector<std::byte> make(const IpEndpoint& from, bool with_port, std::uint64_t now_ms) const;
  // Constant time in the cookie's bytes.
  [[nodiscard]] bool good(std::span<const std::byte> cookie, const IpEndpoint& from, bool with_port, std::uint64_t now_ms) const;

 private:
  [[nodiscard]] bool tag(const IpEndpoint& from, bool with_port, std::uint32_t slot, std::span<std::byte, 32> out) const;
  std::array<unsigned char, 32> secret_{};
};

}  // namespace slipway
