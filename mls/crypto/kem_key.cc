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

namespace {

using internal::Pkey;
using internal::PkeyContext;

std::unexpected<Error> import_failed() {
  internal::forget_library_errors();
  return fail(ErrorCode::kCryptoFailure, "importing a KEM private key: the library refused");
}

PkeyContext start_dh(EVP_PKEY* key) {
  PkeyContext context(EVP_PKEY_CTX_new_from_pkey(nullptr, key, nullptr));
  if (!context || EVP_PKEY_derive_init(context.get()) != 1) {
    internal::forget_library_errors();
    return nullptr;
  }
  return context;
}

// Result of a DH on an X curve, at `out`. kInvalidKey if it is zero.
Status multiply(const PkeyContext& context, EVP_PKEY* peer, MutableView out) {
  size_t size = out.size();
  if (!context || peer == nullptr || EVP_PKEY_derive_set_peer_ex(context.get(), peer, 0) != 1) {
    internal::forget_library_errors();
    return fail(ErrorCode::kCryptoFailure, "computing a DH: the library refused");
  }
  // Fails on an all-zero result, and on nothing else that a peer can bring about.
  if (EVP_PKEY_derive(context.get(), out.data(), &size) != 1) {
    return bad_public_key();
  }
  return {};
}

// The thread's object of the curve with that public key, until the next call. A key object for itself costs a tenth
// of a DH.
EVP_PKEY* peer_of(KemId kem, View public_key) {
  Pkey& kept = internal::contexts().x_peer[kem == KemId::kX25519 ? 0 : 1];
  if (!kept) {
    kept.reset(EVP_PKEY_new_raw_public_key_ex(nullptr, x_curve_name(kem), nullptr, public_key.data(),
                                              public_key.size()));
    return kept.get();
  }
  return EVP_PKEY_set1_encoded_public_key(kept.get(), public_key.data(), public_key.size()) == 1 ? kept.get()
                                                                                                 : nullptr;
}

// A key object of an X curve. From a private key alone the library would compute the public one, so it is given one.
Pkey private_key_object(KemId kem, View private_key, View public_key) {
  EVP_PKEY_CTX* maker = internal::key_maker(internal::contexts().x_maker[kem == KemId::kX25519 ? 0 : 1],
                                            x_curve_name(kem));
  OSSL_PARAM parts[] = {
      OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PRIV_KEY, const_cast<uint8_t*>(private_key.data()),
                                        private_key.size()),
      OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, const_cast<uint8_t*>(public_key.data()),
                                        public_key.size()),
      OSSL_PARAM_construct_end()};
  EVP_PKEY* made = nullptr;
  if (maker == nullptr || EVP_PKEY_fromdata(maker, &made, EVP_PKEY_KEYPAIR, parts) != 1) {
    internal::forget_library_errors();
    return nullptr;
  }
  return Pkey(made);
}

constexpr std::array<uint8_t, 32> kX25519Base = {9};

EVP_PKEY* x25519_base() {
  static EVP_PKEY* const kept = EVP_PKEY_new_raw_public_key_ex(nullptr, "X25519", nullptr, kX25519Base.data(),
                                                               kX25519Base.size());
  return kept;
}

// The library's own way to compute a public key takes a third longer than a DH. So the object gets a public key that
// nobody asks it for (the base point), and the real one is the DH with the base point (RFC 7748, 6.1).
struct X25519Key {
  PublicKeyBytes public_key;
  PkeyContext dh;  // ready for more
};
Result<X25519Key> import_x25519(View private_key) {
  const Pkey key = private_key_object(KemId::kX25519, private_key, kX25519Base);
  if (!key) {
    return import_failed();
  }
  X25519Key out{PublicKeyBytes::with_size(kX25519Base.size()), start_dh(key.get())};
  if (!multiply(out.dh, x25519_base(), out.public_key.mutable_view())) {
    return import_failed();
  }
  return out;
}

Result<PublicKeyBytes> x448_public_key(View private_key) {
  constexpr size_t kSize = 56;
  const Pkey key(EVP_PKEY_new_raw_private_key_ex(nullptr, "X448", nullptr, private_key.data(), private_key.size()));
  auto public_key = PublicKeyBytes::with_size(kSize);
  size_t size = kSize;
  if (!key || EVP_PKEY_get_raw_public_key(key.get(), public_key.data(), &size) != 1) {
    return import_failed();
  }
  return public_key;
}

}  // namespace

Result<KemKey> KemKey::import(const Suite& suite, View private_key) {
  if (private_key.size() != suite.kem_private_key_size) {
    return fail(ErrorCode::kInvalidKey, "importing a KEM private key: wrong length for the suite");
  }
  KemKey key;
  if (const EcCurve* curve = EcCurve::of(suite.kem)) {
    MLS_ASSIGN(key.public_key_, curve->public_point(private_key));
  } else if (suite.kem == KemId::kX25519) {
    MLS_ASSIGN(const X25519Key made, import_x25519(private_key));
    key.public_key_ = made.public_key;
  } else {
    MLS_ASSIGN(key.public_key_, x448_public_key(private_key));
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
  return copy;
}

Result<Secret> KemKey::dh(const Suite& suite, View peer) const {
  if (const EcCurve* curve = EcCurve::of(suite.kem)) {
    return curve->multiply(private_key_, peer);
  }
  if (peer.size() != suite.kem_public_key_size) {
    return bad_public_key();
  }
  const Pkey key = private_key_object(suite.kem, private_key_, public_key_);
  if (!key) {
    return import_failed();
  }
  Secret out = Secret::zeros(suite.kem_public_key_size);
  MLS_TRY(multiply(start_dh(key.get()), peer_of(suite.kem, peer), out.mutable_view()));
  return out;
}

Result<EphemeralDh> ephemeral_dh(const Suite& suite, View peer, Random& random) {
  EphemeralDh out;
  if (suite.kem != KemId::kX25519) {
    MLS_ASSIGN(const KemKey key, KemKey::generate(suite, random));
    out.public_key.assign(key.public_key());
    MLS_ASSIGN(out.shared_secret, key.dh(suite, peer));
    return out;
  }
  // One key object and one context for both multiplications.
  if (peer.size() != suite.kem_public_key_size) {
    return bad_public_key();
  }
  MLS_ASSIGN(const Secret secret, internal::random_private_key(nullptr, suite.kem_private_key_size, random));
  MLS_ASSIGN(const X25519Key key, import_x25519(secret));
  out.public_key = key.public_key;
  out.shared_secret = Secret::zeros(suite.kem_public_key_size);
  MLS_TRY(multiply(key.dh, peer_of(suite.kem, peer), out.shared_secret.mutable_view()));
  return out;
}

}  // namespace slipway::mls
