#pragma once
// Header MACs that a worker has computed lately. Where an application keeps its identity token (JWT, SPIRE), the messages
// between two names have the same header again and again, and hashing it is most of what a message costs at the edge; with
// shared secrets every message has a token of its own, and all that the memo then costs is a hash: a header is kept only when it
// comes a second time. It changes no result: an entry is used only for the same link and the very same bytes.
//
// One worker owns it. Room for kMacMemoEntries headers; a new one takes the place of another.

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "bounds.h"

namespace slipway {

class MacMemo {
 public:
  MacMemo();  // allocates, and draws a secret so that nobody can aim at an entry
  ~MacMemo(); // wipes: headers hold identity tokens
  MacMemo(const MacMemo&) = delete;
  MacMemo& operator=(const MacMemo&) = delete;

  static constexpr std::size_t kMacBytes = 32;

  // Where the MAC of these bytes is or may be put. `link` is unique to a key. hit: `mac` holds it already; otherwise the caller
  // writes it there. Null: not to be remembered, since it comes for the first time or is too long.
  struct Found {
    std::byte* mac = nullptr;
    bool hit = false;
  };
  [[nodiscard]] Found find(std::uint64_t link, std::span<const std::byte> header);

 private:
  struct Entry {
    std::uint64_t link = 0;  // 0: empty
    std::uint32_t size = 0;
    std::array<std::byte, kMacBytes> mac;
    std::array<std::byte, kMacMemoHeaderBytes> header;
  };
  static constexpr std::size_t kSecretBytes = 192;  // of XXH3
  static constexpr std::size_t kSeen = 4 * kMacMemoEntries;

  std::array<std::byte, kSecretBytes> secret_;
  // Apart from the entries, so that looking for a header that is not there touches little memory.
  std::array<std::uint64_t, kMacMemoEntries> hashes_{};  // of the entries
  std::array<std::uint32_t, kSeen> seen_{};              // parts of the hashes of headers that came once
  std::unique_ptr<Entry[]> entries_;
};

}  // namespace slipway
