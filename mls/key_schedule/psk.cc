#include "key_schedule/psk.h"

namespace slipway::mls {

Secret fold_psks(const Suite& suite, std::span<const PskInput> psks) {
  assert(psks.size() <= UINT16_MAX);
  Secret zeros = Secret::zeros(suite.hash_size);
  Secret folded = zeros.clone();
  Bytes label;
  for (size_t i = 0; i < psks.size(); ++i) {
    label.clear();
    Writer writer(label);
    writer(*psks[i].id, static_cast<uint16_t>(i), static_cast<uint16_t>(psks.size()));
    Secret extracted = hkdf_extract(suite, zeros, psks[i].psk);
    Secret input = expand_with_label(suite, extracted, "derived psk", label, suite.hash_size);
    folded = hkdf_extract(suite, input, folded);
  }
  return folded;
}

}  // namespace slipway::mls
