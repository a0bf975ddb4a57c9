#include "work_meter.h"

#include <dlfcn.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/provider.h>

#include <cstdlib>
#include <new>
#include <string_view>

#include "base/budget.h"

namespace {

using slipway::mls::testing::Work;

thread_local Work done;

// The module's own hash functions, which the library calls, hand on to the real ones or know the hash already.
bool hands_on(const EVP_MD_CTX* context) {
  const OSSL_PROVIDER* provider = EVP_MD_get0_provider(EVP_MD_CTX_get0_md(context));
  return provider != nullptr && std::string_view(OSSL_PROVIDER_get0_name(provider)) == "slipway-mls";
}

template <class F>
F* real(const char* name) {
  return reinterpret_cast<F*>(dlsym(RTLD_NEXT, name));
}
#define REAL(name) static auto* const next = real<decltype(name)>(#name)

}  // namespace

void* operator new(size_t size, const std::nothrow_t&) noexcept {
  ++done.heap_calls;
  return std::malloc(size != 0 ? size : 1);
}
void* operator new(size_t size) {
  if (void* memory = operator new(size, std::nothrow)) {
    return memory;
  }
  throw std::bad_alloc();
}
void operator delete(void* memory) noexcept {
  ++done.heap_calls;
  std::free(memory);
}
void operator delete(void* memory, size_t) noexcept { operator delete(memory); }

extern "C" {

int EVP_DigestUpdate(EVP_MD_CTX* context, const void* data, size_t size) {
  REAL(EVP_DigestUpdate);
  done.hashed_bytes += hands_on(context) ? 0 : size;
  return next(context, data, size);
}
int EVP_EncryptUpdate(EVP_CIPHER_CTX* context, unsigned char* out, int* written, const unsigned char* in, int size) {
  REAL(EVP_EncryptUpdate);
  done.encrypted_bytes += static_cast<size_t>(size);
  return next(context, out, written, in, size);
}
int EVP_DecryptUpdate(EVP_CIPHER_CTX* context, unsigned char* out, int* written, const unsigned char* in, int size) {
  REAL(EVP_DecryptUpdate);
  done.encrypted_bytes += static_cast<size_t>(size);
  return next(context, out, written, in, size);
}
int EVP_DigestSign(EVP_MD_CTX* context, unsigned char* out, size_t* size, const unsigned char* in, size_t in_size) {
  REAL(EVP_DigestSign);
  ++done.public_key_ops;
  return next(context, out, size, in, in_size);
}
int EVP_DigestVerify(EVP_MD_CTX* context, const unsigned char* signature, size_t size, const unsigned char* in,
                     size_t in_size) {
  REAL(EVP_DigestVerify);
  ++done.public_key_ops;
  return next(context, signature, size, in, in_size);
}
int EVP_PKEY_sign(EVP_PKEY_CTX* context, unsigned char* out, size_t* size, const unsigned char* in, size_t in_size) {
  REAL(EVP_PKEY_sign);
  ++done.public_key_ops;
  return next(context, out, size, in, in_size);
}
int EVP_PKEY_verify(EVP_PKEY_CTX* context, const unsigned char* signature, size_t size, const unsigned char* in,
                    size_t in_size) {
  REAL(EVP_PKEY_verify);
  ++done.public_key_ops;
  return next(context, signature, size, in, in_size);
}
int EVP_PKEY_derive(EVP_PKEY_CTX* context, unsigned char* out, size_t* size) {
  REAL(EVP_PKEY_derive);
  ++done.public_key_ops;
  return next(context, out, size);
}
int EC_POINT_mul(const EC_GROUP* group, EC_POINT* out, const BIGNUM* n, const EC_POINT* q, const BIGNUM* m,
                 BN_CTX* scratch) {
  REAL(EC_POINT_mul);
  ++done.public_key_ops;
  return next(group, out, n, q, m, scratch);
}

}  // extern "C"

namespace slipway::mls::testing {

size_t Work::units() const {
  constexpr size_t kHeapCallsAUnit = 16;
  return public_key_ops * Budget::kPublicKeyOp + hashed_bytes / Budget::kHashedBytes +
         encrypted_bytes / Budget::kCopiedBytes + heap_calls / kHeapCallsAUnit;
}

Work operator-(const Work& a, const Work& b) {
  return {a.public_key_ops - b.public_key_ops, a.hashed_bytes - b.hashed_bytes,
          a.encrypted_bytes - b.encrypted_bytes, a.heap_calls - b.heap_calls};
}

Work work_done() { return done; }

}  // namespace slipway::mls::testing
