#include "crypto/long_hash.h"

#include <optional>

#include "crypto/hmac.h"

namespace slipway::mls {

void LongInput::add(View piece) {
  if (piece.empty()) {
    return;
  }
  size_ += piece.size();
  Piece& added = pieces_.emplace_back();
  if (piece.size() <= kCopied) {
    added.owned = to_bytes(piece);
    piece = added.owned;
  }
  added.view = piece;
}

void LongInput::drop(size_t size) {
  size_ -= size;
  View& left = pieces_.front().view;
  left = left.subspan(size);
  if (left.empty()) {
    pieces_.pop_front();
  }
}

struct LongHash::State {
  KdfId algorithm;
  internal::MdContext context{EVP_MD_CTX_new()};
  std::optional<internal::Hmac> hmac;
  LongInput input;

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
  state_->input.add(piece);
  return *this;
}

bool LongHash::step(Budget& budget) {
  LongInput& input = state_->input;
  while (!input.empty()) {
    const View next = input.front();
    const size_t size = budget.take_bytes(next.size(), Budget::kHashedBytes);
    if (size == 0) {
      return false;
    }
    if (EVP_DigestUpdate(state_->context.get(), next.data(), size) != 1) {
      internal::give_up("hashing");
    }
    input.drop(size);
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
