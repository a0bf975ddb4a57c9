// ECDSA verification (P-256) by a key that verifies often: a table of its multiples makes one in 45 % of the time.
// For the files of this folder only.
#pragma once

#include <openssl/ec.h>

#include <atomic>
#include <memory>

#include "crypto/bytes.h"
#include "crypto/thread_contexts.h"

namespace slipway::mls::internal {

class P256Table {
 public:
  static constexpr size_t kMaxTables = 64;  // of the process; each has 150 KiB

  // Takes as long as 500 verifications (26 ms). `point`: uncompressed. Null: it is none, or there are as many as there may be.
  static std::unique_ptr<P256Table> make(View point);
  ~P256Table();
  P256Table(const P256Table&) = delete;
  P256Table& operator=(const P256Table&) = delete;

  // Accepts what the library's ECDSA accepts. Any thread.
  bool verify(View digest, View signature) const;

 private:
  using Group = std::unique_ptr<EC_GROUP, FreeWith<EC_GROUP_free>>;
  P256Table() = default;
  Group keyed_;  // the curve with the key in its generator's place: that one may have a table
  static std::atomic<size_t> tables_;
};

}  // namespace slipway::mls::internal
