// HMAC by OpenSSL's SHA-256 functions, whose state is a plain struct that can be copied: the functions that replaced them
// allocate for each message. Cost: README.md.

#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/crypto.h>
#include <openssl/sha.h>

#include <atomic>
#include <cstring>

#include "edge/mac.h"

namespace slipway {
namespace {

constexpr std::string_view kDomain{"SLIM-DP-HDR-v1\0", 15};
constexpr std::size_t kBlockBytes = 64;

// Takes the header's fields as the MAC wants them. Put: void(const void*, std::size_t).
template <class Put>
class Preimage {
 public:
  explicit Preimage(Put put) : put_(put) {}

  void header(const UpstreamMessage& m, const Pieces& bytes) {
    names(m, bytes);
    rest(m, bytes);
  }
  void names(const UpstreamMessage& m, const Pieces& bytes) {
    name(m.source, bytes);
    name(m.destination, bytes);
  }
  void rest(const UpstreamMessage& m, const Pieces& bytes) {
    text(bytes, m.identity);
    number(m.fanout);
    optional(m.recv_from);
    optional(m.forward_to);
    present(m.error.has_value());
    if (m.error) {
      present(*m.error);
    }
    number(m.ttl);
  }

 private:
  template <class T>
  void number(T value) {
    put_(&value, sizeof value);
  }
  void present(bool is) { number(static_cast<std::uint8_t>(is)); }
  void text(const Pieces& bytes, Range range) {
    number(range.size);
    if (!bytes.pieces().empty() && range.end() <= bytes.pieces()[0].size()) {  // as small messages lie
      put_(bytes.pieces()[0].data() + range.at, range.size);
      return;
    }
    bytes.each(range, [this](Piece part) {
      put_(part.data(), part.size());
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
      put_(name.name.component.data(), sizeof name.name.component);
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

  Put put_;
};

// Bytes of the preimage that are not text, at most, and an allowance.
constexpr std::size_t kFixedBytes = 160;

bool is_short(const UpstreamMessage& m) {
  std::size_t text = m.identity.size;
  for (std::size_t i = 0; i < 3; ++i) {
    text += std::size_t{m.source.text[i].size} + m.destination.text[i].size;
  }
  return text + kFixedBytes <= kMacHeaderBytes;
}

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

void finish(SHA256_CTX* inner, const void* outer, std::span<std::byte, kHeaderMacBytes> mac) {
  auto* const out = reinterpret_cast<unsigned char*>(mac.data());
  SHA256_Final(out, inner);
  std::memcpy(inner, outer, sizeof *inner);
  SHA256_Update(inner, out, kHeaderMacBytes);
  SHA256_Final(out, inner);
}

std::atomic<std::uint64_t> next_serial{1};

}  // namespace

HeaderMac::HeaderMac(const LinkKey& key, std::string_view link_id) : serial_(next_serial.fetch_add(1, std::memory_order_relaxed)) {
  static_assert(sizeof(SHA256_CTX) == kStateBytes && alignof(SHA256_CTX) <= alignof(State));
  SHA256_CTX hash;
  start(&hash, key, 0x36);
  std::memcpy(inner_key_.data(), hash.h, sizeof hash.h);
  SHA256_Update(&hash, kDomain.data(), kDomain.size());
  const auto size = static_cast<std::uint32_t>(link_id.size());
  SHA256_Update(&hash, &size, sizeof size);
  SHA256_Update(&hash, link_id.data(), link_id.size());
  std::memcpy(&inner_, &hash, sizeof hash);
  start(&hash, key, 0x5C);
  std::memcpy(outer_key_.data(), hash.h, sizeof hash.h);
  std::memcpy(&outer_, &hash, sizeof hash);
  if (kDomain.size() + sizeof size + link_id.size() <= kMacPrefixBytes) {
    std::memcpy(prefix_.data(), kDomain.data(), kDomain.size());
    std::memcpy(prefix_.data() + kDomain.size(), &size, sizeof size);
    std::memcpy(prefix_.data() + kDomain.size() + sizeof size, link_id.data(), link_id.size());
    prefix_bytes_ = static_cast<std::uint32_t>(kDomain.size() + sizeof size + link_id.size());
  }
  OPENSSL_cleanse(&hash, sizeof hash);
}

HeaderMac::~HeaderMac() {
  OPENSSL_cleanse(&inner_, sizeof inner_);
  OPENSSL_cleanse(&outer_, sizeof outer_);
  OPENSSL_cleanse(inner_key_.data(), sizeof inner_key_);
  OPENSSL_cleanse(outer_key_.data(), sizeof outer_key_);
}

std::size_t HeaderMac::covered(const UpstreamMessage& m, const Pieces& bytes, std::span<std::byte, kMacHeaderBytes> to,
                               std::span<const std::byte> names) {
  if (!is_short(m)) {
    return 0;
  }
  std::byte* at = to.data();
  Preimage preimage([&at](const void* from, std::size_t size) {
    copy_bytes(at, static_cast<const std::byte*>(from), size);
    at += size;
  });
  if (names.empty()) {
    preimage.names(m, bytes);
  } else {
    std::memcpy(at, names.data(), names.size());
    at += names.size();
  }
  preimage.rest(m, bytes);
  return static_cast<std::size_t>(at - to.data());
}

std::size_t HeaderMac::covered_names(const UpstreamMessage& m, const Pieces& bytes) {
  std::size_t count = 0;
  Preimage([&count](const void*, std::size_t size) { count += size; }).names(m, bytes);
  return count;
}

void HeaderMac::compute(const UpstreamMessage& m, const Pieces& bytes, std::span<std::byte, kHeaderMacBytes> mac, MacMemo* memo) const {
  std::array<std::byte, kMacHeaderBytes> buffer;
  const std::size_t size = covered(m, bytes, buffer);
  if (size == 0) {
    hash_long(m, bytes, mac);
    return;
  }
  const std::span<const std::byte> header(buffer.data(), size);
  const MacMemo::Found found = memo != nullptr ? memo->find(serial_, header) : MacMemo::Found{};
  if (!found.hit) {
    hash(header, mac);
  }
  if (found.mac != nullptr) {
    std::memcpy(found.hit ? mac.data() : found.mac, found.hit ? found.mac : mac.data(), kHeaderMacBytes);
  }
}

void HeaderMac::hash_blocks(std::span<std::uint32_t, 8> state, std::span<const std::byte> blocks) {
  SHA256_CTX hash;
  std::memcpy(hash.h, state.data(), sizeof hash.h);
  for (; blocks.size() >= kBlockBytes; blocks = blocks.subspan(kBlockBytes)) {
    SHA256_Transform(&hash, reinterpret_cast<const unsigned char*>(blocks.data()));
  }
  std::memcpy(state.data(), hash.h, sizeof hash.h);
}

void HeaderMac::hash_from(std::span<const std::uint32_t, 8> state, std::size_t hashed, std::span<const std::byte> rest,
                          std::span<std::byte, kHeaderMacBytes> mac) const {
  SHA256_CTX hash;
  SHA256_Init(&hash);
  std::memcpy(hash.h, state.data(), sizeof hash.h);
  hash.Nl = static_cast<unsigned>((kBlockBytes + hashed) * 8);
  SHA256_Update(&hash, rest.data(), rest.size());
  finish(&hash, outer_.bytes.data(), mac);
}

void HeaderMac::hash(std::span<const std::byte> header, std::span<std::byte, kHeaderMacBytes> mac) const {
  SHA256_CTX state;
  std::memcpy(&state, &inner_, sizeof state);
  SHA256_Update(&state, header.data(), header.size());
  finish(&state, outer_.bytes.data(), mac);
}

// Text that no buffer of ours holds goes into the hash as it lies.
void HeaderMac::hash_long(const UpstreamMessage& m, const Pieces& bytes, std::span<std::byte, kHeaderMacBytes> mac) const {
  SHA256_CTX state;
  std::memcpy(&state, &inner_, sizeof state);
  Preimage([&state](const void* from, std::size_t size) { SHA256_Update(&state, from, size); }).header(m, bytes);
  finish(&state, outer_.bytes.data(), mac);
}

bool HeaderMac::verify(const UpstreamMessage& m, const Pieces& bytes, const Range& mac, MacMemo* memo) const {
  if (mac.size != kHeaderMacBytes) {
    return false;
  }
  std::array<std::byte, kHeaderMacBytes> expected;
  std::array<std::byte, kHeaderMacBytes> received;
  compute(m, bytes, expected, memo);
  bytes.copy(mac, received.data());
  return CRYPTO_memcmp(expected.data(), received.data(), kHeaderMacBytes) == 0;
}

EdgeFault check_mac_presence(const UpstreamMessage& m, const MacRules& rules, bool* compare) {
  *compare = false;
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
  *compare = true;
  return EdgeFault::kNone;
}

EdgeFault check_mac(const UpstreamMessage& m, const Pieces& bytes, const MacRules& rules) {
  bool compare = false;
  if (const EdgeFault fault = check_mac_presence(m, rules, &compare); fault != EdgeFault::kNone || !compare) {
    return fault;
  }
  return rules.mac->verify(m, bytes, *m.header_mac, rules.memo) ? EdgeFault::kNone : EdgeFault::kMacWrong;
}

}  // namespace slipway
