#include "crypto/known_digests.h"

#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/provider.h>

#include <new>

namespace slipway::mls::internal {

namespace {

constexpr const char* kProvider = "slipway-mls";
constexpr const char* kPreferred = "?provider=slipway-mls";

thread_local KnownDigests* in_use_now = nullptr;

const EVP_MD* real_sha512() { return digest_of(KdfId::kSha512); }
const EVP_MD* real_shake256() {
  static const EVP_MD* const kept = EVP_MD_fetch(nullptr, "SHAKE256", nullptr);
  return kept;
}

// ---- The hash functions, as the library's providers have them. They forward to the real ones.

struct Digest {
  const EVP_MD* algorithm;
  EVP_MD_CTX* real;
  SecretBytes beginning;
  bool keeps_beginning = true;
  size_t xof_size = 0;
};

constexpr size_t kMostBeginning = 512;
constexpr size_t kShakeSize = 32;

void* new_digest(const EVP_MD* algorithm) {
  auto* digest = new (std::nothrow) Digest{algorithm, EVP_MD_CTX_new(), {}, true, 0};
  if (digest != nullptr && (digest->real == nullptr || algorithm == nullptr)) {
    EVP_MD_CTX_free(digest->real);
    delete digest;
    digest = nullptr;
  }
  return digest;
}
void* new_sha512(void*) { return new_digest(real_sha512()); }
void* new_shake256(void*) { return new_digest(real_shake256()); }

void free_digest(void* opaque) {
  if (auto* digest = static_cast<Digest*>(opaque)) {
    EVP_MD_CTX_free(digest->real);
    delete digest;
  }
}

int init_digest(void* opaque, const OSSL_PARAM*) {
  auto* digest = static_cast<Digest*>(opaque);
  wipe(digest->beginning);
  digest->beginning.clear();
  digest->keeps_beginning = true;
  digest->xof_size = 0;
  return EVP_DigestInit_ex2(digest->real, digest->algorithm, nullptr);
}

int update_digest(void* opaque, const unsigned char* input, size_t size) {
  auto* digest = static_cast<Digest*>(opaque);
  KnownDigests* known = KnownDigests::in_use();
  if (known != nullptr && digest->keeps_beginning && known->is_message({input, size})) {
    digest->keeps_beginning = false;
    return known->recall(digest->algorithm, digest->beginning, digest->real) ? 1 : 0;
  }
  digest->keeps_beginning = digest->keeps_beginning && digest->beginning.size() + size <= kMostBeginning;
  if (digest->keeps_beginning) {
    digest->beginning.insert(digest->beginning.end(), input, input + size);
  }
  return EVP_DigestUpdate(digest->real, input, size);
}

int finish_sha512(void* opaque, unsigned char* out, size_t* size, size_t) {
  unsigned written = 0;
  const int good = EVP_DigestFinal_ex(static_cast<Digest*>(opaque)->real, out, &written);
  *size = written;
  return good;
}
int finish_shake256(void* opaque, unsigned char* out, size_t* size, size_t) {
  auto* digest = static_cast<Digest*>(opaque);
  *size = digest->xof_size != 0 ? digest->xof_size : kShakeSize;
  return EVP_DigestFinalXOF(digest->real, out, *size);
}

int set_shake256(void* opaque, const OSSL_PARAM parameters[]) {
  const OSSL_PARAM* size = OSSL_PARAM_locate_const(parameters, OSSL_DIGEST_PARAM_XOFLEN);
  return size == nullptr || OSSL_PARAM_get_size_t(size, &static_cast<Digest*>(opaque)->xof_size);
}
const OSSL_PARAM* settable_shake256(void*, void*) {
  static const OSSL_PARAM list[] = {OSSL_PARAM_size_t(OSSL_DIGEST_PARAM_XOFLEN, nullptr), OSSL_PARAM_END};
  return list;
}

int describe(OSSL_PARAM parameters[], size_t block, size_t size, int xof) {
  OSSL_PARAM* at = OSSL_PARAM_locate(parameters, OSSL_DIGEST_PARAM_BLOCK_SIZE);
  if (at != nullptr && OSSL_PARAM_set_size_t(at, block) != 1) {
    return 0;
  }
  at = OSSL_PARAM_locate(parameters, OSSL_DIGEST_PARAM_SIZE);
  if (at != nullptr && OSSL_PARAM_set_size_t(at, size) != 1) {
    return 0;
  }
  at = OSSL_PARAM_locate(parameters, OSSL_DIGEST_PARAM_XOF);
  return at == nullptr || OSSL_PARAM_set_int(at, xof) == 1;
}
int describe_sha512(OSSL_PARAM parameters[]) { return describe(parameters, 128, 64, 0); }
int describe_shake256(OSSL_PARAM parameters[]) { return describe(parameters, 136, kShakeSize, 1); }

// ---- The provider that offers them.

template <class F>
OSSL_DISPATCH entry(int id, F* function) {
  return {id, reinterpret_cast<void (*)()>(function)};
}

const OSSL_ALGORITHM* algorithms_of(void*, int operation, int* no_cache) {
  static const OSSL_DISPATCH sha512[] = {entry(OSSL_FUNC_DIGEST_NEWCTX, new_sha512),
                                         entry(OSSL_FUNC_DIGEST_FREECTX, free_digest),
                                         entry(OSSL_FUNC_DIGEST_INIT, init_digest),
                                         entry(OSSL_FUNC_DIGEST_UPDATE, update_digest),
                                         entry(OSSL_FUNC_DIGEST_FINAL, finish_sha512),
                                         entry(OSSL_FUNC_DIGEST_GET_PARAMS, describe_sha512),
                                         {0, nullptr}};
  static const OSSL_DISPATCH shake256[] = {entry(OSSL_FUNC_DIGEST_NEWCTX, new_shake256),
                                           entry(OSSL_FUNC_DIGEST_FREECTX, free_digest),
                                           entry(OSSL_FUNC_DIGEST_INIT, init_digest),
                                           entry(OSSL_FUNC_DIGEST_UPDATE, update_digest),
                                           entry(OSSL_FUNC_DIGEST_FINAL, finish_shake256),
                                           entry(OSSL_FUNC_DIGEST_GET_PARAMS, describe_shake256),
                                           entry(OSSL_FUNC_DIGEST_SET_CTX_PARAMS, set_shake256),
                                           entry(OSSL_FUNC_DIGEST_SETTABLE_CTX_PARAMS, settable_shake256),
                                           {0, nullptr}};
  static const OSSL_ALGORITHM digests[] = {
      {"SHA2-512:SHA-512:SHA512", "provider=slipway-mls", sha512, nullptr},
      {"SHAKE-256:SHAKE256", "provider=slipway-mls", shake256, nullptr},
      {nullptr, nullptr, nullptr, nullptr}};
  *no_cache = 0;
  return operation == OSSL_OP_DIGEST ? digests : nullptr;
}

int start_provider(const OSSL_CORE_HANDLE*, const OSSL_DISPATCH*, const OSSL_DISPATCH** out, void** context) {
  static const OSSL_DISPATCH functions[] = {entry(OSSL_FUNC_PROVIDER_QUERY_OPERATION, algorithms_of), {0, nullptr}};
  static int nothing = 0;
  *out = functions;
  *context = &nothing;
  return 1;
}

OSSL_LIB_CTX* make_library() {
  OSSL_LIB_CTX* library = OSSL_LIB_CTX_new();
  if (library != nullptr && OSSL_PROVIDER_add_builtin(library, kProvider, start_provider) == 1 &&
      OSSL_PROVIDER_load(library, "default") != nullptr && OSSL_PROVIDER_load(library, kProvider) != nullptr &&
      EVP_set_default_properties(library, kPreferred) == 1) {
    return library;
  }
  OSSL_LIB_CTX_free(library);
  forget_library_errors();
  return nullptr;
}

}  // namespace

OSSL_LIB_CTX* KnownDigests::library() {
  static OSSL_LIB_CTX* const kept = make_library();
  return kept;
}

KnownDigests* KnownDigests::in_use() { return in_use_now; }
KnownDigests::Use::Use(KnownDigests& known) { in_use_now = &known; }
KnownDigests::Use::~Use() { in_use_now = nullptr; }

bool KnownDigests::recall(const EVP_MD* algorithm, View beginning, EVP_MD_CTX* context) {
  for (const Known& each : known_) {
    if (each.algorithm == algorithm && equal_secret(each.beginning, beginning)) {
      return EVP_MD_CTX_copy_ex(context, each.state.get()) == 1;
    }
  }
  if (!wanted_) {
    wanted_ = Known{algorithm, SecretBytes(beginning.begin(), beginning.end()), nullptr};
  }
  return false;
}

bool KnownDigests::hash_some(Budget& budget) {
  Known& wanted = *wanted_;
  if (!wanted.state) {
    wanted.state.reset(EVP_MD_CTX_new());
    hashed_ = 0;
    if (!wanted.state || EVP_DigestInit_ex2(wanted.state.get(), wanted.algorithm, nullptr) != 1 ||
        EVP_DigestUpdate(wanted.state.get(), wanted.beginning.data(), wanted.beginning.size()) != 1) {
      give_up("hashing");
    }
  }
  const View left = message_.subspan(hashed_);
  const size_t size = budget.take_bytes(left.size(), Budget::kHashedBytes);
  if (EVP_DigestUpdate(wanted.state.get(), left.data(), size) != 1) {
    give_up("hashing");
  }
  hashed_ += size;
  if (hashed_ < message_.size()) {
    return false;
  }
  known_.push_back(std::move(wanted));
  wanted_.reset();
  return true;
}

}  // namespace slipway::mls::internal
