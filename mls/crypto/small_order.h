// Points of small order on the Montgomery and Edwards curves, with their non-canonical encodings. A DH
// with one of them has one of a few results; a signature under one of them can be forged.
// For the files of this folder only. Public keys of the right length only.
#pragma once

#include "crypto/bytes.h"

namespace slipway::mls::internal {

bool is_small_order_x25519(View key);
bool is_small_order_x448(View key);
bool is_small_order_ed25519(View key);
bool is_small_order_ed448(View key);

}  // namespace slipway::mls::internal
