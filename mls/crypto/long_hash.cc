#include "crypto/long_hash.h"

#include <deque>
#include <optional>

#include "crypto/hmac.h"

namespace slipway::mls {

struct LongHash::State {
  struct Piece {
    Bytes owned;
    View view;  // what is left of it
  };

  KdfId algorithm;
  internal::MdContext context{EVP_MD_CTX_new()};
  std::optional<internal::Hmac> hmac;
  std::deque<Piece> pieces;

  explicit State(KdfId which) : algorithm(which) {
    if (!context || EVP_DigestInit_ex2(context.get(), internal::digest_of(which), nullptr) != 1) {
      internal::give_up("making a hash context");
    }
  }
};

LongHash::LongHash(KdfId algorithm) : state_(std::make_unique<State>(algorithm)) {}
LongHash::LongHash(KdfId algorithm, View key) : LongHash(algorithm) {
  state_->hmac.emplace(state_->context.get(), algorithm, key);
}
LongHash::~LongHash() = default;
LongHash::LongHash(LongHash&&) noexcept = default;
LongHash& LongHash::operator=(LongHash&&) noexcept = default;

LongHash& LongHash::add(View piece) {
  State::Piece& added = state_->pieces.emplace_back();
  if (piece.size() <= kCopied) {
    added.owned = to_bytes(piece);
    piece = added.owned;
  }
  added.view = piece;
  return *this;
}

bool LongHash::step(Budget& budget) {
  while (!state_->pieces.empty()) {
    View& left = state_->pieces.front().view;
    const size_t size = budget.take_bytes(left.size(), Budget::kHashedBytes);
    if (size > 0 && EVP_DigestUpdate(state_->context.get(), left.data(), size) != 1) {
      internal::give_up("hashing");
    }
    left = left.subspan(size);
    if (!left.empty()) {
      return false;
    }
    state_->pieces.pop_front();
  }
  return true;
}

HashValue LongHash::finish() {
  auto out = HashValue::with_size(internal::digest_size(state_->algorithm));
  if (state_->hmac) {
    state_->hmac->finish(out.data());
  } else if (EVP_DigestFinal_ex(state_->context.get(), out.data(), nullptr) != 1) {
    internal::give_up("hashing");
  }
  return out;
}

}  // namespace slipway::mls
