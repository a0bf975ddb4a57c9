// Hash and HMAC on digest contexts kept per thread. Any thread; no allocation. These cannot fail on
// any input: if the library has no memory left, the process ends with a message.
#pragma once

#include <initializer_list>

#include "crypto/bytes.h"
#include "crypto/secret.h"
#include "crypto/suite.h"

namespace slipway::mls {

// The bytes of one input in pieces, so that nobody has to join them first.
using Pieces = std::initializer_list<View>;

HashValue hash(KdfId algorithm, Pieces input);
inline HashValue hash(const Suite& suite, Pieces input) { return hash(suite.kdf, input); }
inline HashValue hash(const Suite& suite, View input) { return hash(suite.kdf, {input}); }

// MAC of RFC 9420, 5.2: HMAC of the suite's hash. `out` has hash_size bytes.
void hmac(KdfId algorithm, View key, Pieces input, MutableView out);
HashValue mac(const Suite& suite, View key, Pieces input);

// RefHash (5.2). `label` is the whole string, e.g. "MLS 1.0 KeyPackage Reference".
HashValue ref_hash(const Suite& suite, std::string_view label, View value);
inline constexpr std::string_view kKeyPackageRefLabel = "MLS 1.0 KeyPackage Reference";
inline constexpr std::string_view kProposalRefLabel = "MLS 1.0 Proposal Reference";

}  // namespace slipway::mls
