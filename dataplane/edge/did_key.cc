#include "edge/did_key.h"

#include <algorithm>

namespace slipway {
namespace {

constexpr std::string_view kDigits = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";  // Bitcoin's
constexpr std::string_view kPrefix = "did:key:z";  // z: base58btc
constexpr std::string_view kEd25519 = "\xed\x01";
constexpr std::size_t kKeyBytes = 32;

// One more digit of base `from` at the end of a number in base `to`, least significant digit first.
void push_digit(std::string& number, unsigned digit, unsigned from, unsigned to) {
  for (char& place : number) {
    digit += static_cast<unsigned char>(place) * from;
    place = static_cast<char>(digit % to);
    digit /= to;
  }
  for (; digit > 0; digit /= to) {
    number.push_back(static_cast<char>(digit % to));
  }
}

// By hand, digit by digit: callers bound the length.
std::string base58_encode(std::string_view bytes) {
  std::string number;
  for (const char c : bytes) {
    push_digit(number, static_cast<unsigned char>(c), 256, 58);
  }
  std::ranges::transform(number, number.begin(), [](char digit) { return kDigits[static_cast<unsigned char>(digit)]; });
  number.append(std::min(bytes.find_first_not_of('\0'), bytes.size()), kDigits[0]);
  std::ranges::reverse(number);
  return number;
}

std::optional<std::string> base58_decode(std::string_view text) {
  std::string number;
  for (const char c : text) {
    const auto digit = kDigits.find(c);
    if (digit == std::string_view::npos) {
      return std::nullopt;
    }
    push_digit(number, static_cast<unsigned>(digit), 58, 256);
  }
  number.append(std::min(text.find_first_not_of(kDigits[0]), text.size()), '\0');
  std::ranges::reverse(number);
  return number;
}

}  // namespace

std::string did_key_of_ed25519(std::string_view key) {
  return std::string(kPrefix) + base58_encode(std::string(kEd25519) + std::string(key));
}

std::optional<std::string> ed25519_of_did_key(std::string_view did) {
  if (did.size() > kMaxDidKeyBytes || !did.starts_with(kPrefix)) {
    return std::nullopt;
  }
  const auto bytes = base58_decode(did.substr(kPrefix.size()));
  if (!bytes || bytes->size() != kEd25519.size() + kKeyBytes || !bytes->starts_with(kEd25519)) {
    return std::nullopt;
  }
  return bytes->substr(kEd25519.size());
}

}  // namespace slipway
