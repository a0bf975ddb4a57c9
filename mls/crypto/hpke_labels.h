// LabeledExtract and LabeledExpand (RFC 9180, 4). For the files of this folder only.
#pragma once

#include "crypto/hkdf.h"

namespace slipway::mls::internal {

inline constexpr std::string_view kHpkeVersion = "HPKE-v1";

inline Secret labeled_extract(KdfId kdf, View suite_id, View salt, std::string_view label, View ikm) {
  return hkdf_extract(kdf, salt, {as_view(kHpkeVersion), suite_id, as_view(label), ikm});
}

inline Secret labeled_expand(KdfId kdf, View suite_id, View prk, std::string_view label, Pieces info,
                             size_t size) {
  assert(info.size() <= 2);
  View first = info.size() > 0 ? info.begin()[0] : View();
  View second = info.size() > 1 ? info.begin()[1] : View();
  uint8_t length[2] = {static_cast<uint8_t>(size >> 8), static_cast<uint8_t>(size)};
  Secret out = Secret::zeros(size);
  hkdf_expand(kdf, prk, {length, as_view(kHpkeVersion), suite_id, as_view(label), first, second},
              out.mutable_view());
  return out;
}

}  // namespace slipway::mls::internal
