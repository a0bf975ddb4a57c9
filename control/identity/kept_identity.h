#pragma once
// Who an application is, as one value that is kept over a restart: the scalar of its key, then its subject. Secret: whoever keeps it
// seals it, and wipes what it had in hand. Any thread.

#include <string>
#include <string_view>

#include "identity/identity.h"

namespace slipway {

[[nodiscard]] std::string kept_identity(const Identity& identity);
// Of such a value, for SigningKey::import and as subject; empty: not kept.
[[nodiscard]] std::string_view kept_key(std::string_view kept);
[[nodiscard]] std::string_view kept_subject(std::string_view kept);

}  // namespace slipway
