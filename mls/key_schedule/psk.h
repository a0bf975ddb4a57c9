// Folding PSKs into one secret (RFC 9420, 8.4). Pure functions: any thread.
#pragma once

#include "crypto/hkdf.h"
#include "message/proposal.h"

namespace slipway::mls {

struct PskInput {
  const PreSharedKeyId* id;
  View psk;
};

// Nh zero bytes for no PSK. At most 65,535.
Secret fold_psks(const Suite& suite, std::span<const PskInput> psks);

}  // namespace slipway::mls
