// An independent, slow checker of ratchet trees: works on the encoded bytes, by the letter of RFC 9420
// (7.8, 7.9), and shares nothing with mls/tree.
#pragma once

#include <string>

#include "crypto/bytes.h"
#include "crypto/suite.h"

namespace slipway::mls::testing {

struct TreeVerdict {
  Bytes root_hash;
  std::string complaint;  // empty if the parent hashes are right
};

TreeVerdict check_encoded_tree(const Suite& suite, View encoded_tree);

}  // namespace slipway::mls::testing
