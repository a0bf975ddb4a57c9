#include "edge/proto_pieces.h"

namespace slipway {

void Pieces::copy_parts(Range range, std::byte* to) const {
  each(range, [&to](Piece part) {
    std::memcpy(to, part.data(), part.size());
    to += part.size();
    return true;
  });
}

}  // namespace slipway
