#include "crypto/kem_key.h"

#include "crypto/ec_curve.h"
#include "crypto/hpke_labels.h"
#include "crypto/small_order.h"
#include "crypto/thread_contexts.h"

namespace slipway::mls {
namespace {

using internal::EcCurve;

const char* x_curve_name(KemId kem) { return kem == KemId::kX25519 ? "X25519" : "X448"; }

std::unexpected<Error> bad_public_key() {
  internal::forget_library_errors();
  return fail(ErrorCode::kInvalidKey, "using a KEM public key: wrong length, or of small order");
}

}  // namespace

Status validate_kem_public_key(const Suite& suite, View public_key) {
  if (const EcCurve* curve = EcCurve::of(suite.kem)) {
    return curve->check_point(public_key);
  }
  if (public_key.size() != suite.kem_public_key_size ||
      (suite.kem == KemId::kX25519 ? internal::is_small_order_x25519(public_key)
                                   : internal::is_small_order_x448(public_key))) {
    return bad_public_key();
  }
  return {};
}

void KemKey::FreeKey::operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }

Result<KemKey> KemKey::import(const Suite& suite, View private_key) {
  if (private_key.size() != suite.kem_private_key_size) {
    return fail(ErrorCode::kInvalidKey, "importing a KEM private key: wrong length for the suite");
  }
  KemKey key;
  if (const EcCurve* curve = EcCurve::of(suite.kem)) {
    MLS_ASSIGN(key.public_key_, curve->public_point(private_key));
  } else {
    key.key_.reset(EVP_PKEY_new_raw_private_key_ex(nullptr, x_curve_name(suite.kem), nullptr,
                                                   private_key.data(), private_key.size()));
    key.public_key_ = PublicKeyBytes::with_size(suite.kem_public_key_size);
    size_t size = key.public_key_.size();
    if (!key.key_ ||
        EVP_PKEY_get_raw_public_key(key.key_.get(), key.public_key_.data(), &size) != 1) {
      internal::forget_library_errors();
      return fail(ErrorCode::kCryptoFailure, "importing a KEM private key: the library refused");
    }
  }
  key.private_key_ = Secret(private_key);
  return key;
}

Result<KemKey> KemKey::generate(const Suite& suite, Random& random) {
  const EcCurve* curve = EcCurve::of(suite.kem);
  Secret candidate = Secret::zeros(suite.kem_private_key_size);
  // A candidate at or above the order is rare (at worst half of them, were the order just over a
  // power of two): a source that gives nothing else is broken.
  for (int tries = 0; tries < 256; ++tries) {
    MLS_TRY(random.fill_secret(candidate.mutable_view()));
    if (curve != nullptr) {
      candidate.data()[0] &= curve->first_byte_mask();
    }
    if (curve == nullptr || curve->is_scalar(candidate)) {
      return import(suite, candidate);
    }
  }
  return fail(ErrorCode::kCryptoFailure, "generating a KEM key: the random source gives no scalar");
}

Result<KemKey> KemKey::derive(const Suite& suite, View ikm) {
  using internal::labeled_expand;
  View suite_id = suite.kem_suite_id;
  Secret prk = internal::labeled_extract(suite.kem_kdf, suite_id, {}, "dkp_prk", ikm);
  const EcCurve* curve = EcCurve::of(suite.kem);
  if (curve == nullptr) {
    return import(suite, labeled_expand(suite.kem_kdf, suite_id, prk, "sk", {},
                                        suite.kem_private_key_size));
  }
  for (int counter = 0; counter < 256; ++counter) {
    uint8_t byte = static_cast<uint8_t>(counter);
    Secret candidate = labeled_expand(suite.kem_kdf, suite_id, prk, "candidate", {View(&byte, 1)},
                                      suite.kem_private_key_size);
    candidate.data()[0] &= curve->first_byte_mask();
    if (curve->is_scalar(candidate)) {
      return import(suite, candidate);
    }
  }
  return fail(ErrorCode::kCryptoFailure, "deriving a KEM key: no candidate is a scalar");
}

KemKey KemKey::clone() const {
  KemKey copy;
  copy.private_key_ = private_key_.clone();
  copy.public_key_ = public_key_;
  if (key_) {
    EVP_PKEY_up_ref(key_.get());
    copy.key_.reset(key_.get());
  }
  return copy;
}

Result<Secret> KemKey::dh(const Suite& suite, View peer) const {
  if (const EcCurve* curve = EcCurve::of(suite.kem)) {
    return curve->multiply(private_key_, peer);
  }
  if (peer.size() != suite.kem_public_key_size) {
    return bad_public_key();
  }
  internal::Pkey peer_key(EVP_PKEY_new_raw_public_key_ex(nullptr, x_curve_name(suite.kem), nullptr,
                                                         peer.data(), peer.size()));
  internal::PkeyContext context(EVP_PKEY_CTX_new_from_pkey(nullptr, key_.get(), nullptr));
  Secret out = Secret::zeros(suite.kem_public_key_size);
  size_t size = out.size();
  if (!peer_key || !context || EVP_PKEY_derive_init(context.get()) != 1 ||
      EVP_PKEY_derive_set_peer_ex(context.get(), peer_key.get(), 0) != 1) {
    internal::forget_library_errors();
    return fail(ErrorCode::kCryptoFailure, "computing a DH: the library refused");
  }
  // Fails on an all-zero result, and on nothing else that a peer can bring about.
  if (EVP_PKEY_derive(context.get(), out.data(), &size) != 1) {
    return bad_public_key();
  }
  return out;
}

}  // namespace slipway::mls
