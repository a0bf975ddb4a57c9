#pragma once
// Secrets that lie in files: read once, with a look at who else could read them. The errors are for whoever starts the node.

#include <cstdint>
#include <expected>
#include <string>

#include "crypto/secret.h"

namespace slipway {

// 32 bytes, or 64 hexadecimal digits.
[[nodiscard]] std::expected<mls::Secret, std::string> read_sealing_key(const std::string& file);

// One line; its end is not part of it. The caller wipes it.
[[nodiscard]] std::expected<std::string, std::string> read_secret_line(const std::string& file);

// For text that was secret: a line as above, a value before it was sealed.
inline void wipe(std::string& text) { mls::wipe({reinterpret_cast<std::uint8_t*>(text.data()), text.size()}); }

}  // namespace slipway
