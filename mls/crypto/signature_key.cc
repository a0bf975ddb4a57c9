#include "crypto/signature_key.h"

#include <openssl/core_names.h>
#include <openssl/param_build.h>

#include "crypto/ec_curve.h"
#include "crypto/edwards_point.h"
#include "crypto/known_digests.h"
#include "crypto/p256_table.h"
#include "crypto/signature_steps.h"
#include "crypto/long_hash.h"
#include "crypto/small_order.h"
#include "crypto/thread_contexts.h"
#include "crypto/vector_header.h"

namespace slipway::mls {

using internal::EcCurve;
using internal::Pkey;
using internal::PkeyContext;

struct SignatureContext {
  const Suite* suite;
  Pkey key;
  // Ready to sign or to verify, as often as one likes. Which of the two it is, and when it is made, is the key's.
  PkeyContext operation;             // ECDSA
  internal::MdContext edwards;       // EdDSA
  std::unique_ptr<internal::P256Table> table = nullptr;  // of a key that verifies much
};

namespace {

constexpr std::string_view kPrefix = "MLS 1.0 ";
// A thread keeps the buffer that content was joined in up to this size.
constexpr size_t kKeptJoinedBytes = size_t{64} << 10;

std::unexpected<Error> library_failed() {
  internal::forget_library_errors();
  return fail(ErrorCode::kCryptoFailure, "using a signature key: the library refused");
}
std::unexpected<Error> bad_public_key() {
  internal::forget_library_errors();
  return fail(ErrorCode::kInvalidKey, "reading a signature key: wrong length, or of small order");
}
std::unexpected<Error> bad_signature() {
  internal::forget_library_errors();
  return fail(ErrorCode::kBadSignature, "verifying a signature: it does not fit key and content");
}

const char* edwards_name(SignatureScheme scheme) {
  return scheme == SignatureScheme::kEd25519 ? "ED25519" : "ED448";
}

size_t total(Pieces pieces) {
  size_t size = 0;
  for (View piece : pieces) {
    size += piece.size();
  }
  return size;
}

// SignContent (5.1.2), hashed, for ECDSA.
HashValue hash_sign_content(const Suite& suite, std::string_view label, Pieces content) {
  EVP_MD_CTX* context = internal::contexts().digest[static_cast<size_t>(suite.kdf)].get();
  bool good = EVP_DigestInit_ex2(context, nullptr, nullptr) == 1;
  auto update = [&](View piece) {
    good = good && (piece.empty() || EVP_DigestUpdate(context, piece.data(), piece.size()) == 1);
  };
  update(length_header(kPrefix.size() + label.size()));
  update(as_view(kPrefix));
  update(as_view(label));
  update(length_header(total(content)));
  for (View piece : content) {
    update(piece);
  }
  auto digest = HashValue::with_size(suite.hash_size);
  if (!good || EVP_DigestFinal_ex(context, digest.data(), nullptr) != 1) {
    internal::give_up("hashing");
  }
  return digest;
}

// SignContent in one piece, for EdDSA, which reads it twice. Wiped when done: it may hold plaintext.
class JoinedSignContent {
 public:
  JoinedSignContent(std::string_view label, Pieces content) : bytes_(internal::contexts().joined) {
    bytes_.clear();
    size_t size = total(content);
    bytes_.reserve(vector_size(kPrefix.size() + label.size()) + vector_size(size));
    append(bytes_, length_header(kPrefix.size() + label.size()));
    append(bytes_, as_view(kPrefix));
    append(bytes_, as_view(label));
    append(bytes_, length_header(size));
    for (View piece : content) {
      append(bytes_, piece);
    }
  }
  ~JoinedSignContent() {
    wipe(bytes_);
    if (bytes_.capacity() > kKeptJoinedBytes) {
      Bytes().swap(bytes_);
    }
  }
  JoinedSignContent(const JoinedSignContent&) = delete;
  JoinedSignContent& operator=(const JoinedSignContent&) = delete;
  View view() const { return bytes_; }

 private:
  Bytes& bytes_;
};

enum class Direction { kSign, kVerify };

// Makes a context ready for one EdDSA operation. Without a key, one that was ready before: that is nearly free.
Status start_edwards(Direction direction, EVP_MD_CTX* context, EVP_PKEY* key, OSSL_LIB_CTX* library = nullptr) {
  const auto start = direction == Direction::kSign ? &EVP_DigestSignInit_ex : &EVP_DigestVerifyInit_ex;
  if (context == nullptr || (key != nullptr && EVP_MD_CTX_reset(context) != 1) ||
      start(context, nullptr, nullptr, library, nullptr, key, nullptr) != 1) {
    return library_failed();
  }
  return {};
}

// The context that a key keeps, made at the first use.
Status start_kept(Direction direction, SignatureContext& kept) {
  const bool first = kept.edwards == nullptr;
  if (first) {
    kept.edwards.reset(EVP_MD_CTX_new());
  }
  const Status started = start_edwards(direction, kept.edwards.get(), first ? kept.key.get() : nullptr);
  if (!started) {
    kept.edwards.reset();
  }
  return started;
}

Status verify_edwards(EVP_MD_CTX* context, View joined, View signature) {
  if (EVP_DigestVerify(context, signature.data(), signature.size(), joined.data(), joined.size()) != 1) {
    return bad_signature();
  }
  return {};
}

Result<Signature> sign_edwards(EVP_MD_CTX* context, View joined) {
  auto signature = Signature::with_size(kMaxSignatureBytes);
  size_t size = signature.size();
  if (EVP_DigestSign(context, signature.data(), &size, joined.data(), joined.size()) != 1) {
    return library_failed();
  }
  signature.resize(size);
  return signature;
}

// With a key that is used once, on the thread's context. Without a library context, the library's own.
Status verify_edwards_once(EVP_PKEY* key, View joined, View signature, OSSL_LIB_CTX* library = nullptr) {
  EVP_MD_CTX* context = internal::contexts().signature.get();
  MLS_TRY(start_edwards(Direction::kVerify, context, key, library));
  return verify_edwards(context, joined, signature);
}

Status verify_ecdsa(EVP_PKEY_CTX* operation, View digest, View signature) {
  if (EVP_PKEY_verify(operation, signature.data(), signature.size(), digest.data(), digest.size()) != 1) {
    return bad_signature();
  }
  return {};
}

// A key object with the curve's parameters and no point yet.
Pkey make_template(const EcCurve& curve) {
  PkeyContext context(EVP_PKEY_CTX_new_from_name(nullptr, "EC", nullptr));
  char* name = const_cast<char*>(curve.group_name());  // only read
  OSSL_PARAM parameters[] = {
      OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, name, 0), OSSL_PARAM_construct_end()};
  EVP_PKEY* key = nullptr;
  if (!context || EVP_PKEY_fromdata_init(context.get()) != 1 ||
      EVP_PKEY_fromdata(context.get(), &key, EVP_PKEY_KEY_PARAMETERS, parameters) != 1) {
    internal::give_up("making a key template");
  }
  return Pkey(key);
}

EVP_PKEY* template_of(SignatureScheme scheme) {
  static EVP_PKEY* const p256 = make_template(EcCurve::p256()).release();
  static EVP_PKEY* const p384 = make_template(EcCurve::p384()).release();
  static EVP_PKEY* const p521 = make_template(EcCurve::p521()).release();
  return scheme == SignatureScheme::kP256 ? p256 : scheme == SignatureScheme::kP384 ? p384 : p521;
}

// Copying the curve from a template costs a quarter of building the key from its parts.
Pkey empty_ec_key(SignatureScheme scheme) {
  Pkey key(EVP_PKEY_new());
  if (!key || EVP_PKEY_copy_parameters(key.get(), template_of(scheme)) != 1) {
    return nullptr;
  }
  return key;
}

// The library takes infinity, compressed and hybrid points as well: length and first byte rule them out.
Status put_point(const Suite& suite, EVP_PKEY* key, View point) {
  if (point.size() != suite.signature_public_key_size || point[0] != 0x04 ||
      EVP_PKEY_set1_encoded_public_key(key, point.data(), point.size()) != 1) {
    internal::forget_library_errors();
    return fail(ErrorCode::kInvalidKey,
                "reading a signature key: not an uncompressed point of the curve");
  }
  return {};
}

Result<Pkey> import_public(const Suite& suite, View public_key) {
  if (EcCurve::of(suite.signature) != nullptr) {
    Pkey key = empty_ec_key(suite.signature);
    if (!key) {
      return library_failed();
    }
    MLS_TRY(put_point(suite, key.get(), public_key));
    return key;
  }
  if (public_key.size() != suite.signature_public_key_size) {
    return bad_public_key();
  }
  const bool small = suite.signature == SignatureScheme::kEd25519;
  EVP_PKEY_CTX* maker = internal::key_maker(internal::contexts().edwards_maker[small ? 0 : 1],
                                            edwards_name(suite.signature));
  OSSL_PARAM parts[] = {
      OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, const_cast<uint8_t*>(public_key.data()),
                                        public_key.size()),
      OSSL_PARAM_construct_end()};
  EVP_PKEY* made = nullptr;
  if (maker == nullptr || EVP_PKEY_fromdata(maker, &made, EVP_PKEY_PUBLIC_KEY, parts) != 1) {
    return library_failed();
  }
  return Pkey(made);
}

Result<Pkey> import_private_ec(const EcCurve& curve, View private_key, View public_key) {
  struct FreeBuild {
    void operator()(OSSL_PARAM_BLD* build) const { OSSL_PARAM_BLD_free(build); }
    void operator()(OSSL_PARAM* parameters) const { OSSL_PARAM_free(parameters); }
  };
  std::unique_ptr<BIGNUM, internal::FreeWith<BN_clear_free>> scalar(
      BN_bin2bn(private_key.data(), static_cast<int>(private_key.size()), nullptr));
  std::unique_ptr<OSSL_PARAM_BLD, FreeBuild> build(OSSL_PARAM_BLD_new());
  if (!scalar || !build) {
    return library_failed();
  }
  BN_set_flags(scalar.get(), BN_FLG_CONSTTIME);
  OSSL_PARAM_BLD_push_utf8_string(build.get(), OSSL_PKEY_PARAM_GROUP_NAME, curve.group_name(), 0);
  OSSL_PARAM_BLD_push_BN_pad(build.get(), OSSL_PKEY_PARAM_PRIV_KEY, scalar.get(), private_key.size());
  OSSL_PARAM_BLD_push_octet_string(build.get(), OSSL_PKEY_PARAM_PUB_KEY, public_key.data(),
                                   public_key.size());
  std::unique_ptr<OSSL_PARAM, FreeBuild> parameters(OSSL_PARAM_BLD_to_param(build.get()));
  PkeyContext context(EVP_PKEY_CTX_new_from_name(nullptr, "EC", nullptr));
  EVP_PKEY* key = nullptr;
  if (!parameters || !context || EVP_PKEY_fromdata_init(context.get()) != 1 ||
      EVP_PKEY_fromdata(context.get(), &key, EVP_PKEY_KEYPAIR, parameters.get()) != 1) {
    return library_failed();
  }
  return Pkey(key);
}

}  // namespace

Status validate_signature_public_key(const Suite& suite, View public_key) {
  if (const EcCurve* curve = EcCurve::of(suite.signature)) {
    return curve->check_point(public_key);
  }
  if (public_key.size() != suite.signature_public_key_size ||
      (suite.signature == SignatureScheme::kEd25519 ? internal::is_small_order_ed25519(public_key)
                                                    : internal::is_small_order_ed448(public_key))) {
    return bad_public_key();
  }
  return {};
}

Result<SignaturePublicKey> SignaturePublicKey::import(const Suite& suite, View public_key) {
  MLS_ASSIGN(Pkey key, import_public(suite, public_key));
  if (EcCurve::of(suite.signature) == nullptr) {
    MLS_TRY(validate_signature_public_key(suite, public_key));
  }
  SignaturePublicKey out;
  out.context_ = std::make_shared<SignatureContext>(&suite, std::move(key), nullptr, nullptr);
  if (EcCurve::of(suite.signature) != nullptr) {
    PkeyContext& operation = out.context_->operation;
    operation.reset(EVP_PKEY_CTX_new_from_pkey(nullptr, out.context_->key.get(), nullptr));
    if (!operation || EVP_PKEY_verify_init(operation.get()) != 1) {
      return library_failed();
    }
  }
  return out;
}

Status SignaturePublicKey::verify(std::string_view label, Pieces content, View signature) const {
  if (!context_) {
    return fail(ErrorCode::kInvalidArgument, "verifying a signature: no key");
  }
  if (context_->operation) {
    const HashValue digest = hash_sign_content(*context_->suite, label, content);
    if (context_->table) {
      return context_->table->verify(digest, signature) ? Status() : bad_signature();
    }
    return verify_ecdsa(context_->operation.get(), digest, signature);
  }
  MLS_TRY(start_kept(Direction::kVerify, *context_));
  return verify_edwards(context_->edwards.get(), JoinedSignContent(label, content).view(), signature);
}

void SignaturePublicKey::hasten() const {
  if (!context_ || context_->suite->signature != SignatureScheme::kP256 || context_->table) {
    return;
  }
  auto point = PublicKeyBytes::with_size(context_->suite->signature_public_key_size);
  size_t size = 0;
  if (EVP_PKEY_get_octet_string_param(context_->key.get(), OSSL_PKEY_PARAM_PUB_KEY, point.data(), point.size(), &size) == 1 && size == point.size()) {
    context_->table = internal::P256Table::make(point);
  }
  internal::forget_library_errors();
}

namespace {

// By a key that is used once, on the thread's object of its curve.
Status verify_ecdsa_once(const Suite& suite, View public_key, View digest, View signature) {
  internal::ScratchKey& scratch =
      internal::contexts().verifier[static_cast<size_t>(suite.signature)];
  if (!scratch.context) {
    scratch.key = empty_ec_key(suite.signature);
    scratch.context.reset(
        scratch.key ? EVP_PKEY_CTX_new_from_pkey(nullptr, scratch.key.get(), nullptr) : nullptr);
    if (!scratch.context) {
      return library_failed();
    }
  }
  MLS_TRY(put_point(suite, scratch.key.get(), public_key));
  // Once for each point: an operation may hold on to the key as it was when it began.
  if (EVP_PKEY_verify_init(scratch.context.get()) != 1) {
    return library_failed();
  }
  return verify_ecdsa(scratch.context.get(), digest, signature);
}

}  // namespace

Status check_signature_point(const Suite& suite, View public_key) {
  MLS_TRY(validate_signature_public_key(suite, public_key));
  if (EcCurve::of(suite.signature) == nullptr && !internal::is_edwards_point(suite.signature, public_key)) {
    return fail(ErrorCode::kInvalidKey, "reading a signature key: it is no point of its curve");
  }
  return {};
}

Status verify_once(const Suite& suite, View public_key, std::string_view label, Pieces content,
                   View signature) {
  if (EcCurve::of(suite.signature) != nullptr) {
    return verify_ecdsa_once(suite, public_key, hash_sign_content(suite, label, content), signature);
  }
  MLS_ASSIGN(Pkey key, import_public(suite, public_key));
  return verify_edwards_once(key.get(), JoinedSignContent(label, content).view(), signature);
}

Result<SignatureKey> SignatureKey::import(const Suite& suite, View private_key) {
  const EcCurve* curve = EcCurve::of(suite.signature);
  size_t wanted = suite.signature_private_key_size;
  if (curve != nullptr ? private_key.empty() || private_key.size() > wanted
                       : private_key.size() != wanted) {
    return fail(ErrorCode::kInvalidKey, "importing a signature key: wrong length for the suite");
  }
  SignatureKey out;
  out.suite_ = suite.id;
  out.private_key_ = Secret::zeros(wanted);
  std::copy(private_key.begin(), private_key.end(),
            out.private_key_.data() + (wanted - private_key.size()));
  Pkey key;
  if (curve != nullptr) {
    MLS_ASSIGN(out.public_key_, curve->public_point(out.private_key_));
    MLS_ASSIGN(key, import_private_ec(*curve, out.private_key_, out.public_key_));
  } else {
    key.reset(EVP_PKEY_new_raw_private_key_ex(nullptr, edwards_name(suite.signature), nullptr,
                                              private_key.data(), private_key.size()));
    out.public_key_ = PublicKeyBytes::with_size(suite.signature_public_key_size);
    size_t size = out.public_key_.size();
    if (!key || EVP_PKEY_get_raw_public_key(key.get(), out.public_key_.data(), &size) != 1) {
      return library_failed();
    }
  }
  out.context_ = std::make_shared<SignatureContext>(&suite, std::move(key), nullptr, nullptr);
  return out;
}

Result<SignatureKey> SignatureKey::generate(const Suite& suite, Random& random) {
  MLS_ASSIGN(const Secret secret, internal::random_private_key(EcCurve::of(suite.signature),
                                                               suite.signature_private_key_size, random));
  return import(suite, secret);
}

SignatureKey SignatureKey::clone() const {
  SignatureKey copy;
  copy.suite_ = suite_;
  copy.private_key_ = private_key_.clone();
  copy.public_key_ = public_key_;
  if (context_) {
    EVP_PKEY_up_ref(context_->key.get());
    copy.context_ =
        std::make_shared<SignatureContext>(context_->suite, Pkey(context_->key.get()));
  }
  return copy;
}

Result<Signature> SignatureKey::sign_digest(View digest) const {
  PkeyContext& operation = context_->operation;
  if (!operation) {
    operation.reset(EVP_PKEY_CTX_new_from_pkey(nullptr, context_->key.get(), nullptr));
    if (!operation || EVP_PKEY_sign_init(operation.get()) != 1) {
      operation.reset();
      return library_failed();
    }
  }
  auto signature = Signature::with_size(kMaxSignatureBytes);
  size_t size = signature.size();
  if (EVP_PKEY_sign(operation.get(), signature.data(), &size, digest.data(), digest.size()) != 1) {
    return library_failed();
  }
  signature.resize(size);
  return signature;
}

Result<Signature> SignatureKey::sign(std::string_view label, Pieces content) const {
  if (!context_) {
    return fail(ErrorCode::kInvalidArgument, "signing: no key");
  }
  if (EcCurve::of(context_->suite->signature) != nullptr) {
    return sign_digest(hash_sign_content(*context_->suite, label, content));
  }
  MLS_TRY(start_kept(Direction::kSign, *context_));
  return sign_edwards(context_->edwards.get(), JoinedSignContent(label, content).view());
}

// ---- In steps.

namespace {

// EdDSA over no more than this is one call of the library.
constexpr size_t kOneCallBytes = size_t{16} << 10;

// SignContent of megabytes: joined, hashed and tried, some of it at a time.
class ContentSteps {
 public:
  ContentSteps(const Suite& suite, std::string_view label, const std::vector<View>& content)
      : suite_(suite) {
    for (const View piece : content) {
      content_.add(piece);
    }
    const size_t size = content_.size();
    joined_.reserve(vector_size(kPrefix.size() + label.size()) + vector_size(size));
    append(joined_, length_header(kPrefix.size() + label.size()));
    append(joined_, as_view(kPrefix));
    append(joined_, as_view(label));
    append(joined_, length_header(size));
  }
  ~ContentSteps() { wipe(joined_); }
  ContentSteps(const ContentSteps&) = delete;
  ContentSteps& operator=(const ContentSteps&) = delete;

  const Suite& suite() const { return suite_; }
  // True when the operation may be tried, now or again: with digest() on a NIST curve, else under known().
  bool step(Budget& budget) {
    if (!join(budget)) {
      return false;
    }
    if (EcCurve::of(suite_.signature) != nullptr) {
      if (!hash_) {
        hash_.emplace(suite_.kdf).add(joined_);
      }
      return hash_->step(budget);
    }
    if (!known_) {
      known_.emplace(joined_);
    }
    return !known_->lacks_one() || known_->hash_some(budget);
  }
  View joined() const { return joined_; }
  HashValue digest() { return hash_->finish(); }
  internal::KnownDigests& known() { return *known_; }
  OSSL_LIB_CTX* library() const {
    return joined_.size() > kOneCallBytes ? internal::KnownDigests::library() : nullptr;
  }

 private:
  bool join(Budget& budget) {
    while (!content_.empty()) {
      const View next = content_.front();
      const size_t size = budget.take_bytes(next.size(), Budget::kCopiedBytes);
      if (size == 0) {
        return false;
      }
      append(joined_, next.first(size));
      content_.drop(size);
    }
    return true;
  }

  const Suite& suite_;
  LongInput content_;
  Bytes joined_;
  std::optional<LongHash> hash_;
  std::optional<internal::KnownDigests> known_;
};

}  // namespace

struct SignSteps::State : ContentSteps {
  using ContentSteps::ContentSteps;
  const SignatureKey* key = nullptr;
  std::optional<Signature> made;

  Result<Signature> sign() {
    SignatureContext& kept = *key->context_;
    if (library() == nullptr) {
      MLS_TRY(start_kept(Direction::kSign, kept));
      return sign_edwards(kept.edwards.get(), joined());
    }
    EVP_MD_CTX* context = internal::contexts().signature.get();
    MLS_TRY(start_edwards(Direction::kSign, context, kept.key.get(), library()));
    return sign_edwards(context, joined());
  }
};

SignSteps::SignSteps(const SignatureKey& key, std::string_view label, const std::vector<View>& content)
    : state_(std::make_unique<State>(*find_suite(key.suite()), label, content)) {
  state_->key = &key;
}
SignSteps::~SignSteps() = default;
SignSteps::SignSteps(SignSteps&&) noexcept = default;
SignSteps& SignSteps::operator=(SignSteps&&) noexcept = default;
const Signature& SignSteps::signature() const { return *state_->made; }

Result<bool> SignSteps::step(Budget& budget) {
  State& state = *state_;
  while (!state.made) {
    if (!state.step(budget) || budget.used_up()) {
      return false;
    }
    budget.draw(Budget::kPublicKeyOp);
    if (EcCurve::of(state.suite().signature) != nullptr) {
      MLS_ASSIGN(state.made, state.key->sign_digest(state.digest()));
      break;
    }
    const internal::KnownDigests::Use use(state.known());
    auto made = state.sign();
    if (made) {
      state.made = *made;
    } else if (!state.known().lacks_one()) {
      return fail(made.error());
    }
  }
  return true;
}

struct VerifySteps::State : ContentSteps {
  using ContentSteps::ContentSteps;
  Bytes public_key;
  Bytes signature;
  bool good = false;
};

VerifySteps::VerifySteps(const Suite& suite, View public_key, std::string_view label,
                         const std::vector<View>& content, View signature)
    : state_(std::make_unique<State>(suite, label, content)) {
  state_->public_key = to_bytes(public_key);
  state_->signature = to_bytes(signature);
}
VerifySteps::~VerifySteps() = default;
VerifySteps::VerifySteps(VerifySteps&&) noexcept = default;
VerifySteps& VerifySteps::operator=(VerifySteps&&) noexcept = default;

Result<bool> VerifySteps::step(Budget& budget) {
  State& state = *state_;
  while (!state.good) {
    if (!state.step(budget) || budget.used_up()) {
      return false;
    }
    budget.draw(Budget::kPublicKeyOp);
    if (EcCurve::of(state.suite().signature) != nullptr) {
      MLS_TRY(verify_ecdsa_once(state.suite(), state.public_key, state.digest(), state.signature));
      state.good = true;
      break;
    }
    MLS_ASSIGN(const Pkey key, import_public(state.suite(), state.public_key));
    const internal::KnownDigests::Use use(state.known());
    const Status status = verify_edwards_once(key.get(), state.joined(), state.signature, state.library());
    if (status) {
      state.good = true;
    } else if (!state.known().lacks_one()) {
      return fail(status.error());
    }
  }
  return true;
}

}  // namespace slipway::mls
