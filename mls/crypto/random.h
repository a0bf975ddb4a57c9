// Where random bytes come from. Passed as an argument wherever MLS needs some, so that a test can
// replay a run. (ECDSA nonces alone are drawn by the cryptographic library itself.)
#pragma once

#include "base/error.h"
#include "crypto/bytes.h"

namespace slipway::mls {

class Random {
 public:
  virtual ~Random() = default;
  // Fills all of `out` for keys and secrets, or fails with kCryptoFailure.
  virtual Status fill_secret(MutableView out) = 0;
  // The same for nonces, ids and guards, which become public.
  virtual Status fill_public(MutableView out) = 0;
};

// The operating system's generator through OpenSSL. Any thread.
Random& system_random();

}  // namespace slipway::mls
