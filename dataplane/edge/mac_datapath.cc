// HMAC by OpenSSL's SHA-256 functions, whose state is a plain struct that can be copied: the functions that replaced them
// allocate for each message. Cost: README.md.

#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/crypto.h>
#include <openssl/sha.h>

#include <cstring>

#include "edge/mac.h"

namespace slipway {
namespace {

constexpr std::string_view kDomain{"SLIM-DP-HDR-v1\0", 15};
constexpr std::size_t kBlockBytes = 64;

// Gathers the many small fields, so that the hash is fed in few calls.
class Preimage {
 public:
  explicit Preimage(SHA256_CTX* hash) : hash_(hash) {}

  void put(const void* bytes, std::size_t size) {
    if (size > buffer_.size() - used_) {
      flush();
      if (size > buffer_.size()) {
        SHA256_Update(hash_, bytes, size);
        return;
      }
    }
    std::memcpy(buffer_.data() + used_, bytes, size);
    used_ += size;
  }
  template <class T>
  void number(T value) {
    put(&value, sizeof value);
  }
  void present(bool is) { number(static_cast<std::uint8_t>(is)); }

  void text(const Pieces& bytes, Range range) {
    number(range.size);
    bytes.each(range, [this](Piece part) {
      put(part.data(), part.size());
      return true;
    });
  }
  void optional(const std::optional<std::uint64_t>& value) {
    present(value.has_value());
    if (value) {
      number(*value);
    }
  }
  void name(const NameFields& name, const Pieces& bytes) {
    present(name.present);
    if (!name.present) {
      return;
    }
    present(name.encoded_present);
    if (name.encoded_present) {
      put(name.name.component.data(), sizeof name.name.component);
      present(name.id_present);
      if (name.id_present) {
        number(name.name.id.high);
        number(name.name.id.low);
      }
    }
    present(name.text_present);
    if (name.text_present) {
      for (const Range component : name.text) {
        text(bytes, component);
      }
    }
  }
  void flush() {
    SHA256_Update(hash_, buffer_.data(), used_);
    used_ = 0;
  }

 private:
  SHA256_CTX* hash_;
  std::size_t used_ = 0;
  std::array<std::byte, 1024> buffer_;
};

void start(SHA256_CTX* hash, const LinkKey& key, std::uint8_t pad) {
  std::array<std::uint8_t, kBlockBytes> block;
  block.fill(pad);
  for (std::size_t i = 0; i < kLinkKeyBytes; ++i) {
    block[i] ^= static_cast<std::uint8_t>(key.bytes()[i]);
  }
  SHA256_Init(hash);
  SHA256_Update(hash, block.data(), block.size());
  OPENSSL_cleanse(block.data(), block.size());
}

}  // namespace

HeaderMac::HeaderMac(const LinkKey& key, std::string_view link_id) {
  static_assert(sizeof(SHA256_CTX) == kStateBytes && alignof(SHA256_CTX) <= alignof(State));
  SHA256_CTX hash;
  start(&hash, key, 0x36);
  SHA256_Update(&hash, kDomain.data(), kDomain.size());
  const auto size = static_cast<std::uint32_t>(link_id.size());
  SHA256_Update(&hash, &size, sizeof size);
  SHA256_Update(&hash, link_id.data(), link_id.size());
  std::memcpy(&inner_, &hash, sizeof hash);
  start(&hash, key, 0x5C);
  std::memcpy(&outer_, &hash, sizeof hash);
  OPENSSL_cleanse(&hash, sizeof hash);
}

HeaderMac::~HeaderMac() {
  OPENSSL_cleanse(&inner_, sizeof inner_);
  OPENSSL_cleanse(&outer_, sizeof outer_);
}

void HeaderMac::compute(const UpstreamMessage& m, const Pieces& bytes, std::span<std::byte, kHeaderMacBytes> mac) const {
  SHA256_CTX hash;
  std::memcpy(&hash, &inner_, sizeof hash);
  Preimage preimage(&hash);
  preimage.name(m.source, bytes);
  preimage.name(m.destination, bytes);
  preimage.text(bytes, m.identity);
  preimage.number(m.fanout);
  preimage.optional(m.recv_from);
  preimage.optional(m.forward_to);
  preimage.present(m.error.has_value());
  if (m.error) {
    preimage.present(*m.error);
  }
  preimage.number(m.ttl);
  preimage.flush();
  auto* const out = reinterpret_cast<unsigned char*>(mac.data());
  SHA256_Final(out, &hash);
  std::memcpy(&hash, &outer_, sizeof hash);
  SHA256_Update(&hash, out, kHeaderMacBytes);
  SHA256_Final(out, &hash);
}

bool HeaderMac::verify(const UpstreamMessage& m, const Pieces& bytes, const Range& mac) const {
  if (mac.size != kHeaderMacBytes) {
    return false;
  }
  std::array<std::byte, kHeaderMacBytes> expected;
  std::array<std::byte, kHeaderMacBytes> received;
  compute(m, bytes, expected);
  bytes.copy(mac, received.data());
  return CRYPTO_memcmp(expected.data(), received.data(), kHeaderMacBytes) == 0;
}

EdgeFault check_mac(const UpstreamMessage& m, const Pieces& bytes, const MacRules& rules) {
  const bool publish = m.kind == MessageKind::kPublish;
  if (!rules.checked || (!publish && m.kind != MessageKind::kSubscribe && m.kind != MessageKind::kUnsubscribe)) {
    return EdgeFault::kNone;
  }
  if (!m.has_header) {
    return EdgeFault::kNoHeader;
  }
  const bool carried = m.header_mac && !m.header_mac->empty();
  if (!publish && !carried) {
    return rules.strict ? EdgeFault::kMacMissing : EdgeFault::kNone;
  }
  if (rules.mac == nullptr) {
    return rules.strict && !carried           ? EdgeFault::kMacMissing
           : rules.strict || (publish && carried) ? EdgeFault::kMacWithoutKey
                                              : EdgeFault::kNone;
  }
  if (!m.header_mac) {
    return EdgeFault::kMacMissing;
  }
  if (m.header_mac->size != kHeaderMacBytes) {
    return EdgeFault::kMacLength;
  }
  return rules.mac->verify(m, bytes, *m.header_mac) ? EdgeFault::kNone : EdgeFault::kMacWrong;
}

}  // namespace slipway
