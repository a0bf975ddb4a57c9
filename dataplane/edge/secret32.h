#pragma once
// 32 secret bytes: keys and shared secrets. Wiped when they go; never printed.

#include <array>
#include <cstddef>
#include <span>

namespace slipway {

inline constexpr std::size_t kSecretBytes = 32;

class Secret32 {
 public:
  Secret32() = default;
  explicit Secret32(std::span<const std::byte, kSecretBytes> bytes);
  ~Secret32();
  Secret32(const Secret32&) = default;
  Secret32& operator=(const Secret32&) = default;

  [[nodiscard]] std::span<const std::byte, kSecretBytes> bytes() const { return bytes_; }
  [[nodiscard]] std::span<std::byte, kSecretBytes> writable() { return bytes_; }

 private:
  std::array<std::byte, kSecretBytes> bytes_{};
};

}  // namespace slipway
