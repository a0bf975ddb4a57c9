// AEAD on cipher contexts kept per thread. Any thread; no allocation.
#pragma once

#include "base/error.h"
#include "crypto/bytes.h"
#include "crypto/suite.h"

namespace slipway::mls {

// `out` has plaintext.size() + kAeadTagBytes bytes: ciphertext, then tag. It may begin where the
// plaintext begins (in place), but not overlap it otherwise. `aad` comes in pieces.
Status aead_seal(const Suite& suite, View key, View nonce, std::initializer_list<View> aad,
                 View plaintext, MutableView out);

// `ciphertext` ends in the tag; `out` has its size less kAeadTagBytes, in place as above. If it does
// not open, `out` is wiped and nothing of the plaintext gets out: kDecryptionFailed.
Status aead_open(const Suite& suite, View key, View nonce, std::initializer_list<View> aad,
                 View ciphertext, MutableView out);

}  // namespace slipway::mls
