#include "link/cookie.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include <algorithm>
#include <cstdlib>

#include "control_bounds.h"
#include "frame/frame.h"

namespace slipway {

namespace {

constexpr std::size_t kSlotBytes = 4;
constexpr std::size_t kTagBytes = 16;
constexpr std::size_t kCookieBytes = kSlotBytes + kTagBytes;

std::uint32_t slot_of(std::uint64_t now_ms) { return static_cast<std::uint32_t>(now_ms / (kCookieSeconds * 1000)); }

}  // namespace

CookieJar::CookieJar() {
  if (RAND_bytes(secret_.data(), static_cast<int>(secret_.size())) != 1) {
    std::abort();  // without random numbers nothing here is safe
  }
}

CookieJar::~CookieJar() { OPENSSL_cleanse(secret_.data(), secret_.size()); }

bool CookieJar::tag(const IpEndpoint& from, bool with_port, std::uint32_t slot, std::span<std::byte, 32> out) const {
  std::array<unsigned char, 24> input{};
  std::ranges::copy(from.address, input.begin());
  input[16] = from.family;
  input[17] = with_port;
  store_le(&input[18], with_port ? from.port : std::uint16_t{0});
  store_le(&input[20], slot);
  unsigned int length = 0;
  return HMAC(EVP_sha256(), secret_.data(), static_cast<int>(secret_.size()), input.data(), input.size(),
              reinterpret_cast<unsigned char*>(out.data()), &length) != nullptr;
}

std::vector<std::byte> CookieJar::make(const IpEndpoint& from, bool with_port, std::uint64_t now_ms) const {
  std::array<std::byte, 32> whole;
  const auto slot = slot_of(now_ms);
  if (!tag(from, with_port, slot, whole)) {
    return {};
  }
  std::vector<std::byte> cookie(kCookieBytes);
  store_le(cookie.data(), slot);
  std::copy_n(whole.begin(), kTagBytes, cookie.begin() + kSlotBytes);
  return cookie;
}

bool CookieJar::good(std::span<const std::byte> cookie, const IpEndpoint& from, bool with_port, std::uint64_t now_ms) const {
  if (cookie.size() != kCookieBytes) {
    return false;
  }
  const auto slot = load_le<std::uint32_t>(cookie.data());
  const auto now = slot_of(now_ms);
  std::array<std::byte, 32> whole;
  if ((slot != now && slot + 1 != now) || !tag(from, with_port, slot, whole)) {
    return false;
  }
  return CRYPTO_memcmp(whole.data(), cookie.data() + kSlotBytes, kTagBytes) == 0;
}

}  // namespace slipway
