// Two members hold a conversation: the program of mls/README.md.
#include <cstdio>
#include <cstdlib>

#include "mls.h"

using namespace slipway::mls;

// Errors end this example; a real program acts on their code.
template <class T>
T get(Result<T> result) {
  if (!result) {
    std::fprintf(stderr, "%s\n", result.error().text);
    std::exit(1);
  }
  return std::move(*result);
}

int main() {
  // [begin]
  const Suite& suite = *find_suite(CipherSuite::kP256Aes128Sha256P256);
  const uint64_t now_s = 1'700'000'000;
  const GroupConfig config;

  SignatureKey alice_key = get(SignatureKey::generate(suite, system_random()));
  LeafOptions alice_leaf{basic_credential(as_view("alice")), simple_capabilities({suite.id}), {}};
  Group alice = get(Group::create(config, {.suite = &suite, .signer = &alice_key, .leaf = alice_leaf,
                                           .lifetime = lifetime_from(now_s, 86400)}));

  SignatureKey bob_key = get(SignatureKey::generate(suite, system_random()));
  LeafOptions bob_leaf{basic_credential(as_view("bob")), simple_capabilities({suite.id}), {}};
  PrivateKeyPackage bob_package = get(make_key_package(suite, bob_key, bob_leaf,
                                                       lifetime_from(now_s, 86400), system_random()));

  CommitResult added = get(alice.commit({.now_s = now_s, .add = {bob_package.message}}));
  if (!alice.accept_commit()) return 1;  // nobody else committed
  const PrivateKeyPackage* packages[] = {&bob_package};
  Group bob = get(Group::join(config, {.now_s = now_s, .welcome = added.welcome,
                                       .key_packages = packages, .signer = &bob_key}));

  Bytes message = get(alice.protect(as_view("hello, bob")));
  auto received = std::get<ApplicationMessage>(get(bob.process(message, now_s)));
  // [end]
  std::printf("%.*s says: %.*s\n", static_cast<int>(received.identity.size()),
              reinterpret_cast<const char*>(received.identity.data()),
              static_cast<int>(received.plaintext.size()),
              reinterpret_cast<const char*>(received.plaintext.data()));
  return as_text(received.plaintext) == "hello, bob" ? 0 : 1;
}
