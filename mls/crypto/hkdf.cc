#include "crypto/hkdf.h"

#include "crypto/hmac.h"
#include "crypto/vector_header.h"

namespace slipway::mls {
namespace {

constexpr std::string_view kPrefix = "MLS 1.0 ";

// The fields of KDFLabel before its context's content, on the stack.
class LabelHead {
 public:
  LabelHead(size_t size, std::string_view label, size_t context_size) {
    assert(label.size() <= kMaxLabel);
    bytes_[used_++] = static_cast<uint8_t>(size >> 8);
    bytes_[used_++] = static_cast<uint8_t>(size);
    put(length_header(kPrefix.size() + label.size()));
    put(as_view(kPrefix));
    put(as_view(label));
    put(length_header(context_size));
  }
  operator View() const { return {bytes_.data(), used_}; }  // NOLINT: it is one

  static constexpr size_t kMaxLabel = 128;

 private:
  void put(View bytes) {
    std::copy(bytes.begin(), bytes.end(), bytes_.begin() + static_cast<ptrdiff_t>(used_));
    used_ += bytes.size();
  }
  std::array<uint8_t, kMaxLabel + 32> bytes_;
  size_t used_ = 0;
};

void expand_long_label(const Suite& suite, View secret, std::string_view label, View context,
                       MutableView out) {
  uint8_t size[2] = {static_cast<uint8_t>(out.size() >> 8), static_cast<uint8_t>(out.size())};
  hkdf_expand(suite.kdf, secret,
              {size, length_header(kPrefix.size() + label.size()), as_view(kPrefix), as_view(label),
               length_header(context.size()), context},
              out);
}

}  // namespace

Secret hkdf_extract(KdfId algorithm, View salt, Pieces ikm) {
  Secret prk = Secret::zeros(internal::digest_size(algorithm));
  internal::Hmac running(algorithm, salt);
  for (View piece : ikm) {
    running.update(piece);
  }
  running.finish(prk.data());
  return prk;
}

void hkdf_expand(KdfId algorithm, View prk, Pieces info, MutableView out) {
  size_t block = internal::digest_size(algorithm);
  assert(out.size() <= 255 * block);
  Secret last;
  uint8_t counter = 0;
  for (size_t done = 0; done < out.size(); done += block) {
    internal::Hmac running(algorithm, prk);
    running.update(last);
    for (View piece : info) {
      running.update(piece);
    }
    ++counter;
    running.update({&counter, 1});
    last = Secret::zeros(block);
    running.finish(last.data());
    std::copy_n(last.data(), std::min(block, out.size() - done), out.data() + done);
  }
}

void expand_with_label_into(const Suite& suite, View secret, std::string_view label, View context,
                            MutableView out) {
  if (label.size() > LabelHead::kMaxLabel) {
    expand_long_label(suite, secret, label, context, out);
  } else {
    hkdf_expand(suite.kdf, secret, {LabelHead(out.size(), label, context.size()), context}, out);
  }
}

Secret expand_with_label(const Suite& suite, View secret, std::string_view label, View context,
                         size_t size) {
  Secret out = Secret::zeros(size);
  expand_with_label_into(suite, secret, label, context, out.mutable_view());
  return out;
}

Secret derive_secret(const Suite& suite, View secret, std::string_view label) {
  return expand_with_label(suite, secret, label, {}, suite.hash_size);
}

Secret derive_tree_secret(const Suite& suite, View secret, std::string_view label,
                          uint32_t generation, size_t size) {
  uint8_t context[4] = {static_cast<uint8_t>(generation >> 24), static_cast<uint8_t>(generation >> 16),
                        static_cast<uint8_t>(generation >> 8), static_cast<uint8_t>(generation)};
  return expand_with_label(suite, secret, label, context, size);
}

}  // namespace slipway::mls
