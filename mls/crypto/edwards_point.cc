#include "crypto/edwards_point.h"

#include "crypto/thread_contexts.h"

namespace slipway::mls::internal {
namespace {

using Number = std::unique_ptr<BIGNUM, FreeWith<BN_free>>;

struct Curve {
  Number p{BN_new()};
  Number d{BN_new()};  // -x^2 + y^2 = 1 + d x^2 y^2 on Edwards25519, x^2 + y^2 = 1 + d x^2 y^2 on Edwards448
  int a;

  // p = 2^high - 2^low - small, or without the middle term; d = -numerator / denominator.
  Curve(int x2_factor, int high, int low, unsigned long small, unsigned long numerator, unsigned long denominator)
      : a(x2_factor) {
    Number power(BN_new());
    bool good = p && d && power && BN_set_bit(p.get(), high) == 1;
    if (low != 0) {
      good = good && BN_set_bit(power.get(), low) == 1 && BN_sub(p.get(), p.get(), power.get()) == 1;
    }
    good = good && BN_sub_word(p.get(), small) == 1 && BN_set_word(d.get(), denominator) == 1 &&
           BN_mod_inverse(d.get(), d.get(), p.get(), contexts().numbers.get()) != nullptr &&
           BN_mul_word(d.get(), numerator) == 1 &&
           BN_mod_sub(d.get(), p.get(), d.get(), p.get(), contexts().numbers.get()) == 1;
    if (!good) {
      give_up("making an Edwards curve");
    }
  }
};

const Curve& edwards25519() {
  static const Curve* const kept = new Curve(-1, 255, 0, 19, 121665, 121666);
  return *kept;
}
const Curve& edwards448() {
  static const Curve* const kept = new Curve(1, 448, 224, 1, 39081, 1);
  return *kept;
}

}  // namespace

bool is_edwards_point(SignatureScheme scheme, View key) {
  const bool small = scheme == SignatureScheme::kEd25519;
  const Curve& curve = small ? edwards25519() : edwards448();
  Bytes y_bytes = to_bytes(key);
  y_bytes.back() &= 0x7f;  // the sign of x
  BN_CTX* scratch = contexts().numbers.get();
  Number y(BN_lebin2bn(y_bytes.data(), static_cast<int>(y_bytes.size()), nullptr));
  Number above(BN_new());
  Number below(BN_new());
  const BIGNUM* p = curve.p.get();
  if (!y || !above || !below || BN_cmp(y.get(), p) >= 0) {
    return false;
  }
  // x^2 = (y^2 - 1) / (d y^2 - a), which is a square just when numerator times denominator is one.
  const bool good = BN_mod_sqr(y.get(), y.get(), p, scratch) == 1 &&
                    BN_mod_sub(above.get(), y.get(), BN_value_one(), p, scratch) == 1 &&
                    BN_mod_mul(below.get(), curve.d.get(), y.get(), p, scratch) == 1 &&
                    (curve.a > 0 ? BN_mod_sub(below.get(), below.get(), BN_value_one(), p, scratch)
                                 : BN_mod_add(below.get(), below.get(), BN_value_one(), p, scratch)) == 1 &&
                    BN_mod_mul(above.get(), above.get(), below.get(), p, scratch) == 1;
  const int symbol = good ? BN_kronecker(above.get(), p, scratch) : -1;
  return symbol == 0 || symbol == 1;
}

}  // namespace slipway::mls::internal
