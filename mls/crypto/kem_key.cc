#include "crypto/kem_key.h"

#include <openssl/core_names.h>
#include <openssl/params.h>

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

namespace {

using internal::Pkey;

std::unexpected<Error> import_failed() {
  internal::forget_library_errors();
  return fail(ErrorCode::kCryptoFailure, "importing a KEM private key: the library refused");
}

// Result of a DH on an X curve, at `out`. kInvalidKey if it is zero.
Status multiply(EVP_PKEY* key, EVP_PKEY* peer, MutableView out) {
  internal::PkeyContext context(EVP_PKEY_CTX_new_from_pkey(nullptr, key, nullptr));
  size_t size = out.size();
  if (!context || EVP_PKEY_derive_init(context.get()) != 1 ||
      EVP_PKEY_derive_set_peer_ex(context.get(), peer, 0) != 1) {
    internal::forget_library_errors();
    return fail(ErrorCode::kCryptoFailure, "computing a DH: the library refused");
  }
  // Fails on an all-zero result, and on nothing else that a peer can bring about.
  if (EVP_PKEY_derive(context.get(), out.data(), &size) != 1) {
    return bad_public_key();
  }
  return {};
}

constexpr std::array<uint8_t, 32> kX25519Base = {9};

EVP_PKEY* x25519_base() {
  static EVP_PKEY* const kept = EVP_PKEY_new_raw_public_key_ex(nullptr, "X25519", nullptr, kX25519Base.data(),
                                                               kX25519Base.size());
  return kept;
}

// An X25519 key object from a private key alone has its public key computed, by a multiplication that takes a third
// longer than that of a DH. So the object gets a public key that nobody asks it for (the base point), and the real
// one is the DH with the base point (RFC 7748, 6.1).
Result<Pkey> import_x25519(View private_key, PublicKeyBytes& public_key) {
  internal::PkeyContext& maker = internal::contexts().x25519_maker;
  if (!maker) {
    maker.reset(EVP_PKEY_CTX_new_from_name(nullptr, "X25519", nullptr));
    if (!maker || EVP_PKEY_fromdata_init(maker.get()) != 1) {
      maker.reset();
      return import_failed();
    }
  }
  OSSL_PARAM parts[] = {
      OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PRIV_KEY, const_cast<uint8_t*>(private_key.data()),
                                        private_key.size()),
      OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, const_cast<uint8_t*>(kX25519Base.data()),
                                        kX25519Base.size()),
      OSSL_PARAM_construct_end()};
  EVP_PKEY* made = nullptr;
  if (EVP_PKEY_fromdata(maker.get(), &made, EVP_PKEY_KEYPAIR, parts) != 1) {
    return import_failed();
  }
  Pkey key(made);
  public_key = PublicKeyBytes::with_size(kX25519Base.size());
  if (x25519_base() == nullptr || !multiply(key.get(), x25519_base(), public_key.mutable_view())) {
    return import_failed();
  }
  return key;
}

Result<Pkey> import_x448(View private_key, PublicKeyBytes& public_key) {
  constexpr size_t kSize = 56;
  Pkey key(EVP_PKEY_new_raw_private_key_ex(nullptr, "X448", nullptr, private_key.data(), private_key.size()));
  public_key = PublicKeyBytes::with_size(kSize);
  size_t size = kSize;
  if (!key || EVP_PKEY_get_raw_public_key(key.get(), public_key.data(), &size) != 1) {
    return import_failed();
  }
  return key;
}

}  // namespace

Result<KemKey> KemKey::import(const Suite& suite, View private_key) {
  if (private_key.size() != suite.kem_private_key_size) {
    return fail(ErrorCode::kInvalidKey, "importing a KEM private key: wrong length for the suite");
  }
  KemKey key;
  if (const EcCurve* curve = EcCurve::of(suite.kem)) {
    MLS_ASSIGN(key.public_key_, curve->public_point(private_key));
  } else {
    MLS_ASSIGN(Pkey made, suite.kem == KemId::kX25519 ? import_x25519(private_key, key.public_key_)
                                                      : import_x448(private_key, key.public_key_));
    key.key_.reset(made.release());
  }
  key.private_key_ = Secret(private_key);
  return key;
}

Result<KemKey> KemKey::generate(const Suite& suite, Random& random) {
  MLS_ASSIGN(const Secret secret, internal::random_private_key(EcCurve::of(suite.kem),
                                                               suite.kem_private_key_size, random));
  return import(suite, secret);
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
  Secret out = Secret::zeros(suite.kem_public_key_size);
  if (!peer_key) {
    return import_failed();
  }
  MLS_TRY(multiply(key_.get(), peer_key.get(), out.mutable_view()));
  return out;
}

}  // namespace slipway::mls
