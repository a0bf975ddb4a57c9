#pragma once
// The header MAC of a link (upstream-node 4.5): HMAC-SHA256 over the routing fields of a SLIM header, under the key on
// which both ends agreed. It says that nobody between the two changed where a message goes; it covers no payload.
//
// A HeaderMac is set up once a link, on any thread, and then belongs to one worker: computing neither allocates nor calls
// the kernel. Its state is as secret as the key, and is wiped.

#include <array>
#include <cstddef>
#include <span>
#include <string_view>

#include "edge/mac_memo.h"
#include "edge/proto_message.h"
#include "edge/secret32.h"

namespace slipway {

inline constexpr std::size_t kLinkKeyBytes = kSecretBytes;
inline constexpr std::size_t kHeaderMacBytes = 32;
inline constexpr std::size_t kMacHeaderBytes = 1024;  // a covered header above this is hashed as it lies
inline constexpr std::size_t kMacPrefixBytes = 128;   // domain and link id of links whose MACs may be batched

using LinkKey = Secret32;  // on which the two ends of a link agreed

class MacBatch;
class HashedNames;

class HeaderMac {
 public:
  // link_id: what the two ends called the link; not empty.
  HeaderMac(const LinkKey& key, std::string_view link_id);
  ~HeaderMac();
  HeaderMac(const HeaderMac&) = default;
  HeaderMac& operator=(const HeaderMac&) = default;

  // Of the header as it is or will be on the wire; `bytes` is what the message was read from.
  // memo: of the calling worker, or null.
  void compute(const UpstreamMessage& message, const Pieces& bytes, std::span<std::byte, kHeaderMacBytes> mac,
               MacMemo* memo = nullptr) const;
  // In constant time; mac: as received, of any length.
  [[nodiscard]] bool verify(const UpstreamMessage& message, const Pieces& bytes, const Range& mac, MacMemo* memo = nullptr) const;

  // What the MAC covers behind the link id, as it is hashed; returns its bytes, at most kMacHeaderBytes; 0: it is longer.
  // names: empty, or the first bytes of that, of a message with the same names.
  [[nodiscard]] static std::size_t covered(const UpstreamMessage& message, const Pieces& bytes, std::span<std::byte, kMacHeaderBytes> to,
                                           std::span<const std::byte> names = {});
  // How many of these bytes are the names'.
  [[nodiscard]] static std::size_t covered_names(const UpstreamMessage& message, const Pieces& bytes);

 private:
  friend class MacBatch;
  friend class HashedNames;
class HashedNames;
  static constexpr std::size_t kStateBytes = 112;  // of OpenSSL's SHA-256
  struct alignas(16) State {
    std::array<std::byte, kStateBytes> bytes;
  };
  // The hash of what the key's first half and `hashed` more bytes have brought to `state`, and `rest`.
  void hash_from(std::span<const std::uint32_t, 8> state, std::size_t hashed, std::span<const std::byte> rest,
                 std::span<std::byte, kHeaderMacBytes> mac) const;
  static void hash_blocks(std::span<std::uint32_t, 8> state, std::span<const std::byte> blocks);
  void hash(std::span<const std::byte> header, std::span<std::byte, kHeaderMacBytes> mac) const;
  void hash_long(const UpstreamMessage& message, const Pieces& bytes, std::span<std::byte, kHeaderMacBytes> mac) const;

  std::uint64_t serial_;  // of this key in this process; copies share it
  std::uint32_t prefix_bytes_ = 0;                    // 0: longer than a batch takes
  std::array<std::byte, kMacPrefixBytes> prefix_;     // domain and link id
  alignas(16) std::array<std::uint32_t, 8> inner_key_;  // SHA-256 after the padded keys alone
  alignas(16) std::array<std::uint32_t, 8> outer_key_;
  State inner_;  // after the padded key, the domain and the link id
  State outer_;  // after the other padded key
};

// What a link asks of messages that come over it.
struct MacRules {
  const HeaderMac* mac = nullptr;  // of the link; null: it has no key
  bool checked = true;             // edge and remote links; peers and native links carry none
  bool strict = true;              // `require_header_mac`
  MacMemo* memo = nullptr;         // of the worker; null: none
};

// kNone, or why a Publish, Subscribe or Unsubscribe must be dropped. Other kinds carry no MAC. It comes before validate(),
// so a message without header is refused here too.
[[nodiscard]] EdgeFault check_mac(const UpstreamMessage& message, const Pieces& bytes, const MacRules& rules);
// The part of it that needs no hashing. *compare: the message has a MAC of the right size, and it is to be compared.
[[nodiscard]] EdgeFault check_mac_presence(const UpstreamMessage& message, const MacRules& rules, bool* compare);

}  // namespace slipway
