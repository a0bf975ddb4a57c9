#include "vector_file.h"

namespace slipway::mls {

TEST(CryptoVectors, CryptoBasics) { expect_vectors_pass("crypto-basics.json", 5); }
TEST(CryptoVectors, HpkeRfc9180Base) { expect_vectors_pass("hpke-rfc9180-base.json", 4); }

}  // namespace slipway::mls
