// Library contexts kept per thread, and algorithm handles kept per process. For the files of this
// folder only: making either anew for each call costs more than most of the calls.
#pragma once

#include <openssl/bn.h>
#include <openssl/evp.h>

#include <array>
#include <memory>

#include "crypto/suite.h"

namespace slipway::mls::internal {

template <auto F>
struct FreeWith {
  template <class T>
  void operator()(T* object) const {
    F(object);
  }
};
using MdContext = std::unique_ptr<EVP_MD_CTX, FreeWith<EVP_MD_CTX_free>>;
using CipherContext = std::unique_ptr<EVP_CIPHER_CTX, FreeWith<EVP_CIPHER_CTX_free>>;
using PkeyContext = std::unique_ptr<EVP_PKEY_CTX, FreeWith<EVP_PKEY_CTX_free>>;
using Pkey = std::unique_ptr<EVP_PKEY, FreeWith<EVP_PKEY_free>>;
using BnContext = std::unique_ptr<BN_CTX, FreeWith<BN_CTX_free>>;

const EVP_MD* digest_of(KdfId algorithm);
size_t digest_size(KdfId algorithm);
const EVP_CIPHER* cipher_of(AeadId algorithm);

// A key on one curve that takes one public point after another, and a context to verify with it.
struct ScratchKey {
  Pkey key;
  PkeyContext context;
};

struct ThreadContexts {
  ThreadContexts();
  std::array<MdContext, 4> digest;        // by KdfId
  MdContext signature;
  std::array<CipherContext, 4> seal;      // by AeadId
  std::array<CipherContext, 4> open;
  BnContext numbers;
  std::array<PkeyContext, 2> x_maker;     // of key objects: X25519, X448. This and what follows made on first use
  std::array<PkeyContext, 2> edwards_maker;  // Ed25519, Ed448
  std::array<Pkey, 2> x_peer;             // X25519, X448: takes one public key after another
  std::array<ScratchKey, 5> verifier;     // by SignatureScheme
  Bytes joined;                           // content that must lie in one piece to be signed
};
ThreadContexts& contexts();

// A context that makes key objects of that type out of their parts: `kept` if there is one, else made anew and kept.
// Null if the library refuses.
EVP_PKEY_CTX* key_maker(PkeyContext& kept, const char* type);

// To be called where a library call has failed. The library keeps its errors in a queue per thread, and
// whoever asks a TLS connection next on this thread would take ours for its own.
void forget_library_errors();

// The library refused something that cannot be refused: no memory, or a broken installation. There is
// no state to go on with, and no answer to give that would be safe.
[[noreturn]] void give_up(const char* what);

}  // namespace slipway::mls::internal
