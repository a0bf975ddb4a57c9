#pragma once
// Bytes as people hand them over: hex, base64, or a file of either or of the bytes themselves.

#include <expected>
#include <optional>
#include <string>
#include <string_view>

#include "crypto/bytes.h"

namespace slipway::mls::tool {

std::string to_hex(View bytes);
// White space between digits is ignored; nothing for anything else, or an odd number of digits.
std::optional<Bytes> from_hex(std::string_view text);
// Standard or URL alphabet, padded or not; white space is ignored.
std::optional<Bytes> from_base64(std::string_view text);
// Hex if it can be, then base64, else the bytes as they are.
Bytes bytes_of(std::string_view content);
// "-" is standard input, the name of a file its content, anything else hex or base64 itself. The error is a sentence.
std::expected<Bytes, std::string> read_argument(const std::string& argument);

}  // namespace slipway::mls::tool
