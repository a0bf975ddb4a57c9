// Whether bytes decode to a point of Edwards25519 or Edwards448. For the files of this folder only.
#pragma once

#include "crypto/bytes.h"
#include "crypto/suite.h"

namespace slipway::mls::internal {

// RFC 8032, 5.1.3 and 5.2.3: y is below p, and an x with that y exists. `key` has the scheme's size.
bool is_edwards_point(SignatureScheme scheme, View key);

}  // namespace slipway::mls::internal
