// HKDF (RFC 5869) and the labelled forms of RFC 9420 (8, 9). Any thread; no allocation; cannot fail.
#pragma once

#include "crypto/hash.h"

namespace slipway::mls {

// An empty salt stands for zeros.
Secret hkdf_extract(KdfId algorithm, View salt, Pieces ikm);
inline Secret hkdf_extract(const Suite& suite, View salt, View ikm) {
  return hkdf_extract(suite.kdf, salt, {ikm});
}
// Fills `out`, at most 255 times the hash size.
void hkdf_expand(KdfId algorithm, View prk, Pieces info, MutableView out);

// ExpandWithLabel: `label` without the "MLS 1.0 " that goes in front of it.
void expand_with_label_into(const Suite& suite, View secret, std::string_view label, View context,
                            MutableView out);
// `size` is at most Secret::kCapacity.
Secret expand_with_label(const Suite& suite, View secret, std::string_view label, View context,
                         size_t size);
Secret derive_secret(const Suite& suite, View secret, std::string_view label);
// The context is the generation as four bytes (9).
Secret derive_tree_secret(const Suite& suite, View secret, std::string_view label,
                          uint32_t generation, size_t size);

}  // namespace slipway::mls
