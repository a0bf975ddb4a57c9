#include "crypto/random.h"

#include <openssl/rand.h>

#include <climits>

#include "crypto/thread_contexts.h"

namespace slipway::mls {
namespace {

class SystemRandom final : public Random {
 public:
  Status fill_secret(MutableView out) override { return fill(out, RAND_priv_bytes); }
  Status fill_public(MutableView out) override { return fill(out, RAND_bytes); }

 private:
  static Status fill(MutableView out, int (*source)(unsigned char*, int)) {
    if (out.size() > INT_MAX || source(out.data(), static_cast<int>(out.size())) != 1) {
      internal::forget_library_errors();
      return fail(ErrorCode::kCryptoFailure, "drawing random bytes: the system's source failed");
    }
    return {};
  }
};

}  // namespace

Random& system_random() {
  static SystemRandom source;
  return source;
}

}  // namespace slipway::mls
