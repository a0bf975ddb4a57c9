// A program outside the tree, built against the installed library.
#include <cstdio>

#include "mls.h"

using namespace slipway::mls;

int main() {
  for (const Suite& suite : all_suites()) {
    auto key = SignatureKey::generate(suite, system_random());
    auto leaf_key = KemKey::generate(suite, system_random());
    if (!key || !leaf_key) {
      return 1;
    }
    auto signature = key->sign("Example", {as_view("content")});
    if (!signature ||
        !verify_once(suite, key->public_key(), "Example", {as_view("content")}, *signature)) {
      return 1;
    }
    auto sealed = encrypt_with_label(suite, leaf_key->public_key(), "Example", {}, as_view("secret"),
                                     system_random());
    auto opened = decrypt_with_label(suite, *leaf_key, "Example", {}, sealed->enc, sealed->ciphertext);
    if (!opened || as_text(*opened) != "secret") {
      return 1;
    }
    std::printf("%s\n", suite.name);
  }
  auto refused = decode<MlsMessage>(Bytes{0, 1, 0, 9});
  std::printf("%s\n", refused ? "?" : error_name(refused.error().code).data());
}
